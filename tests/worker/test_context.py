"""What a worker keeps of runs."""

from __future__ import annotations

import asyncio

from worker.context import Context


async def test_batches_that_are_claimed_together_count_in_one_place(context: Context) -> None:
    """Each had made a run of its own, and what all but the last one counted was never told."""
    await context.redis.hset(context.keys.run("r"), mapping={"client": "c", "started_ms": "7"})
    found = await asyncio.gather(*(context.run("r", "7") for _ in range(4)))
    for run in found:
        run.count(ok=1)
    assert [run.counts for run in context.runs()] == [{"ok": 4}]
    await context.redis.hset(context.keys.run("r"), "started_ms", "8")
    assert (await context.run("r", "8")).started_ms == "8", "a run that was started again has new terms"
