"""A run's figures: the worker's summary and the files themselves say the same, to the pico-dollar."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import paths, schemas
from pipelines.errors import StoreError
from producer.cli import outcome
from producer.records import Records
from producer.runs import RunView
from tests.support_frames import RUN, call, duplicate, result
from tests.support_worker import write

SUMMARY = {
    "rows": 5, "ok": 2, "duplicate": 1, "invalid": 0, "failed": 1, "refused": 0, "expired": 1, "cancelled": 0,
    "calls": 3, "local_calls": 1, "cloud_calls": 2, "results_cost_pusd": 10_000_000_000_000_003, "avoided_pusd": 7,
    "seconds": 2.5,
}  # fmt: skip


@pytest.fixture
def records(tmp_path: Path) -> Records:
    cost, saved = Decimal("10000.000000000002"), Decimal("0.000000000007")
    rows = [
        result(0, avoided_usd=saved), result(1, lane="cloud", cost_usd=cost), duplicate(2, 0), result(4, status="expired"),
        result(3, status="failed", cost_usd=Decimal("0.000000000001")),
    ]  # fmt: skip
    calls = [
        call(0, 0, avoided_usd=saved, avoided_cause="local"), call(1, 1, lane="cloud", cost_usd=cost),
        call(2, 3, lane="cloud", outcome="error", cost_usd=Decimal("0.000000000001")),
    ]  # fmt: skip
    write(tmp_path / paths.results(RUN), rows, schemas.RESULTS)
    for number, one in enumerate(calls):
        write(tmp_path / paths.costs_part(f"2026-03-0{number + 1}", RUN, "00000001"), [one], schemas.COSTS)
    write(tmp_path / paths.costs_part("2026-03-01", f"{RUN[:-1]}x", "00000001"), calls, schemas.COSTS)
    return Records(str(tmp_path))


def test_summary_and_files_say_the_same(records: Records) -> None:
    told = outcome.of_ended(records, RUN, "expired", SUMMARY)
    counted = outcome.of_ended(records, RUN, "expired", None)
    assert {**counted, "seconds": 2.5} == told
    assert told["cost_usd"] == Decimal("10000.000000000003")
    assert (told["unanswered"], told["cloud_calls"]) == (1, 2)
    assert outcome.of_ended(records, RUN, "expired", {"rows": 9}) == counted  # half a summary is none


def test_of_an_unfinished_run_no_duplicate_of_an_unanswered_row_is_counted() -> None:
    view = RunView(RUN, "in_progress", prepared=True, rows=300, asked=129, duplicate=171, ok=43)
    told = outcome.of_unfinished(view, 1.0)
    assert (told["duplicate"], told["unanswered"]) == (57, 200)
    assert told["rows"] == sum(told[name] for name in (*outcome.STATUSES, "unanswered"))


def test_copies_hold_this_run_alone_and_leave_nothing_else(records: Records, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome.prepare_out(out)
    figures = outcome.copy_out(records, outcome.of_ended(records, RUN, "expired", None), out)
    assert sorted(path.name for path in out.iterdir()) == ["costs.parquet", "results.parquet", "summary.json"]
    costs = pl.read_parquet(figures["costs"])
    assert (costs.height, costs["cost_usd"].sum()) == (3, Decimal("10000.000000000003"))


def test_reasons_are_counted_by_kind_however_each_row_words_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"status": "failed", "error_code": "check_failed"}
    rows = [
        result(0),
        *(result(n, **wrong, error_message=f"the answer {n} is none of the labels") for n in (1, 2, 3)),
        *(result(n, status="invalid", error_code="no_prompt", error_message="no prompt") for n in (4, 5)),
        result(6, status="invalid", error_code="not_json", error_message="line 6 is not JSON"),
    ]
    write(tmp_path / paths.results(RUN), rows, schemas.RESULTS)
    records = Records(str(tmp_path))
    outcome.describe(records, outcome.of_ended(records, RUN, "completed", None))
    assert [line for line in capsys.readouterr().out.splitlines() if re.match(r"\d+ rows?:", line)] == [
        "3 rows: check_failed, such as: the answer 1 is none of the labels",
        "2 rows: no prompt",
        "1 row: line 6 is not JSON",
    ]


def test_files_that_are_gone_are_said_to_be(records: Records) -> None:
    with pytest.raises(StoreError, match="is gone; --fresh"):
        outcome.of_ended(records, "20260101-000000-aaaaaa", "completed", SUMMARY)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({}, 0), ({"invalid": 1}, 3), ({"failed": 1}, 3), ({"refused": 1}, 3), ({"unanswered": 1}, 4),
        ({"unanswered": 1, "failed": 9}, 4), ({"status": "failed", "unanswered": 1}, 2),
    ],
)  # fmt: skip
def test_the_first_exit_code_that_applies(changed: dict[str, Any], code: int) -> None:
    figures = {"status": "completed", "unanswered": 0, "invalid": 0, "failed": 0, "refused": 0}
    assert outcome.exit_code({**figures, **changed}) == code
