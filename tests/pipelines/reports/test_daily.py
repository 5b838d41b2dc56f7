"""Each day's rows, calls and money by lane, and the same sums as the other reports."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from pipelines.reports import cost, daily, savings
from pipelines.reports.shared.frames import narrow
from tests.support_frames import at, call, costs_frame, duplicate, result, results_frame

LATE = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
RESULTS = [
    result(0), result(1, lane="cloud"), result(2, status="failed", lane=None), duplicate(3, 0, avoided_usd=Decimal("0.5")),
    result(4, finished_at=LATE),
]  # fmt: skip
COSTS = [
    call(0, 0, avoided_usd=Decimal("0.25")), call(1, 1, lane="cloud", cost_usd=Decimal("0.1")),
    call(2, 1, lane="cloud", cost_usd=Decimal("0.2"), purpose="audit", avoided_usd=Decimal(9)),
    call(3, 4, started_at=LATE, cost_usd=Decimal("0.000000000001")),
]  # fmt: skip


def test_a_line_for_each_day_and_lane() -> None:
    table = daily.build(results_frame(RESULTS), costs_frame(COSTS), ["day", "lane"]).collect()
    said = table.select("day", "lane", "rows", "answered", "calls", "cost_usd", "avoided_usd").rows()
    assert said == [
        ("2026-03-01", "cloud", 1, 1, 2, Decimal("0.3"), Decimal(0)),
        ("2026-03-01", "local", 2, 2, 2, Decimal("0.000000000001"), Decimal("0.25")),
        ("2026-03-01", None, 2, 1, 0, Decimal(0), Decimal("0.5")),
    ]


def test_days_are_those_of_the_zone() -> None:
    frames = narrow(results_frame(RESULTS), costs_frame(COSTS), timezone="Europe/Berlin")
    table = daily.build(*frames, ["day"]).collect()
    assert table.select("day", "rows", "calls").rows() == [("2026-03-01", 4, 3), ("2026-03-02", 1, 1)]


def test_its_sums_are_those_of_the_other_reports() -> None:
    frames = results_frame(RESULTS), costs_frame([*COSTS, call(9, 0, started_at=at(86_400 * 40), cost_usd=Decimal(3))])
    (sums,) = daily.build(*frames, []).collect().to_dicts()
    (saved,) = savings.build(*frames, []).collect().to_dicts()
    (paid,) = cost.build(*frames, []).collect().to_dicts()
    assert (sums["cost_usd"], sums["calls"], sums["input_tokens"]) == (
        paid["cost_usd"], paid["calls"], paid["input_tokens"],
    )  # fmt: skip
    assert sums["answered"] == saved["answered"]
    assert sums["avoided_usd"] == Decimal("0.75")
