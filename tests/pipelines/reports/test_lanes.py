from __future__ import annotations

from typing import Any

import pytest

from pipelines.reports import lanes
from tests.support_frames import at, call, costs_frame, duplicate, result, results_frame


def _by_lane(rows: list[dict[str, Any]], calls: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    table = lanes.build(results_frame(rows), costs_frame(calls), ["lane"]).collect()
    return {row["lane"]: row for row in table.iter_rows(named=True)}


def test_busy_time_is_the_union_of_calls_and_slot_time_their_sum() -> None:
    calls = [
        call(0, 0, started_at=at(0), finished_at=at(10)),
        call(1, 1, started_at=at(2), finished_at=at(4)),  # inside the first
        call(2, 2, started_at=at(8), finished_at=at(12)),  # overlaps its end
        call(3, 3, started_at=at(20), finished_at=at(21)),
    ]
    row = _by_lane([result(n) for n in range(4)], calls)["local"]
    assert row["busy_s"] == 13.0
    assert row["slot_s"] == 17.0
    assert row["tokens_per_s"] == pytest.approx(40 / 13)


def test_latency_is_of_calls_that_answered() -> None:
    calls = [call(n, n, finished_at=at(n + 1)) for n in range(5)] + [call(9, 0, finished_at=at(900), outcome="error")]
    row = _by_lane([result(0)], calls)["local"]
    assert row["median_s"] == 3.0
    assert row["p95_s"] == 5.0
    assert row["failed_calls"] == 1


def test_shares_count_answered_rows_only() -> None:
    rows = [
        result(0),
        result(1),
        result(2),
        result(3, lane="cloud", target="mini"),
        duplicate(4, 0),
        result(5, status="failed"),
    ]
    calls = [call(0, 0), call(3, 3, lane="cloud", target="mini")]
    table = _by_lane(rows, calls)
    assert (table["local"]["rows"], table["cloud"]["rows"]) == (3, 1)
    assert table["local"]["row_share"] == 0.75


def test_a_lane_with_calls_but_no_answer_is_shown() -> None:
    table = _by_lane([result(0)], [call(0, 0), call(1, 1, lane="cloud", outcome="error")])
    assert table["cloud"]["rows"] == 0
    assert table["cloud"]["calls"] == 1


def test_chart_labels_each_group() -> None:
    table = lanes.build(results_frame([result(0)]), costs_frame([call(0, 0)]), ["lane", "target"]).collect()
    assert lanes.bars(table.rows(named=True)) == [("local gpu", "1 (100.0%)", 1.0)]
