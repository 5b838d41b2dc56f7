"""Every invariant holds of a good run and is missed when exactly it is broken."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipelines import schemas
from pipelines.invariants import check, check_across
from pipelines.violation import MOST_PER_CHECK, Violation
from tests.support_frames import (
    ANSWER,
    RUN,
    at,
    call,
    chunks_frame,
    costs_frame,
    duplicate,
    parts_frame,
    result,
    results_frame,
)

Rows = list[dict[str, Any]]
LOST = {"outcome": "lost", "cost_basis": "upper_bound", "http_status": None, "error_code": "timeout",
        "input_tokens": 0, "output_tokens": 0}  # fmt: skip
CLOUD = {"lane": "cloud", "target": "mini"}
IN_CHUNK = ("row", "custom_id", "tags", "route", "similarity", "error_code", "error_message")


def good() -> tuple[Rows, Rows]:
    results = [
        result(0, cost_usd=Decimal("0.000000000003"), attempts=3, **CLOUD),
        result(1, avoided_usd=Decimal("0.5"), tags='{"a":1}'),
        duplicate(2, 0, avoided_usd=Decimal("0.000000000002"), similarity=0.99, **CLOUD),
        duplicate(3, 9, duplicate_run="20260101-000000-abcdef"),
        result(4, status="invalid", attempts=0, started_at=None, finished_at=None, error_code="no_prompt"),
        result(5, status="failed", cost_usd=Decimal("0.000000000001"), error_code="timeout"),
        result(6, status="expired", attempts=0),
    ]
    costs = [
        call(0, 0, cost_usd=Decimal("0.000000000001"), **LOST, **CLOUD),
        call(1, 0, cost_usd=Decimal("0.000000000002"), **CLOUD),
        call(2, 1, avoided_usd=Decimal("0.5"), avoided_cause="local"),
        call(3, 5, cost_usd=Decimal("0.000000000001"), **LOST),
        call(4, 0, purpose="late", cost_usd=Decimal(3), **CLOUD),
        call(5, None, purpose="audit", cost_usd=Decimal(3)),
    ]
    return results, costs


def sources() -> tuple[Rows, Rows]:
    """The chunk and part rows of the good run."""
    results, _ = good()
    kinds = {"invalid": "invalid", "duplicate": "link"}
    chunks = [
        {"kind": kinds.get(row["status"], "asked"), **{name: row.get(name) for name in IN_CHUNK}} for row in results
    ]
    chunks[3] |= {"leader_run": "20260101-000000-abcdef", "leader_row": 9}
    asked = [row for row in results if row["status"] in ("ok", "failed", "expired")]
    parts = [
        {"generation": 0, **{name: row.get(name) for name in schemas.PART.names if name != "generation"}}
        for row in asked
    ]
    first = {**parts[0], "status": "failed", "output": None, "attempts": 1, "cost_usd": Decimal("0.000000000001")}
    parts[0] |= {"attempts": 2, "cost_usd": Decimal("0.000000000002")}
    return chunks, [first, *parts]


def said(results: Rows, costs: Rows, rows_in: int = 7) -> list[Violation]:
    return check(results_frame(results), costs_frame(costs), rows_in)


def whole(results: Rows, costs: Rows, chunks: Rows, parts: Rows) -> list[Violation]:
    frames = [results_frame(results), costs_frame(costs), chunks_frame(chunks), parts_frame(parts)]
    return check(frames[0], frames[1], 7, frames[2], frames[3])


def test_a_good_run_has_no_violation() -> None:
    assert said(*good()) == []
    assert whole(*good(), *sources()) == []


def test_an_empty_run_has_no_violation() -> None:
    assert said([], [], 0) == []


Break = Callable[[Rows, Rows], None]


def _set(index: int, **values: Any) -> Break:
    return lambda results, costs: results[index].update(values)


def _call(index: int, **values: Any) -> Break:
    return lambda results, costs: costs[index].update(values)


BROKEN: list[tuple[str, Break, int | None, str]] = [
    ("a row is gone", lambda r, c: r.pop(6), None, "7 rows in, 6 rows out"),
    ("a row twice", lambda r, c: r.insert(2, dict(r[1])), 1, "is there 2 times"),
    ("a row that was not asked", _set(6, row=8), 8, "is not one of the 7 input rows"),
    ("other order", lambda r, c: r.insert(0, r.pop(1)), 0, "comes after row 1"),
    ("another run's row", _set(6, run_id="20260101-000000-abcdef"), None, "rows of 2 runs"),
    ("unknown status", _set(4, status="fine"), 4, "unknown status 'fine'"),
    (
        "one pico-dollar",
        _set(0, cost_usd=Decimal("0.000000000002")),
        0,
        "costs 0.000000000002 by the results, 0.000000000003",
    ),
    ("free by results", _set(5, cost_usd=Decimal(0)), 5, "costs 0.000000000000 by the results"),
    ("saving that no call has", _set(5, avoided_usd=Decimal(1)), 5, "avoided 1.000000000000 by the results"),
    ("saving without cause", _call(2, avoided_cause=None), 1, "without a known cause"),
    ("saving with an odd cause", _call(2, avoided_cause="luck"), 1, "without a known cause"),
    ("a call twice", lambda r, c: c.append({**c[4]}), 0, f"call {RUN}.b4:1:4 is booked 2 times"),
    ("a call of no row", lambda r, c: c.append(call(9, 77)), 77, "a row that is not in the results"),
    ("a call of another run", _call(4, run_id="other"), 0, "belongs to run other"),
    ("a paid duplicate", _set(3, cost_usd=Decimal(1)), 3, "is a duplicate but costs 1"),
    ("duplicate of nothing", _set(2, duplicate_of=None), 2, "is a duplicate of nothing"),
    ("duplicate of a failed row", _set(2, duplicate_of=5), 2, "is a duplicate of row 5, which is failed"),
    ("duplicate of a duplicate", _set(2, duplicate_of=3), 2, "is a duplicate of row 3, which is duplicate"),
    ("duplicate of no row", _set(2, duplicate_of=99), 2, "is a duplicate of row 99, which is missing"),
    ("answer that points", _set(1, duplicate_of=0), 1, "points to row 0 but is no duplicate"),
    ("a client of its own", _set(4, client="acme"), None, "rows of 2 clients"),
    ("a shared name", _set(6, custom_id="5"), 5, "shares its custom_id '5'"),
    ("no name", _set(6, custom_id=None), 6, "lacks what every row has"),
    ("an answer with an error", _set(1, error_message="no"), 1, "is answered, but has an error"),
    ("an answer without text", _set(1, output=None), 1, "is answered, but has no answer"),
    ("invalid without a reason", _set(4, error_code=None), 4, "no answer, and no reason"),
    ("invalid with an answer", _set(4, model="x"), 4, "was never asked, but has an answer"),
    ("expired with an answer", _set(6, output="x"), 6, "has an answer, though it has none"),
    ("a duplicate that was asked", _set(2, attempts=1), 2, "was never to be asked"),
    ("likeness of no duplicate", _set(1, similarity=0.9), 1, "is like another row, but no duplicate"),
    ("likeness beyond one", _set(2, similarity=1.9), 2, "has a similarity beyond"),
    ("tokens that do not add up", _set(1, cached_input_tokens=101), 1, "more tokens in the cache"),
    ("an end before its start", _set(5, started_at=at(9)), 5, "finished before it started"),
    ("one call more", _set(1, attempts=2), 1, "attempts is 2 by the results, 1 by the ledger"),
    ("one call less", _set(0, attempts=1), 0, "attempts is 1 by the results, 3 by the ledger"),
    ("another token", _set(1, output_tokens=11), 1, "output_tokens is 11 by the results, 10 by the ledger"),
    ("another model", _set(1, model="x"), 1, "model is x by the results, qwen by the ledger"),
    ("another end", _set(1, finished_at=at(2)), 1, "finished_at is"),
    ("a start after its call", _set(1, started_at=at(0.5)), 1, "after its call was sent"),
    (
        "refused by nobody",
        _set(6, **{**ANSWER, "status": "refused", "error_code": "x"}),
        6,
        "no call of it was answered",
    ),
    ("a duplicate that says something else", _set(2, output="x"), 2, "output is not what its leader says"),
    ("a duplicate that avoided more", _set(2, avoided_usd=Decimal(1)), 2, "avoided_usd is 1"),
    ("a call of another client", _call(3, client="acme"), 5, "client is default by the results, acme by a call"),
    ("a call of another route", _call(3, route="large"), 5, "route is small by the results, large by a call"),
    ("a call of another name", _call(3, custom_id="x"), 5, "custom_id is 5 by the results, x by a call"),
    ("an unknown purpose", _call(5, purpose="fun"), None, "has an unknown purpose"),
    ("an odd id", _call(5, call_id=f"{RUN}.b"), None, "has an id that is none"),
    ("an id of elsewhere", _call(5, call_id="x.b:1:1"), None, "has another run's id"),
    ("lost for free", _call(3, cost_basis="billed"), 5, "not booked at its upper bound"),
    ("a refusal that costs", _call(3, outcome="rejected"), 5, "was not answered, but costs money"),
    ("tokens of nothing", _call(3, input_tokens=1), 5, "was not answered, but has tokens"),
    ("a cause without money", _call(1, avoided_cause="local"), 0, "avoided money without a cause, or none with one"),
    ("a price of another day", _call(1, price_id="genai-prices-1:x/y"), 0, "has the price of another day"),
    ("two lanes of a target", _call(1, lane="local"), 0, "has several lanes"),
    ("calls out of step", _call(1, call_id=f"{RUN}.b0:1:1"), 0, "has 2 calls, not numbered 1 to 2"),
]


@pytest.mark.parametrize(
    ("row", "values", "what"),
    [
        (1, {"output": "x"}, "output is not what its part says"), (1, {"tags": "{}"}, "tags is not what its chunk part says"),
        (1, {"response": "{}"}, "response is not what its part says"),
        (6, {"status": "cancelled"}, "status is cancelled by the results, expired by its part"),
        (5, {"error_code": "x"}, "error_code is x by the results, timeout by its part"),
        (4, {"error_code": "x"}, "error_code is x by the results, no_prompt by its chunk part"),
        (2, {"similarity": 0.5}, "similarity is 0.5"), (3, {"duplicate_of": 8}, "duplicate_of is 8"),
        (6, {"route": "large"}, "route is large"), (6, {"custom_id": "me"}, "custom_id is me"),
        (6, {**ANSWER, "status": "ok", "output": "x"}, "is ok, but no call of it was answered"),
    ],
)  # fmt: skip
def test_what_no_call_knows_is_in_chunks_and_parts(row: int, values: dict[str, Any], what: str) -> None:
    results, costs = good()
    results[row] |= values
    found = whole(results, costs, *sources())
    assert any(v.row == row and what in v.what for v in found), found


@pytest.mark.parametrize(
    ("break_it", "row", "what"),
    [
        (lambda parts: parts.pop(1), 0, "by its parts"),
        (lambda parts: parts.append(parts[1]), 0, "by its parts"),
        (lambda parts: parts[2].update(cost_usd=Decimal("0.1")), 1, "cost_usd is 0E-12 by the results"),
        (lambda parts: parts[2].update(attempts=7), 1, "attempts is 1 by the results, 7 by its parts"),
        (lambda parts: parts.pop(2), 1, "no part has what was settled of it"),
    ],
    ids=["a lost row", "a row twice", "a cost", "attempts", "the only row"],
)
def test_parts_come_to_what_the_results_say(break_it: Callable[[Rows], Any], row: int, what: str) -> None:
    """A retry makes the results of them anew."""
    chunks, parts = sources()
    break_it(parts)
    found = whole(*good(), chunks, parts)
    assert any(v.row == row and what in v.what for v in found), found


@pytest.mark.parametrize(("break_it", "row", "what"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_each_broken_invariant_is_named(break_it: Break, row: int | None, what: str) -> None:
    results, costs = good()
    break_it(results, costs)
    assert any(v.row == row and what in v.what for v in said(results, costs)), said(results, costs)


def test_columns_must_be_those_of_the_schema() -> None:
    results, costs = good()
    frame = results_frame(results)
    for wrong, what in [
        (frame.drop("quality"), "results: column quality is missing"),
        (frame.with_columns(pl.col("row").cast(pl.Int32)), "results: column row is Int32, should be Int64"),
        (frame.with_columns(extra=pl.lit(1)), "results: column extra is unknown"),
        (frame.select(pl.all().exclude("run_id"), "run_id"), "results: the columns are not in the order"),
    ]:
        assert [v.what for v in check(wrong, costs_frame(costs), 7) if what in v.what], what
    money = costs_frame(costs).with_columns(pl.col("cost_usd").cast(pl.Float64))
    assert "costs: column cost_usd is Float64" in check(frame, money, 7)[0].what


def test_many_violations_are_counted_not_listed() -> None:
    rows = [result(n, status="expired", attempts=0, cost_usd=Decimal(1)) for n in range(100)]
    found = said(rows, [], 100)
    assert len(found) == MOST_PER_CHECK + 1
    assert found[-1].what == "and 80 more like the last one"


@pytest.mark.parametrize(
    ("leader", "what"),
    [
        ({}, None),
        ({"status": "failed"}, "which is failed"),
        ({"client": "other"}, "which is another client's"),
        ({"output": "no"}, "which says something else"),
        ({"row": 8}, "which is not there"),
        ({"run_id": "gone"}, None),
    ],
)
def test_duplicates_of_other_runs_point_to_the_same_clients_answers(leader: dict[str, Any], what: str | None) -> None:
    other = results_frame([result(**{"row": 4, "run_id": "earlier", "output": "yes", **leader})])
    mine = results_frame([result(0), duplicate(1, 4, duplicate_run="earlier", output="yes")])
    found = check_across(mine, other)
    assert [what in one.what for one in found] == [True] if what else found == []
