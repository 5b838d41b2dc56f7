"""Every invariant holds of a good run and is missed when exactly it is broken."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipelines.invariants import MOST_PER_CHECK, Violation, check, check_across
from tests.support_frames import call, costs_frame, duplicate, result, results_frame

Rows = list[dict[str, Any]]


def good() -> tuple[Rows, Rows]:
    results = [
        result(0, cost_usd=Decimal("0.000000000003"), lane="cloud"),
        result(1, avoided_usd=Decimal("0.5")),
        duplicate(2, 0, avoided_usd=Decimal("0.25")),
        duplicate(3, 9, duplicate_run="20260101-000000-abcdef"),
        result(4, status="invalid", attempts=0, started_at=None, finished_at=None),
        result(5, status="failed", cost_usd=Decimal("0.000000000001")),
        result(6, status="expired", attempts=0),
    ]
    costs = [
        call(0, 0, cost_usd=Decimal("0.000000000001"), outcome="lost", cost_basis="upper_bound"),
        call(1, 0, cost_usd=Decimal("0.000000000002")),
        call(2, 1, avoided_usd=Decimal("0.5"), avoided_cause="local"),
        call(3, 5, cost_usd=Decimal("0.000000000001"), outcome="error"),
        call(4, 0, purpose="late", cost_usd=Decimal(3)),
        call(5, None, purpose="audit", cost_usd=Decimal(3)),
    ]
    return results, costs


def said(results: Rows, costs: Rows, rows_in: int = 7) -> list[Violation]:
    return check(results_frame(results), costs_frame(costs), rows_in)


def test_a_good_run_has_no_violation() -> None:
    assert said(*good()) == []


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
    ("a call twice", lambda r, c: c.append({**c[4]}), 0, "call b:1:4 is booked 2 times"),
    ("a call of no row", lambda r, c: c.append(call(9, 77)), 77, "a row that is not in the results"),
    ("a call of another run", _call(4, run_id="other"), 0, "belongs to run other"),
    ("a paid duplicate", _set(3, cost_usd=Decimal(1)), 3, "is a duplicate but costs 1"),
    ("duplicate of nothing", _set(2, duplicate_of=None), 2, "is a duplicate of nothing"),
    ("duplicate of a failed row", _set(2, duplicate_of=5), 2, "is a duplicate of row 5, which is failed"),
    ("duplicate of a duplicate", _set(2, duplicate_of=3), 2, "is a duplicate of row 3, which is duplicate"),
    ("duplicate of no row", _set(2, duplicate_of=99), 2, "is a duplicate of row 99, which is missing"),
    ("answer that points", _set(1, duplicate_of=0), 1, "points to row 0 but is no duplicate"),
]


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
    rows = [result(n, cost_usd=Decimal(1)) for n in range(100)]
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
