"""How each lane and target worked: rows, calls, tokens, busy time, latency, tokens per second and share of the answers.

`busy_s` is the time with at least one call in flight, `slot_s` the sum over all calls; latencies are of good calls.
Below: calls in flight over time, and what one more hour of each local target would have saved, of rows that fit its window and that
it has not tried in vain, less what its own calls cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from pipelines.beside import Room
from pipelines.reports.shared import lane_time
from pipelines.reports.shared.format import percent
from pipelines.reports.shared.frames import CALENDAR, dated, grouped, seconds, share
from pipelines.reports.shared.sections import Section

BY = ("lane", "target")
DIMENSIONS = ("lane", "target", "provider", "model", "route", "client", "run", *CALENDAR)
TOTALS = ("rows", "calls", "failed_calls", "input_tokens", "output_tokens", "slot_s")

_ROWS = pl.len().cast(pl.Int64).alias("rows")


def build(results: pl.LazyFrame, costs: pl.LazyFrame, by: list[str]) -> pl.LazyFrame:
    results, costs = dated(results, costs)
    answered = results.filter(pl.col("status") == "ok")
    calls, rows = grouped(costs, by, _calls()), grouped(answered, by, [_ROWS])
    if by:
        both = calls.join(rows, on=by, how="full", coalesce=True, nulls_equal=True).sort(by, nulls_last=True)
    else:
        both = pl.concat([calls, rows], how="horizontal")
    counted = ("rows", "calls", "failed_calls", "input_tokens", "output_tokens")
    return both.with_columns(pl.col(counted).fill_null(0)).select(
        *by,
        *counted,
        "busy_s",
        "slot_s",
        "median_s",
        "p95_s",
        share("output_tokens", "busy_s").alias("tokens_per_s"),
        (pl.col("rows") / pl.col("rows").sum()).fill_nan(0.0).alias("row_share"),
    )


def bars(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, float]]:
    """Rows answered by each group."""
    known = [name for name in rows[0] if name in DIMENSIONS]
    labels = (" ".join(str(row[name] or "-") for name in known) or "all" for row in rows)
    return [
        (label, f"{row['rows']:,} ({percent(row['row_share'])})", float(row["rows"]))
        for label, row in zip(labels, rows, strict=True)
    ]


def told(costs: pl.LazyFrame, timezone: str, rooms: Mapping[str, Room]) -> list[Section]:
    """Calls in flight over time, and what one more local hour would have saved."""
    return lane_time.sections(costs, timezone, rooms)


def _calls() -> list[pl.Expr]:
    good = seconds().filter(pl.col("outcome") == "ok")
    return [
        pl.len().cast(pl.Int64).alias("calls"),
        (pl.col("outcome") != "ok").sum().cast(pl.Int64).alias("failed_calls"),
        pl.col("input_tokens").sum(),
        pl.col("output_tokens").sum(),
        _busy().alias("busy_s"),
        seconds().sum().alias("slot_s"),
        good.median().alias("median_s"),
        good.quantile(0.95).alias("p95_s"),
    ]


def _busy() -> pl.Expr:
    """Length of the union of all calls' spans: each adds only what earlier ones have not covered."""
    began, ended = (pl.col(name).sort_by("started_at", "finished_at") for name in ("started_at", "finished_at"))
    fresh = ended - pl.max_horizontal(began, ended.cum_max().shift(1))
    return fresh.dt.total_microseconds().clip(lower_bound=0).sum() / 1e6
