from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl

from pipelines.reports import savings
from tests.support_frames import call, costs_frame, duplicate, result, results_frame


def _frames() -> tuple[pl.LazyFrame, pl.LazyFrame]:
    results = [
        result(0, avoided_usd=Decimal("0.02")),
        result(1, lane="cloud", cost_usd=Decimal("0.03")),
        duplicate(2, 0, avoided_usd=Decimal("0.05")),
        result(3, status="failed", cost_usd=Decimal("0.01")),
        result(4, avoided_usd=Decimal("0.004"), client="acme"),
    ]
    costs = [
        call(0, 0, avoided_usd=Decimal("0.02"), avoided_cause="local"),
        call(1, 1, lane="cloud", cost_usd=Decimal("0.03")),
        call(2, 3, lane="cloud", cost_usd=Decimal("0.01"), outcome="lost"),
        call(3, 4, avoided_usd=Decimal("0.004"), avoided_cause="provider_batch", client="acme"),
        call(4, None, purpose="audit", cost_usd=Decimal("0.1"), avoided_usd=Decimal(7), avoided_cause="local"),
    ]
    return results_frame(results), costs_frame(costs)


def _one(by: list[str] | None = None) -> dict[str, Any]:
    return savings.build(*_frames(), by or []).collect().row(0, named=True)


def test_spent_counts_every_call_and_avoided_only_answers() -> None:
    row = _one()
    assert row["spent_usd"] == Decimal("0.14")
    assert row["avoided_local_usd"] == Decimal("0.02")
    assert row["avoided_duplicate_usd"] == Decimal("0.05")
    assert row["avoided_provider_batch_usd"] == Decimal("0.004")
    assert row["avoided_cheaper_model_usd"] == 0


def test_causes_add_up_to_the_total_and_spent_plus_avoided_is_all_cloud() -> None:
    row = _one()
    causes = [row[f"avoided_{cause}_usd"] for cause in ("duplicate", "local", "provider_batch", "cheaper_model")]
    assert sum(causes) == row["avoided_usd"] == Decimal("0.074")
    assert row["all_cloud_usd"] == Decimal("0.214")
    assert abs(row["saved_share"] - 0.074 / 0.214) < 1e-12


def test_rows_are_counted_by_how_they_were_answered() -> None:
    row = _one()
    assert (row["answered"], row["duplicates"], row["calls"]) == (4, 1, 5)


def test_groups_add_up_to_the_whole() -> None:
    table = savings.build(*_frames(), ["client"]).collect()
    assert table["client"].to_list() == ["acme", "default"]
    assert table["avoided_usd"].sum() == _one()["avoided_usd"]
    assert table["spent_usd"].sum() == _one()["spent_usd"]


def test_the_chart_sets_spent_beside_each_cause() -> None:
    bars = savings.bars([_one()])
    assert bars[0] == ("spent", "$0.140", 0.14)
    assert [label for label, _, _ in bars[1:]] == [
        "avoided duplicate", "avoided local", "avoided provider batch", "avoided cheaper model",
    ]  # fmt: skip
