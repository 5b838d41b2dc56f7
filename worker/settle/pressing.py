"""What followers reckon with when their own deadline comes near: how fast the lanes are, and which rows another run has out."""

from __future__ import annotations

import asyncio
import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines import wire
from pipelines.journal import fold
from pipelines.planning.snapshot import TargetView
from worker.context import Context
from worker.learned import read
from worker.settle.partial import came_back


class _Figures(msgspec.Struct):
    """Of a lane, as the scheduler publishes it; an older one says less. No limit is none that is known."""

    up: bool = True
    rows_per_s: float = 0.0
    latency_s: float = 1.0
    spans: int = 0
    limit_rows_per_s: float | None = None
    throttled: bool = False


async def lanes(context: Context) -> dict[str, TargetView]:
    """Every target, as fast as the scheduler has measured it, and no faster than its limits on calls admit."""
    raw = await context.redis.hgetall(context.keys.lanes)
    found = {}
    for name, target in context.settings.targets.items():
        said = read(raw.get(name.encode()), _Figures) or _Figures()
        limit = min(context.targets.calls_per_s(name), said.limit_rows_per_s or math.inf)
        found[name] = TargetView(
            name, target.lane, said.up, context.targets.cap(name), rows_per_s=said.rows_per_s, latency_s=said.latency_s,
            limit_rows_per_s=limit, spans=said.spans, throttled=said.throttled,
        )  # fmt: skip
    return found


async def rows_out(context: Context, run_id: str) -> NDArray[np.int64]:
    """Rows of a run whose batches are on a lane or with a provider, and rows that are answered and not settled yet: asking them too
    pays twice."""
    redis, keys = context.redis, context.keys
    pipe = redis.pipeline(transaction=False)
    pipe.zrange(keys.rung, 0, -1)
    pipe.zrange(keys.given, 0, -1)
    pipe.lrange(keys.drained(run_id), 0, -1)
    pipe.hvals(keys.parts(run_id))
    replies = [reply for reply in await pipe.execute(raise_on_error=False) if not isinstance(reply, Exception)]
    named = [name for reply in replies for each in reply for name in _batches(each, run_id)]
    for batch in named:
        pipe.hget(keys.batch(batch), "payload")
    payloads = await pipe.execute(raise_on_error=False) if named else []
    begun = await came_back(context, run_id)
    for batch in begun:
        pipe.lrange(keys.journal(batch), 0, -1)
    said = await pipe.execute(raise_on_error=False) if begun else []
    journals = [journal for journal in said if isinstance(journal, list)]
    return await asyncio.to_thread(_rows_of, [payload for payload in payloads if isinstance(payload, bytes)], journals)


def _batches(said: bytes, run_id: str) -> list[str]:
    """The run's own among a batch's name, or a part's record of them."""
    try:
        names = wire.load(said) if said.startswith(b"[") else [said.decode()]
    except (ValueError, RecursionError):
        return []
    return [name for name in names if isinstance(name, str) and name.startswith(f"{run_id}.")]


def _rows_of(payloads: list[bytes], journals: list[list[bytes]]) -> NDArray[np.int64]:
    rows = [row for journal in journals for row in fold(wire.readable_entries(journal)).done]
    for payload in payloads:
        try:
            rows += [item.row for item in wire.unpack_items(payload)]
        except wire.Unreadable:
            continue  # settle gives its rows their end
    return np.array(rows, np.int64)
