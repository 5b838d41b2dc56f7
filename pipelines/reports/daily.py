"""What was done each day on each lane: rows, calls, tokens, what it cost and what it avoided.

Rows count on the lane that answered them; duplicates were answered by none and stand on a line of their own.
"""

from __future__ import annotations

import polars as pl

from pipelines.reports.shared.frames import CALENDAR, dated, grouped, usd

BY = ("day", "lane")
DIMENSIONS = (*CALENDAR, "lane", "target", "provider", "model", "route", "client", "run")
TOTALS = ("rows", "answered", "calls", "input_tokens", "output_tokens", "cost_usd", "avoided_usd")


def build(results: pl.LazyFrame, costs: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    results, costs = dated(results, costs)
    values = [
        *(pl.col(name).sum() for name in ("rows", "answered", "calls", "input_tokens", "output_tokens")),
        usd("cost").alias("cost_usd"),
        usd("avoided").alias("avoided_usd"),
    ]
    return grouped(pl.concat([_rows(results, by), _calls(costs, by)], how="diagonal"), by, values)


def _rows(results: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    """A duplicate avoided its money itself; what an asked row avoided is in the ledger. Who answered a duplicate is its
    leader's (docs/results.md), so here it has nobody."""
    own = pl.col("status") != "duplicate"
    return results.with_columns(
        pl.when(own).then(pl.col(name)).alias(name) for name in ("lane", "target", "provider", "model")
    ).select(
        *by,
        pl.lit(1, pl.Int64).alias("rows"),
        pl.col("status").is_in(["ok", "duplicate"]).cast(pl.Int64).alias("answered"),
        pl.when(pl.col("status") == "duplicate").then(pl.col("avoided_usd")).alias("avoided"),
    )


def _calls(costs: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    return costs.select(
        *by,
        pl.lit(1, pl.Int64).alias("calls"),
        "input_tokens",
        "output_tokens",
        pl.col("cost_usd").alias("cost"),
        pl.when(pl.col("purpose") == "answer").then(pl.col("avoided_usd")).alias("avoided"),
    )
