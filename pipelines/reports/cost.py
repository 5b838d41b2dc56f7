"""What was paid, by day, lane, target and model: calls, tokens, dollars and the share of lost calls.

Reads the ledger alone: every call counts, also rejected, late and audit calls.
"""

from __future__ import annotations

import polars as pl

from pipelines.reports.shared.frames import CALENDAR, dated, grouped, share, usd

BY = ("day", "lane", "target", "model")
DIMENSIONS = (*CALENDAR, "client", "run", "lane", "target", "provider", "model", "route", "purpose", "outcome")
TOTALS = ("calls", "input_tokens", "cached_input_tokens", "output_tokens", "cost_usd", "lost_usd")


def build(results: pl.LazyFrame, costs: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    _, costs = dated(results, costs)
    values = [
        pl.len().cast(pl.Int64).alias("calls"),
        pl.col("input_tokens").sum(),
        pl.col("cached_input_tokens").sum(),
        pl.col("output_tokens").sum(),
        usd("cost_usd").alias("cost_usd"),
        usd("cost_usd", pl.col("outcome") == "lost").alias("lost_usd"),
    ]
    return grouped(costs, by, values).with_columns(share("lost_usd", "cost_usd").alias("lost_share"))
