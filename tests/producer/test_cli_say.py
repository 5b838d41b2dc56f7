"""Tables on terminals of every width: ids, numbers and money stay whole, free text is folded, nothing is cut."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest

from pipelines.reports.shared.format import cell
from producer.cli import say
from producer.cli.columns import Column, share

RUNS = ("20261127-051423-54a9d1", "20261127-051207-0b81ce", "20261126-221144-9e02f7")
STATUS: list[dict[str, Any]] = [
    {
        "run": run, "status": "in_progress", "client": "simulate", "done": 171_000 + n, "rows": 300_000 + n,
        "duplicate": 200 + 48 * n, "failed": 0, "local_calls": 1_571 + n, "cloud_calls": 290 + n,
        "provider_batch_calls": None, "cost_usd": Decimal("0.0000978") + n, "avoided_usd": Decimal("0.00942") + n,
        "since": "2026-11-27 05:14",
    }
    for n, run in enumerate(RUNS)
]  # fmt: skip
DEDUPE: list[dict[str, Any]] = [
    {
        "kind": kind, "guard": guard, "links": links, "least_similarity": 0.929, "p10_similarity": 0.962,
        "median_similarity": 0.971, "avoided_usd": Decimal("0.000513") * links,
        "examples": "T-001834 -> row 1587; T-001277 -> row 1110; T-001512 -> row 232",
    }
    for kind, guard, links in (("canonical", "canonical form", 99), ("edit", "case or punctuation", 1234), ("edit", "typo", 13))
]  # fmt: skip
SEEN = re.compile(r"[^\s;]+")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The lines of a table on a terminal of some width."""

    def at(width: int, rows: Sequence[Mapping[str, Any]], totals: Mapping[str, Any] | None = None) -> list[str]:
        screen = Terminal()
        for name, value in (("COLUMNS", str(width)), ("LINES", "50"), ("TERM", "dumb")):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "stdout", screen)
        say.table(rows, list(rows[0]), totals)
        return screen.getvalue().splitlines()

    return at


@pytest.mark.parametrize("rows", [STATUS, DEDUPE], ids=["status", "dedupe"])
@pytest.mark.parametrize("width", [80, 100, 120, 140, 160])
def test_every_id_and_number_is_whole_on_one_line(
    printed: Callable[..., list[str]], width: int, rows: list[dict[str, Any]]
) -> None:
    lines = printed(width, rows)
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    words = {word for line in lines for word in SEEN.findall(line)}
    for row in rows:
        wanted = {word for name, value in row.items() if value is not None for word in SEEN.findall(cell(name, value))}
        assert wanted <= words
    assert set(SEEN.findall(" ".join(name for name in rows[0] if "_" not in name))) <= words, "a heading is gone"


@pytest.mark.parametrize("width", [80, 120])
def test_what_stands_below_still_says_of_which_row_it_is(printed: Callable[..., list[str]], width: int) -> None:
    lines = printed(width, STATUS)
    for n, run in enumerate(RUNS):
        own = " ".join(line for line in lines if run in line)
        for name in ("duplicate", "local_calls", "cost_usd"):
            assert f" {cell(name, STATUS[n][name])} " in own


def test_a_column_that_says_nothing_makes_room_only_where_there_is_none(printed: Callable[..., list[str]]) -> None:
    narrow = printed(124, STATUS)
    assert len([line for line in narrow if RUNS[0] in line]) == 1 and "provider" not in " ".join(narrow)
    assert "provider batch calls" in " ".join(printed(200, STATUS))


def test_columns_stand_closer_before_a_cell_is_folded() -> None:
    columns = [Column("since", ["2026-11-27 05:14"], number=False), *[Column("rows", ["12,345"], number=True)] * 3]
    assert [share(columns, width)[0].gap for width in (45, 44, 42, 41, 39)] == [3, 2, 2, 1, 1]
    assert all(share(columns, width)[0].widths[0] == 16 for width in (45, 44, 42, 41, 39))
    assert (share(columns, 38)[0].widths[0], share(columns, 38)[0].gap) == (12, 2)


def test_totals_stand_below_their_columns(printed: Callable[..., list[str]]) -> None:
    lines = printed(80, DEDUPE, {"links": 1346, "avoided_usd": Decimal("0.690498")})
    assert any(line.split() == ["1,346", "$0.690"] for line in lines)


def test_an_upright_row_folds_what_is_too_long(printed: Callable[..., list[str]]) -> None:
    reason = "failed: " + "the server said that the window is too small for this prompt; " * 3
    lines = printed(80, [{**STATUS[0], "call": reason}])
    assert max(map(len, lines)) <= 80
    said = " ".join(" ".join(lines).split())
    assert reason.strip() in said and RUNS[0] in said


def test_text_of_strangers_is_shown_as_it_is(printed: Callable[..., list[str]]) -> None:
    text = " ".join(printed(80, [{"name": "[red]a[/red] :smile:"}, {"name": "\x1b[31mb"}]))
    assert "[red]a[/red] :smile:" in text and "\\x1b[31mb" in text


def test_words_are_broken_only_where_they_are_paths(printed: Callable[..., list[str]]) -> None:
    path, long_id = "/".join(["folder"] * 20), "x" * 70
    lines = printed(60, [{"path": path, "rows": 1}, {"path": "a b", "rows": 2}])
    assert max(map(len, lines)) <= 60
    assert path in "".join(line.split(" ")[1] for line in lines if line.startswith(" "))
    assert any(long_id in line for line in printed(60, [{"id": long_id, "rows": 1}, {"id": "y", "rows": 2}]))


def test_shares_never_pass_the_screen_while_they_fit() -> None:
    columns = [Column("id", ["a" * 10], number=False), *[Column("a heading", ["123456"], number=True)] * 9]
    for width in range(21, 200):
        parts = share(columns, width)
        assert all(part.total <= width for part in parts)
        assert [place for part in parts for place in part.places if place] == list(range(1, 10))
        assert all(part.places[0] == 0 for part in parts)
