"""What others publish in Redis and prepare heeds: how fast each target answers (the scheduler), which routes are paused (audits)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from pipelines import wire
from pipelines.audit import SMALL_SHARE, pause_name
from pipelines.sections import Route
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


def paused(raw: Mapping[bytes, bytes], routes: Mapping[str, Route], now_ms: int) -> frozenset[str]:
    """The pauses (audit.pause_name) that hold now; a limit that was raised since lets a route go on."""
    found = set()
    for route, grounds in product(routes, SMALL_SHARE):
        name = pause_name(route, grounds)
        said = wire.load_object(raw.get(name.encode(), b"{}"))
        try:
            until_ms, low = int(said["until_ms"]), float(said["excess_low"])
        except (ValueError, TypeError, KeyError, OverflowError):
            continue
        if until_ms > now_ms and low > routes[route].max_false_reuse:
            found.add(name)
    return frozenset(found)
