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
    """Good answers of one group, route or target: how many, and their mean and standard deviation in tokens and in seconds, those of
    real-time calls (0: none), and how many of these were in flight while any was."""

    calls: int
    output_tokens: float
    spread_tokens: float
    call_s: float
    spread_s: float
    at_once: float = 0.0


BATCHES = "provider_batch"
UNRUN = ("cancelled", "expired", "batch_cancelled", "batch_expired")
"""What a line is called that was still to be run when its order ended: by the order's end, or by its own line in the results."""
ODD = 100
"""Times what 99 in a hundred answers have at most: a count of so much more is none, and one would outweigh all others."""
_USUAL = pl.col("output_tokens").quantile(0.99, "lower").over("route", "target")
TOOK_S = (pl.col("finished_at") - pl.col("started_at")).dt.total_microseconds() / 1e6
_BEGAN = pl.col("started_at").sort()
_ENDED = pl.col("finished_at").sort_by("started_at").cum_max()
BUSY_S = (_ENDED - pl.max_horizontal(_BEGAN, _ENDED.shift(1))).dt.total_microseconds().clip(0).sum() / 1e6
"""Seconds in which at least one of some calls was in flight."""
Known = Mapping[tuple[str, str], Measured]
"""By (route, target); ("", target) is a target over all routes, (route, "") a route over all targets. A group (pipelines/batch.py)
stands in it like a route, by its name."""


def measure(costs: pl.DataFrame) -> dict[tuple[str, str], Measured]:
    """What the ledger rows of answers say, those with a column `group` of their groups too; what has under LEAST_CALLS calls is left
    out."""
    good = costs.filter((pl.col("outcome") == "ok") & (pl.col("purpose") == "answer") & (pl.col("output_tokens") > 0))
    times = pl.col("started_at", "finished_at")  # of a batch they say how long the batch took
    good = good.filter(pl.col("output_tokens") <= ODD * _USUAL)
    good = good.with_columns(pl.when(pl.col("lane") != BATCHES).then(times))
    found: dict[tuple[str, str], Measured] = {}
    ways = [["route", "target"], ["route"], ["target"]]
    if "group" in costs.columns:
        ways += [["group", "target"], ["group"]]
    for by in ways:
        kinds = good.group_by(by).agg(
            pl.len().alias("calls"),
            pl.col("output_tokens").mean(),
            pl.col("output_tokens").std().alias("spread_tokens"),
            TOOK_S.mean().fill_null(0.0).alias("call_s"),
            TOOK_S.std().fill_null(0.0).alias("spread_s"),
            (TOOK_S.sum() / BUSY_S).fill_nan(0.0).alias("at_once"),
        )
        named = kinds.filter((pl.col("calls") >= LEAST_CALLS) & (pl.col(by[0]) != ""))
        for row in named.iter_rows(named=True):
            figures = {name: row[name] for name in Measured._fields}
            found[row.get("group") or row.get("route", ""), row.get("target", "")] = Measured(**figures)
    return found


def latencies(costs: pl.DataFrame) -> dict[str, list[float]]:
    """By target: what its batch API's orders took, in seconds; below zero those that were cancelled or expired with lines that had not
    run, however many had: all of it would have taken longer. Calls that began together are one order."""
    unrun = (pl.col("outcome") == "rejected") & pl.col("error_code").is_in(UNRUN)
    sent = costs.filter((pl.col("lane") == BATCHES) & ((pl.col("outcome") == "ok") | unrun))
    orders = sent.group_by("target", "started_at").agg(took_s=TOOK_S.min(), back=unrun.any())
    orders = orders.filter(pl.col("took_s") > 0).sort("target", "started_at")
    orders = orders.with_columns(pl.when("back").then(-pl.col("took_s")).otherwise("took_s").alias("took_s"))
    return {str(target): found["took_s"].to_list() for (target,), found in orders.group_by("target")}


def of_route(
    known: Known, route: str, lane: Sequence[str], others: Sequence[str] = (), group: str = ""
) -> Measured | None:
    """What is known of a group, else of its route, at the first of a lane's targets that has answered there, for each model writes
    answers of its own; else whoever answered; else of the first target of the lane, or of `others`, that is known from other routes."""
    keys = [(name, target) for name in (group, route) if name for target in (*lane, "")]
    keys += [("", target) for target in (*lane, *others)]
    return next((known[key] for key in keys if key in known), None)


def is_new(known: Known, group: str) -> bool:
    """Whether nothing is known of a group, although others of its route and form are: how long its answers are is a guess."""
    alike = group.rpartition(" ")[0].rpartition(" ")[0] + " "
    return bool(group) and (group, "") not in known and any(name.startswith(alike) for name, _ in known)


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
