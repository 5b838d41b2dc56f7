"""What others publish in Redis and prepare heeds: how fast each target answers (the scheduler), which routes are paused (audits,
which tell it where Redis has forgotten it)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from pipelines import pauses, wire
from worker.context import Context
from worker.paused import on_disk

MOST_ROWS_PER_S = 1e7


async def rows_per_s(context: Context) -> dict[str, float]:
    """Rows per second by target; 0 where nothing is known yet."""
    raw = await context.redis.hgetall(context.keys.lanes)
    return {name.decode(errors="replace"): _rate(figures) for name, figures in raw.items()}


def _rate(figures: bytes) -> float:
    """0 for what no scheduler wrote."""
    rate = wire.load_object(figures).get("rows_per_s")
    return rate if isinstance(rate, int | float) and 0 <= rate < MOST_ROWS_PER_S else 0.0


async def paused(context: Context) -> frozenset[str]:
    """The pauses (audit.pause_name) that hold now. A Redis that has forgotten them is told what the audits tell."""
    redis, key = context.redis, context.keys.paused
    allowed = {name: route.max_false_reuse for name, route in context.settings.routes.items()}
    raw = await redis.hgetall(key)
    if pauses.READ.encode() not in raw:
        now = datetime.fromtimestamp(context.clock.now_ms() / 1000, UTC)
        told = await asyncio.to_thread(on_disk, context.store, context.settings.routes, now)
        pipe = redis.pipeline(transaction=True)
        pipe.hset(key, pauses.READ, "{}")
        for name, each in told.items():
            pipe.hsetnx(key, name, pauses.pause(*each))
        pipe.pexpireat(key, int((now + pauses.WINDOW).timestamp() * 1000))
        pipe.hgetall(key)
        raw = (await pipe.execute())[-1]
    named = {name.decode(errors="replace"): value for name, value in raw.items()}
    return frozenset(pauses.paused(named, allowed, context.clock.now_ms()))
