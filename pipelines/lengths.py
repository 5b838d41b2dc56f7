"""How long answers will be: as measured in the ledger, else as labels, schema or max_tokens allow, else a constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from pipelines.batch import DEFAULT_OUTPUT_TOKENS, output_estimate
from pipelines.types import Options

LEAST_CALLS = 20
"""Fewer calls measure nothing."""
SCHEMA_CHARS_PER_TOKEN = 5
"""An answer has about a token for each five characters of the schema that describes it."""


class Measured(NamedTuple):
    """Good answers of one route or target: how many, and their mean and standard deviation in tokens and in seconds, those of
    real-time calls (0: none), and how many of these were in flight while any was."""

    calls: int
    output_tokens: float
    spread_tokens: float
    call_s: float
    spread_s: float
    at_once: float = 0.0


BATCHES = "provider_batch"
TOOK_S = (pl.col("finished_at") - pl.col("started_at")).dt.total_microseconds() / 1e6
_BEGAN = pl.col("started_at").sort()
_ENDED = pl.col("finished_at").sort_by("started_at").cum_max()
BUSY_S = (_ENDED - pl.max_horizontal(_BEGAN, _ENDED.shift(1))).dt.total_microseconds().clip(0).sum() / 1e6
"""Seconds in which at least one of some calls was in flight."""
Known = Mapping[tuple[str, str], Measured]
"""By (route, target); ("", target) is a target over all routes, (route, "") a route over all targets."""


def measure(costs: pl.DataFrame) -> dict[tuple[str, str], Measured]:
    """What the ledger rows of answers say; groups of under LEAST_CALLS calls are left out."""
    good = costs.filter((pl.col("outcome") == "ok") & (pl.col("purpose") == "answer") & (pl.col("output_tokens") > 0))
    times = pl.col("started_at", "finished_at")  # of a batch they say how long the batch took
    good = good.with_columns(pl.when(pl.col("lane") != BATCHES).then(times))
    found: dict[tuple[str, str], Measured] = {}
    for by in (["route", "target"], ["route"], ["target"]):
        groups = good.group_by(by).agg(
            pl.len().alias("calls"),
            pl.col("output_tokens").mean(),
            pl.col("output_tokens").std().alias("spread_tokens"),
            TOOK_S.mean().fill_null(0.0).alias("call_s"),
            TOOK_S.std().fill_null(0.0).alias("spread_s"),
            (TOOK_S.sum() / BUSY_S).fill_nan(0.0).alias("at_once"),
        )
        for row in groups.filter(pl.col("calls") >= LEAST_CALLS).iter_rows(named=True):
            figures = {name: row[name] for name in Measured._fields}
            found[row.get("route", ""), row.get("target", "")] = Measured(**figures)
    return found


def latencies(costs: pl.DataFrame) -> dict[str, tuple[float, float]]:
    """By target: what half and nine in ten of its batch API's orders took, in seconds, the latter with more room the fewer they
    were. Calls that began together are one order."""
    sent = costs.filter((pl.col("lane") == BATCHES) & (pl.col("outcome") == "ok"))
    orders = sent.group_by("target", "started_at").agg(took_s=TOOK_S.min()).filter(pl.col("took_s") > 0)
    found = orders.group_by("target").agg(
        pl.len().alias("orders"), pl.col("took_s").median().alias("p50"),
        pl.col("took_s").quantile(0.9, "higher").alias("p90"),
    )  # fmt: skip
    return {row["target"]: (row["p50"], row["p90"] * (1 + 2 / row["orders"])) for row in found.iter_rows(named=True)}


def of_route(known: Known, route: str, lane: Sequence[str], others: Sequence[str] = ()) -> Measured | None:
    """What is known of a route at the first of a lane's targets that has answered there, for each model writes answers of its own;
    else of the route, whoever answered; else of the first target of the lane, or of `others`, that is known from other routes."""
    keys = [*((route, target) for target in lane), (route, ""), *(("", target) for target in (*lane, *others))]
    return next((known[key] for key in keys if key in known), None)


def expect(measured: Measured | None, max_tokens: int, options: Options) -> tuple[int, str]:
    """Output tokens of one answer, and where that comes from: measured, labels, schema, max_tokens or assumed."""
    if measured is not None:
        guess, source = max(1, round(measured.output_tokens)), "measured"
    elif options.labels:
        return output_estimate(max_tokens, options.labels), "labels"
    elif options.schema:
        guess, source = max(8, len(options.schema) // SCHEMA_CHARS_PER_TOKEN), "schema"
    else:
        guess, source = DEFAULT_OUTPUT_TOKENS, "assumed"
    return (max_tokens, "max_tokens") if 0 < max_tokens < guess else (guess, source)
