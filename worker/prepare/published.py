"""What others publish in Redis and prepare heeds: how fast each target answers (the scheduler), which routes are paused (audits)."""

from __future__ import annotations

from pipelines import pauses, wire
from worker.context import Context

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
    """The pauses (audit.pause_name) that hold now."""
    raw = await context.redis.hgetall(context.keys.paused)
    allowed = {name: route.max_false_reuse for name, route in context.settings.routes.items()}
    named = {name.decode(errors="replace"): value for name, value in raw.items()}
    return frozenset(pauses.paused(named, allowed, context.clock.now_ms()))
