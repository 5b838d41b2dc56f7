"""The samples: the committed files are what their generators write, and hold what data/samples/README.md says."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines import route, shard, tokens
from pipelines.rendering import compile_template
from pipelines.types import Row

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
REPEATS = {"identical", "case", "spaces", "unicode", "punctuation", "typo", "reworded"}
LABELS = ("billing", "shipping", "refund", "technical", "account", "other")


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    lines = (SAMPLES / "support_tickets.jsonl").read_bytes().splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def truth() -> dict[str, dict[str, str]]:
    with (SAMPLES / "support_tickets_truth.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def text(row: dict[str, Any]) -> str:
    return str(row["prompt"] if "prompt" in row else row["messages"][-1]["content"])


def request(row: dict[str, Any]) -> dict[str, Any]:
    """What is asked, without the text that variants change."""
    kept = {name: value for name, value in row.items() if name not in ("id", "metadata", "prompt")}
    if "messages" in kept:
        kept["messages"] = [*kept["messages"][:-1], kept["messages"][-1]["role"]]
    return kept


def words(value: str) -> str:
    """A text without case, marks and spaces of any form."""
    return re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", value).lower()).strip()


@pytest.mark.parametrize(
    ("script", "files"),
    [
        ("make_support_tickets.py", ["support_tickets.jsonl", "support_tickets_truth.csv"]),
        ("make_products.py", ["products.csv"]),
    ],
)
def test_generators_write_the_committed_bytes(script: str, files: list[str], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-B", str(SAMPLES / script), "--out", str(tmp_path)], check=True, timeout=60)
    for name in files:
        assert (tmp_path / name).read_bytes() == (SAMPLES / name).read_bytes(), f"{name} is not what {script} writes"


def test_two_thousand_tickets_each_with_its_own_id(rows: dict[str, Any], truth: dict[str, Any]) -> None:
    assert len((SAMPLES / "support_tickets.jsonl").read_bytes().splitlines()) == 2_000 == len(rows)
    assert list(rows) == list(truth) == [f"T-{number:06}" for number in range(1, 2_001)]
    assert (SAMPLES / "support_tickets.jsonl").stat().st_size < 1_500_000


def test_every_row_is_a_prompt_that_intake_accepts(rows: dict[str, Any]) -> None:
    for number, row in enumerate(rows.values()):
        parsed = shard.parse_record(number, row)
        assert isinstance(parsed, Row), f"{row['id']}: {parsed}"


def test_counts_are_those_of_the_readme(rows: dict[str, Any], truth: dict[str, Any]) -> None:
    page = (SAMPLES / "README.md").read_text(encoding="utf-8")
    said = {kind: int(count) for kind, count in re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.MULTILINE)}
    assert said == Counter(row["kind"] for row in truth.values())
    assert sum(count for kind, count in said.items() if kind in REPEATS) == 200
    hard = sum("max_tokens" in row for row in rows.values())
    assert f"**{hard} hard ones**" in page and f"**{2_000 - hard:,} easy ones**" in page


def test_what_repeats_comes_after_a_base_and_asks_the_same(rows: dict[str, Any], truth: dict[str, Any]) -> None:
    for name, row in truth.items():
        if row["kind"] == "base":
            assert row["of"] == ""
            continue
        assert truth[row["of"]]["kind"] == "base" and row["of"] < name
        assert request(rows[name]) == request(rows[row["of"]])


def test_repeats_say_the_same_in_their_own_way(rows: dict[str, Any], truth: dict[str, Any]) -> None:
    for name, row in truth.items():
        if row["kind"] not in REPEATS:
            continue
        own, base = text(rows[name]), text(rows[row["of"]])
        assert (own == base) == (row["kind"] == "identical"), name
        if row["kind"] == "case":
            assert own.casefold() == base.casefold(), name
        if row["kind"] == "spaces":
            assert own.split() == base.split(), name
        if row["kind"] == "punctuation":
            assert words(own) == words(base), name


def test_near_misses_differ_in_the_fact_that_they_name(rows: dict[str, Any], truth: dict[str, Any]) -> None:
    for name, row in truth.items():
        if not row["kind"].startswith("near_"):
            continue
        own, base = words(text(rows[name])).split(), words(text(rows[row["of"]])).split()
        gone, come = Counter(base) - Counter(own), Counter(own) - Counter(base)
        assert gone or come, f"{name} is {row['of']} in another form: it may be merged"
        if row["kind"] in ("near_order", "near_amount"):
            assert any(re.search(r"\d", word) for word in come), name
        if row["kind"] != "near_negation":
            assert len(gone) <= 4 and len(come) <= 4, f"{name} differs in more than its {row['kind'][5:]}"


def test_no_two_rows_that_need_an_answer_have_one_text(rows: dict[str, Any], truth: dict[str, Any]) -> None:
    own = [name for name, row in truth.items() if row["kind"] not in REPEATS]
    said = Counter((json.dumps(request(rows[name])), words(text(rows[name]))) for name in own)
    assert [key for key, count in said.items() if count > 1] == []


def test_no_row_gives_the_truth_away(rows: dict[str, Any]) -> None:
    assert {key for row in rows.values() for key in row["metadata"]} == {"channel", "received"}
    times = [row["metadata"]["received"] for row in rows.values()]
    assert times == sorted(times), "a late repeat must not stand out by its time"


def test_easy_ones_ask_for_one_of_the_labels(rows: dict[str, Any]) -> None:
    for row in rows.values():
        system = row.get("system") or row["messages"][0]["content"]
        assert ("max_tokens" in row) != all(label in system for label in LABELS)


def test_complexity_tells_hard_from_easy(rows: dict[str, Any]) -> None:
    parsed = [shard.parse_record(number, row) for number, row in enumerate(rows.values())]
    bodies = [row.body for row in parsed if isinstance(row, Row)]
    for row, body, count in zip(rows.values(), bodies, tokens.count_chats(bodies), strict=True):
        score = route.complexity(route.features(body, count))
        assert score > 0.9 if "max_tokens" in row else score < 0.8, row["id"]


def test_the_tickets_are_in_four_languages_with_what_people_type(rows: dict[str, Any]) -> None:
    texts = [text(row) for row in rows.values()]
    for phrase in ("Bestellung", "pedido", "commande", "order"):
        assert sum(phrase in each for each in texts) > 5, phrase
    assert any("📦" in each or "😕" in each for each in texts)
    assert sum("\n> " in each for each in texts) > 50
    assert sum(each != unicodedata.normalize("NFC", each) for each in texts) > 5


def test_products_become_prompts_by_the_template() -> None:
    template = compile_template((SAMPLES / "review_template.j2").read_text(encoding="utf-8"), "review_template.j2")
    with (SAMPLES / "products.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    prompts = [template.render(record) for record in table]
    assert len(table) == 200 == len(set(prompts))
    assert all(isinstance(prompt, str) and row["review"] in prompt for prompt, row in zip(prompts, table, strict=True))
    assert template.used <= set(table[0])


def test_nothing_of_the_grammar_is_left_in_the_texts(rows: dict[str, Any]) -> None:
    texts = [text(row) for row in rows.values()] + (SAMPLES / "products.csv").read_text(encoding="utf-8").splitlines()
    for each in texts:
        assert not re.search(r"\{\w+\}|[\[\]|]|<[^>\n]*/", each), each
