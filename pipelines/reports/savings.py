"""What was spent, what was avoided and why, and what the same answers would have cost in the cloud alone.

Avoided money is net of what the row itself cost, so spent and avoided together are the price of all cloud; the four
causes add up to the total. Unfinished runs are left out: their calls are in the ledger before their rows are in the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from pipelines.reports.shared.format import dollars, heading
from pipelines.reports.shared.frames import CALENDAR, CAUSES, dated, grouped, share, usd

BY: tuple[str, ...] = ()
DIMENSIONS = (*CALENDAR, "client", "run", "route")
TOTALS = (
    "answered", "duplicates", "calls", "spent_usd", *(f"avoided_{cause}_usd" for cause in CAUSES), "avoided_usd",
    "all_cloud_usd",
)  # fmt: skip
WHOLE_RUNS = True


def build(results: pl.LazyFrame, costs: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    results, costs = dated(results, costs)
    events = pl.concat([_rows(results, by), _calls(costs, by)], how="diagonal")
    values = [
        pl.col("answered").sum(),
        pl.col("duplicate").sum().alias("duplicates"),
        pl.col("call").sum().alias("calls"),
        usd("spent_usd").alias("spent_usd"),
        *(usd("avoided", pl.col("cause") == cause).alias(f"avoided_{cause}_usd") for cause in CAUSES),
    ]
    total = pl.sum_horizontal(f"avoided_{cause}_usd" for cause in CAUSES)
    return (
        grouped(events, by, values)
        .with_columns(total.alias("avoided_usd"))
        .with_columns((pl.col("spent_usd") + pl.col("avoided_usd")).alias("all_cloud_usd"))
        .with_columns(share("avoided_usd", "all_cloud_usd").alias("saved_share"))
    )


def bars(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, float]]:
    """Spent beside each cause of not spending."""
    sums = {
        column: sum(row[column] for row in rows)
        for column in ("spent_usd", *(f"avoided_{cause}_usd" for cause in CAUSES))
    }
    return [(heading(column), dollars(value), float(value)) for column, value in sums.items()]


def _rows(results: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    duplicate = pl.col("status") == "duplicate"
    return results.select(
        *by,
        pl.col("status").is_in(["ok", "duplicate"]).cast(pl.Int64).alias("answered"),
        duplicate.cast(pl.Int64).alias("duplicate"),
        pl.when(duplicate).then(pl.lit("duplicate")).alias("cause"),
        pl.when(duplicate).then(pl.col("avoided_usd")).alias("avoided"),
    )


def _calls(costs: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    return costs.select(
        *by,
        pl.lit(1, pl.Int64).alias("call"),
        pl.col("cost_usd").alias("spent_usd"),
        pl.col("avoided_cause").alias("cause"),
        pl.when(pl.col("purpose") == "answer").then(pl.col("avoided_usd")).alias("avoided"),
    )
