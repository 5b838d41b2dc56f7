"""A fence for the threads that settle: who slept must not touch what others have made of the run since."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pipelines.errors import LeaseLost
from worker.context import Context

Fence = Callable[[], None]
"""To be called before each file is published or deleted; raises LeaseLost."""

ANSWER_S = 30.0
"""Redis' answer to a thread; none comes when the process is ending."""


def no_fence() -> None:
    """Nobody else settles."""


def fence(context: Context, run_id: str, generation: bytes | None) -> Fence:
    """Holds while this process has the settlers' lease and the run is of that generation. To be made in the event loop."""
    redis, keys, loop = context.redis, context.keys, asyncio.get_running_loop()

    async def is_ours() -> bool:
        pipe = redis.pipeline(transaction=False)
        pipe.get(keys.lease("settle"))
        pipe.hget(keys.run(run_id), "generation")
        owner, now = await pipe.execute()
        return bool(owner == context.owner.encode() and now == generation)

    def check() -> None:
        if not asyncio.run_coroutine_threadsafe(is_ours(), loop).result(ANSWER_S):
            raise LeaseLost(f"run {run_id} is settled by another worker")

    return check
