"""What must hold after any crash: rows, ledger and Redis against the input and against the upstream's own bill."""

from __future__ import annotations

import time
from collections import Counter
from decimal import Decimal
from typing import Any

import polars as pl
from redis import Redis

from pipelines import invariants
from pipelines.violation import Violation
from producer.cli import frames
from tests.support_program import Program

CLEAN_S = 20.0
"""How long the bells that kills left in ARQ's queues may take to be answered: a lease of a job and a poll, with room."""

MAY_STAY = ("id", "run:", "runs:", "fingerprints", "targets", "lanes", "wake")
"""What a completed run leaves without an expiry; `workers` too, while workers live."""


def judge(
    program: Program, run_id: str, rows: int, calls: list[dict[str, Any]], *, in_flight: int, redis: Redis | None = None
) -> list[str]:
    """Everything that does not hold, in words; `in_flight` is how many calls may have been cut off by kills."""
    results, costs = program.results(run_id), program.costs()
    return [
        *_rows(results, rows),
        *(f"doctor: {one.row} {one.what}" for one in _doctor(program, run_id, rows)),
        *ledger(costs, calls),
        *_bought_again(costs, calls, in_flight),
        *(_left_in_redis(redis) if redis is not None else ()),
    ]


def _doctor(program: Program, run_id: str, rows: int) -> list[Violation]:
    """All that `spillway doctor --run` looks at."""
    root = str(program.data)
    results, costs = frames.scan(root, run_id)
    chunks, parts = frames.chunks(root, [run_id]), frames.parts(root, run_id)
    return invariants.check(results, costs, rows, chunks, parts, frames.prices(root, run_id))


def _rows(results: pl.DataFrame, rows: int) -> list[str]:
    wrong = [] if results["row"].to_list() == list(range(rows)) else [f"rows: {results.height} instead of {rows}"]
    unanswered = results.filter(pl.col("status") != "ok")
    if unanswered.height:
        said = unanswered.group_by("status", "error_code").len().rows()
        wrong.append(f"rows that are not ok: {said}")
    return wrong


def ledger(costs: pl.DataFrame, calls: list[dict[str, Any]]) -> list[str]:
    """What the ledger does not say of the upstream's bill."""
    wrong = [] if costs["call_id"].is_unique().all() else ["ledger: call ids are not unique"]
    booked, billed = pusd(costs), sum(call["cost_pusd"] for call in calls)
    if booked < billed:
        wrong.append(f"ledger: {booked} pUSD booked, {billed} billed")
    heard = costs.filter(pl.col("outcome") == "ok")
    delivered = [call for call in calls if call["delivered"]]
    if heard.height > len(delivered):
        wrong.append(f"ledger: {heard.height} answers booked, {len(delivered)} delivered")
    if pusd(heard) > sum(call["cost_pusd"] for call in delivered):
        wrong.append("ledger: answers booked above the bill")
    paid = costs.filter(pl.col("outcome").is_in(["ok", "lost", "error"])).height
    if paid < len(calls):
        wrong.append(f"ledger: {len(calls)} calls billed, {paid} booked as sent")
    return wrong


def _bought_again(costs: pl.DataFrame, calls: list[dict[str, Any]], in_flight: int) -> list[str]:
    """An answer that was journaled is never asked for again; others only if they were in flight, got lost or were no use (a
    body without text, and with its usage: heard, paid, and asked once more)."""
    good = costs.filter((pl.col("outcome") == "ok") & (pl.col("purpose") == "answer") & pl.col("error_code").is_null())
    twice = good.group_by("row").len().filter(pl.col("len") > 1)
    wrong = (
        [f"bought again though the answer was journaled: rows {twice['row'].to_list()[:10]}"] if twice.height else []
    )
    asked = Counter(call["prompt_hash"] for call in calls if call["delivered"])
    again = sum(count - 1 for count in asked.values())
    useless = (pl.col("outcome") == "ok") & pl.col("error_code").is_not_null()
    excused = in_flight + costs.filter((pl.col("outcome") == "lost") | useless).height
    if again > excused:
        wrong.append(f"{again} answers bought twice, {excused} were in flight, lost or no use")
    return wrong


def _left_in_redis(redis: Redis) -> list[str]:
    """A queue's key lives while a job stands in it, and a job whose worker was killed is taken again a lease later."""
    until_s = time.monotonic() + CLEAN_S
    while (wrong := _lasting(redis)) and time.monotonic() < until_s:
        time.sleep(0.2)
    return wrong


def _lasting(redis: Redis) -> list[str]:
    wrong = []
    for name in redis.scan_iter("*"):
        own = name.removeprefix("spillway:")
        if redis.ttl(name) == -1 and not own.startswith(MAY_STAY) and own != "workers":
            wrong.append(f"left in Redis without an expiry: {name}")
        if own.startswith(("batch:", "journal:", "waiting:", "drained:", "parts:")):
            wrong.append(f"left in Redis: {name}")
    return wrong


def pusd(costs: pl.DataFrame) -> int:
    return int(Decimal(costs["cost_usd"].sum()) * 10**12) if costs.height else 0
