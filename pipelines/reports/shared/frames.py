"""What reports share: filters, calendar columns, grouping and exact money sums over lazy frames."""

from __future__ import annotations

from datetime import datetime

import polars as pl

CALENDAR = ("day", "week", "month")
CAUSES = ("duplicate", "local", "provider_batch", "cheaper_model")

MONEY = pl.Decimal(38, 12)
_ZERO = pl.lit(0).cast(MONEY)


def narrow(
    results: pl.LazyFrame,
    costs: pl.LazyFrame,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    client: str | None = None,
    run: str | None = None,
    timezone: str = "UTC",
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Results and ledger rows of one client or run, from `since` on and before `until`; days are those of `timezone`."""
    results = with_calendar(results, _result_time(), timezone)
    costs = with_calendar(costs, pl.col("started_at"), timezone)
    for column, wanted in (("client", client), ("run_id", run)):
        if wanted is not None:
            results, costs = results.filter(pl.col(column) == wanted), costs.filter(pl.col(column) == wanted)
    if since is not None:
        results, costs = results.filter(pl.col("at") >= since), costs.filter(pl.col("at") >= since)
    if until is not None:
        results, costs = results.filter(pl.col("at") < until), costs.filter(pl.col("at") < until)
    return results, costs


def with_calendar(frame: pl.LazyFrame, when: pl.Expr, timezone: str = "UTC") -> pl.LazyFrame:
    """Adds `at`, the columns of CALENDAR (by the zone's clock, as text) and `run`, unless they are there."""
    if "at" in frame.collect_schema():
        return frame
    shown = pl.col("at").dt.convert_time_zone(timezone)
    return frame.with_columns(when.alias("at")).with_columns(
        shown.dt.strftime("%Y-%m-%d").alias("day"),
        shown.dt.strftime("%G-W%V").alias("week"),
        shown.dt.strftime("%Y-%m").alias("month"),
        pl.col("run_id").alias("run"),
    )


def dated(results: pl.LazyFrame, costs: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Both frames with their calendar columns, whoever calls."""
    return narrow(results, costs)


def grouped(frame: pl.LazyFrame, by: list[str], values: list[pl.Expr]) -> pl.LazyFrame:
    """`values` per group; one row when there is nothing to group by."""
    return frame.group_by(by).agg(values).sort(by, nulls_last=True) if by else frame.select(values)


def usd(column: str, where: pl.Expr | None = None) -> pl.Expr:
    """An exact sum of money; zero where there is nothing."""
    value = pl.col(column) if where is None else pl.col(column).filter(where)
    return pl.coalesce(value.sum(), _ZERO).cast(MONEY)


def share(part: str, whole: str) -> pl.Expr:
    """A ratio of two columns as a float; null where the whole is zero."""
    whole_value = pl.col(whole).cast(pl.Float64)
    return pl.when(whole_value != 0).then(pl.col(part).cast(pl.Float64) / whole_value)


def seconds() -> pl.Expr:
    """How long each call took."""
    return (pl.col("finished_at") - pl.col("started_at")).dt.total_microseconds() / 1e6


def _result_time() -> pl.Expr:
    """When a row ended; rows that were never asked have no time but their run's start, which its id tells."""
    began = pl.col("run_id").str.slice(0, 15).str.strptime(pl.Datetime("us"), "%Y%m%d-%H%M%S", strict=False)
    return pl.coalesce("finished_at", began.dt.replace_time_zone("UTC"))
