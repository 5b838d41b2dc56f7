"""Keys that all workers share hold another kind of value than ours: they are mended, and nobody falls silent over them."""

from __future__ import annotations

import asyncio

import pytest

from worker import beat
from worker.beat import TIDY_EVERY, Heart, read_beat
from worker.context import Context


async def said(context: Context) -> int:
    """The number of the last heartbeat."""
    found = read_beat(await context.redis.get(context.keys.worker(context.owner)) or b"")
    return found.number if found else -1


@pytest.mark.parametrize("name", ["workers", "id", "targets", "wake", "arrived", "hooks", "rung", "open_runs"])
async def test_a_heart_mends_a_shared_key_and_beats_on(
    context: Context, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(beat, "BEAT_S", 0.001)
    key, redis = getattr(context.keys, name), context.redis
    heart = Heart(context, None, ("settle",))
    await heart.register()
    await redis.delete(key)
    await redis.xadd(key, {"a": "stream is what nothing of ours is"})
    running = asyncio.create_task(heart.run())
    async with asyncio.timeout(20):
        while await redis.type(key) == b"stream" or await said(context) < 2 * TIDY_EVERY:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await redis.ttl(f"{key}:aside") > 0
