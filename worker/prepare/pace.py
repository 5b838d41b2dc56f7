"""How fast each target answers, as the scheduler published it; what to make of that is prepare's matter."""

from __future__ import annotations

import msgspec

from pipelines import wire
from worker.context import Context

MOST_ROWS_PER_S = 1e7


async def rows_per_s(context: Context) -> dict[str, float]:
    """Rows per second by target; 0 where nothing is known yet."""
    raw = await context.redis.hgetall(context.keys.lanes)
    return {name.decode(errors="replace"): _rate(figures) for name, figures in raw.items()}


def _rate(figures: bytes) -> float:
    """0 for what no scheduler wrote."""
    try:
        rate = float(wire.load(figures)["rows_per_s"])
    except (ValueError, TypeError, KeyError, RecursionError, msgspec.MsgspecError):
        return 0.0
    return rate if 0 <= rate < MOST_ROWS_PER_S else 0.0
