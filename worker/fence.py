"""A fence for threads that write files for a run: who slept must not touch what others have made of the run since."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from pipelines.errors import LeaseLost
from worker.context import Context

Fence = Callable[[], None]
"""To be called before each file is published or deleted; raises LeaseLost."""

ANSWER_S = 30.0
"""Redis' answer to a thread; none comes when the process is ending."""


def no_fence() -> None:
    """Nobody else writes."""


def fence(context: Context, lease: str, run_id: str, seen: Mapping[str, bytes | None]) -> Fence:
    """Holds while this process has that lease and these fields of the run are as they were seen; and no longer than the task that
    made it, since a lost lease ends a task and not its threads, and the next task of this process may have the lease again."""
    redis, keys, loop, step = context.redis, context.keys, asyncio.get_running_loop(), asyncio.current_task()

    async def is_ours() -> bool:
        pipe = redis.pipeline(transaction=False)
        pipe.get(keys.lease(lease))
        pipe.hmget(keys.run(run_id), *seen)
        owner, now = await pipe.execute()
        over = step is None or step.done()
        return bool(not over and owner == context.owner.encode() and now == list(seen.values()))

    def check() -> None:
        if not asyncio.run_coroutine_threadsafe(is_ours(), loop).result(ANSWER_S):
            raise LeaseLost(f"run {run_id} is another worker's by now")

    return check
