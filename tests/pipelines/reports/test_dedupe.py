from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

import polars as pl
import pytest

from pipelines import schemas
from pipelines.config.sections import Route
from pipelines.reports import dedupe
from pipelines.reports.shared.html import page
from pipelines.reports.shared.pairs import marked
from pipelines.reports.shared.sections import Extra
from tests.support_frames import costs_frame, duplicate, result, results_frame


def _rows() -> pl.LazyFrame:
    return results_frame(
        [
            result(0, custom_id=None),
            duplicate(1, 0, similarity=1.0, avoided_usd=Decimal("0.01"), custom_id=None),
            duplicate(2, 0, similarity=0.97, avoided_usd=Decimal("0.02"), custom_id="mine"),
            duplicate(
                3,
                7,
                duplicate_run="20260201-000000-ffffff",
                similarity=0.96,
                avoided_usd=Decimal("0.04"),
                custom_id=None,
            ),
        ]
    )


def test_links_by_kind_with_money() -> None:
    table = dedupe.build(_rows(), costs_frame([]), ["kind"]).collect()
    assert table["kind"].to_list() == ["same", "similar"]
    assert table["links"].to_list() == [1, 2]
    assert table["avoided_usd"].to_list() == [Decimal("0.01"), Decimal("0.06")]


def test_the_stages_own_kind_wins_where_it_is_known() -> None:
    known = _rows().with_columns(
        link_kind=pl.Series(["", "exact", "semantic", None], dtype=pl.String).replace("", None)
    )
    table = dedupe.build(known, costs_frame([]), ["kind"]).collect()
    assert table["kind"].to_list() == ["exact", "semantic", "similar"]


def test_examples_are_the_least_similar_by_the_callers_names() -> None:
    table = dedupe.build(_rows(), costs_frame([]), []).collect()
    assert table["examples"].item() == "3 -> 20260201-000000-ffffff row 7; mine -> row 0; 1 -> row 0"


def test_an_example_that_two_runs_give_is_shown_once() -> None:
    table = dedupe.build(pl.concat([_rows(), _rows()]), costs_frame([]), []).collect()
    assert table["links"].item() == 6
    assert table["examples"].item() == "3 -> 20260201-000000-ffffff row 7; mine -> row 0; 1 -> row 0"


def test_equal_examples_stand_in_the_order_of_their_runs() -> None:
    runs = [f"20260301-08000{number}-abc123" for number in range(6)]
    rows = [duplicate(1, 0, similarity=0.97, custom_id=f"of {run}") | {"run_id": run} for run in reversed(runs)]
    table = dedupe.build(results_frame(rows), costs_frame([]), []).collect()
    assert table["examples"].item() == "; ".join(f"of {run} -> row 0" for run in runs[:3])


def test_scope_tells_this_run_from_earlier_ones() -> None:
    table = dedupe.build(_rows(), costs_frame([]), ["scope"]).collect()
    assert dict(zip(table["scope"], table["links"], strict=True)) == {"this run": 2, "another run": 1}


NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
RUN_A, RUN_B = "20260301-080000-abc123", "20260201-000000-ffffff"


def _served(*rows: dict[str, Any]) -> pl.LazyFrame:
    """Each row that `_extra` has a chunk's row of; `rows` are as they say."""
    ended = {0: result(0), 1: duplicate(1, 0), 2: duplicate(2, 0), 3: result(3), 4: result(4)}
    ended |= {row["row"]: row for row in rows}
    return results_frame([{**row, "run_id": RUN_A} for row in ended.values()])


def _extra(audits: list[dict[str, object]], results: pl.LazyFrame | None = None) -> Extra:
    chunks = pl.DataFrame(
        [
            {"row": 0, "custom_id": "first"},
            {"row": 1, "custom_id": "copy", "link_kind": "exact", "guard": "exact key", "leader_row": 0, "similarity": 1.0},
            {"row": 2, "custom_id": None, "link_kind": "edit", "guard": "typo", "leader_row": 0, "similarity": 0.96},
            {"row": 3, "custom_id": "far", "miss_row": 9, "miss_run": RUN_B, "miss_cosine": 0.99, "miss_guard": "negation"},
            {"row": 4, "custom_id": "near", "miss_row": 0, "miss_run": None, "miss_cosine": 0.93, "miss_guard": "negation"},
        ],
        schema={**pl.DataFrame(schemas.CHUNK.empty_table()).schema},
    ).with_columns(pl.lit(RUN_A).alias("run_id"))  # fmt: skip
    said = {(RUN_A, 0): "a <b>new</b> card", (RUN_A, 2): "a <b>nwe</b> card", (RUN_A, 3): "not <i>now</i>"}
    empty = {**pl.DataFrame(schemas.AUDITS.empty_table()).schema, "day": pl.Date}
    audits = [{"run_id": RUN_A, "day": NOW.date(), "at": NOW, **row} for row in audits]
    results = _served() if results is None else results
    return Extra(
        results, chunks.lazy(), pl.DataFrame(audits, schema=empty).lazy(), lambda keys: said, {"small": 0.005}, NOW
    )


def test_what_the_guards_refused_and_the_nearest_misses() -> None:
    refused, nearest = dedupe.sections(_extra([]), pairs=False)
    assert refused.rows == [
        {"guard": "negation", "refused": 2, "nearest": pytest.approx(0.99), "examples": "far ~ row 9; near ~ row 0"}
    ]
    assert [row["near"] for row in nearest.rows] == [f"{RUN_B} row 9", "row 0"]


@pytest.mark.parametrize(
    ("wrong", "twice", "verdict"), [(0, 40, "holds"), (20, 40, "paused"), (40, 0, "undecided"), (0, 0, "undecided")]
)
def test_audits_are_judged_beside_their_baseline(wrong: int, twice: int, verdict: str) -> None:
    rows = [{"route": "small", "part": "reuse", "link_kind": "edit", "agrees": n >= wrong} for n in range(40)]
    rows += [{"route": "small", "part": "baseline", "link_kind": "edit", "agrees": True} for _ in range(twice)]
    (row,) = dedupe.sections(_extra(rows), pairs=False)[-1].rows
    assert (row["audited"], row["disagree"], row["asked_twice"], row["verdict"]) == (40, wrong, twice, verdict)
    assert row["low_share"] <= row["excess_share"] <= row["high_share"] and row["low_share"] < row["high_share"]


def test_pairs_stand_side_by_side_marked_and_escaped() -> None:
    found = dedupe.sections(_extra([]), pairs=True)
    reused, refused = found[-2:]
    assert [pair.right_name for pair in reused.pairs] == ["2"], "an exact copy is no pair to look at"
    text = page("t", "a", [], [], sections=found)
    assert "a &lt;b&gt;<del>new</del>&lt;/b&gt; card" in text and "<ins>nwe</ins>" in text
    assert "<b>new" not in text and "<i>now" not in text
    assert "(its text is not kept)" in refused.pairs[0].left


@pytest.mark.parametrize(
    "ended", [result(2), result(2, status="failed"), duplicate(2, 4), duplicate(2, 0, duplicate_run=RUN_B)],
    ids=["asked itself", "failed", "served by another row", "served by another run"],
)  # fmt: skip
def test_a_pair_that_was_linked_and_not_reused_is_no_reuse(ended: dict[str, Any]) -> None:
    titles = [section.title for section in dedupe.sections(_extra([], _served(ended)), pairs=True)]
    assert "reused, least similar first" not in titles and "refused, nearest first" in titles


def test_rows_that_are_not_asked_for_are_neither_reuses_nor_misses() -> None:
    assert dedupe.sections(_extra([], _served().filter(pl.col("row") < 2)), pairs=True) == []
    refused, *_ = dedupe.sections(_extra([], _served().filter(pl.col("row") != 4)), pairs=False)
    assert [row["refused"] for row in refused.rows] == [1]


def test_blanks_that_are_the_difference_can_be_seen() -> None:
    assert marked("a b", "a  b") == ("a<del>␣</del>b", "a<ins>␣␣</ins>b")
    long = "same " * 300
    assert "equal words" in marked(long + "x", long + "y")[0]


def test_the_difference_of_long_prompts_is_shown_wherever_it_is() -> None:
    rules = "same " * 800
    left, right = marked(rules + "it was good", rules + "it was bad")
    assert left.endswith("it was <del>good</del>") and right.endswith("it was <ins>bad</ins>")
    assert "762 equal words" in left, "blanks are no words"
    left, right = marked("one a " + "b a " * 4_000 + "end", "two a " + "c a " * 4_000 + "fin")
    assert left.startswith("<del>one</del>") and right.endswith("<ins>fin</ins>")
    assert "words not shown" in left and "words not shown" in right and len(left) < 60_000


def test_a_word_that_never_ends_is_cut_as_well() -> None:
    blob = "".join(sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(1_000))
    left, right = marked(f"{blob} was good", f"{blob} was bad")
    assert left.endswith("<del>good</del>") and right.endswith("<ins>bad</ins>")
    assert "equal words" in left and len(left) < 4_000
    left, right = marked(blob, blob[::-1])
    assert "words not shown" in left and "words not shown" in right and len(right) < 65_000


@pytest.mark.parametrize(
    ("left", "right"),
    [("", "a"), ("a", ""), ("a b", "a b"), ("a b", "a b b"), ("b a b", "b"), ("x " * 3_000, "x " * 10), ("a\n", "a")],
)
def test_all_of_both_texts_is_there_or_told(left: str, right: str) -> None:
    shown = [re.sub("<[^>]*>", "", text).replace("␣", " ").replace("⏎", "") for text in marked(left, right)]
    for text, whole in zip(shown, (left, right), strict=True):
        assert text == whole or "words" in text


def test_a_route_that_the_configuration_does_not_name_is_judged_by_the_default() -> None:
    """As it is where nothing is configured and the servers of this machine were found, and in every rehearsal."""
    rows = [
        {"route": "found", "part": part, "link_kind": "edit", "agrees": part == "baseline"}
        for part in ("reuse", "baseline")
        for _ in range(30)
    ]
    (row,) = dedupe.sections(_extra(rows), pairs=False)[-1].rows
    assert (row["verdict"], row["allowed_share"]) == ("paused", Route(targets=("gpu",)).max_false_reuse)


def test_reuses_by_canonical_keys_are_judged_beside_those_by_proof() -> None:
    kinds = [("canonical", False), ("edit", True), ("semantic", True)]
    rows = [
        {"route": "small", "part": part, "link_kind": kind, "agrees": good or part == "baseline"}
        for kind, good in kinds
        for part in ("reuse", "baseline")
        for _ in range(30)
    ]
    found = dedupe.sections(_extra(rows), pairs=False)[-1].rows
    shown = [(row["reuse_by"], row["audited"], row["disagree"], row["verdict"]) for row in found]
    assert shown == [("canonical", 30, 30, "paused"), ("proof", 60, 0, "holds")]


def _audited(days_ago: float, wrong: int, count: int, run: str = RUN_A) -> list[dict[str, object]]:
    """A run that ended so long ago, and how many of its reuses were wrong."""
    at = NOW - timedelta(days=days_ago)
    one = {"route": "small", "link_kind": "edit", "run_id": run, "day": at.date(), "at": at}
    reuses: list[dict[str, object]] = [{**one, "part": "reuse", "agrees": n >= wrong} for n in range(count)]
    return [*reuses, *({**one, "part": "baseline", "agrees": True} for _ in range(count))]


@pytest.mark.parametrize(
    ("audits", "verdict"),
    [
        ([*_audited(30, 0, 3_000), *_audited(2, 20, 40, "b")], "paused"),
        ([*_audited(60, 40, 40), *_audited(2, 0, 40, "b")], "holds"),
        (_audited(60, 40, 40), "undecided"),
        ([*_audited(6, 20, 40, RUN_B), *_audited(1, 0, 3_000)], "paused"),
    ],
    ids=["good once", "bad once", "nothing of late", "a run that is not shown, and much that is good since"],
)
def test_the_verdict_is_of_the_last_days_and_of_all_runs(audits: list[dict[str, object]], verdict: str) -> None:
    (row,) = dedupe.sections(_extra([*audits, *_audited(30, 0, 1)]), pairs=False)[-1].rows
    shown = [each for each in audits if each["run_id"] == RUN_A and each["part"] == "reuse"]
    assert (row["verdict"], row["audited"]) == (verdict, len(shown) + 1), "totals are of all that is shown"
