from __future__ import annotations

from decimal import Decimal

from pipelines.reports import cost
from tests.support_frames import at, call, costs_frame, results_frame


def test_sums_are_exact_and_the_lost_share_is_of_money() -> None:
    costs = costs_frame(
        [
            call(0, 0, cost_usd=Decimal("0.000000000001"), lane="cloud"),
            call(1, 0, cost_usd=Decimal("1234567890123456789.000000000003"), lane="cloud", outcome="lost"),
            call(2, 1, cost_usd=Decimal("0.5")),
        ]
    )
    table = cost.build(results_frame([]), costs, ["lane"]).collect()
    assert table["lane"].to_list() == ["cloud", "local"]
    assert table["cost_usd"].to_list() == [Decimal("1234567890123456789.000000000004"), Decimal("0.500000000000")]
    assert table["lost_usd"].to_list() == [Decimal("1234567890123456789.000000000003"), Decimal(0)]
    assert table["calls"].to_list() == [2, 1]
    assert table["lost_share"].to_list() == [1.0, 0.0]


def test_days_are_those_of_the_calls() -> None:
    table = cost.build(
        results_frame([]), costs_frame([call(0, 0), call(1, 1, started_at=at(86_400))]), ["day"]
    ).collect()
    assert table["day"].to_list() == ["2026-03-01", "2026-03-02"]


def test_free_lanes_have_no_lost_share() -> None:
    table = cost.build(results_frame([]), costs_frame([call(0, 0)]), []).collect()
    assert table["lost_share"].to_list() == [None]
