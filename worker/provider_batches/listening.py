"""How long a provider is listened to: an answer that keeps its run from being asked elsewhere in time is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from pipelines.types import Failure
from worker.context import Context

SHARE, LEAST_S = 0.1, 5.0
"""Of the time that the run has left, and no less than so many seconds."""

P = ParamSpec("P")
T = TypeVar("T")


async def listen(
    context: Context, run: str, ask: Callable[P, Awaitable[T | Failure]], *args: P.args, **more: P.kwargs
) -> T | Failure:
    """What a request about an order of that run says, or a Failure when it hangs; the time limits of requests hold as well."""
    raw = await context.redis.hget(context.keys.run(run), "deadline_ms")
    left_s = (float(raw) - context.clock.now_ms()) / 1000 if raw else 0.0
    if left_s <= 0:  # after the deadline nobody waits for it
        return await ask(*args, **more)
    bound_s = max(LEAST_S, SHARE * left_s)
    try:
        async with asyncio.timeout(bound_s):
            return await ask(*args, **more)
    except TimeoutError:
        return Failure(
            "unknown", "timeout", f"no answer within {bound_s:.0f} s, its part of the time that the run has left"
        )
