"""A lease on a real Redis: one holder, renewed as long as its block lives, and never somebody else's to give back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipelines import wire
from producer.lease import held
from producer.queue import Redis, RedisError

KEYS = wire.Keys("test-lease")
KEY = KEYS.lease("x")


async def test_one_holds_it_and_gives_it_back(redis: Redis) -> None:
    async with held(redis, KEYS, "x", 5_000) as ours:
        assert ours and 0 < await redis.pttl(KEY) <= 5_000
        async with held(redis, KEYS, "x") as too:
            assert not too
        assert await redis.exists(KEY), "who did not get it gives nothing back"
    assert not await redis.exists(KEY)


async def test_it_is_renewed_while_the_block_lives_and_redis_is_away_for_a_moment(redis: Redis) -> None:
    calls = 0

    class Flaky:
        """A Redis that refuses the first renewal."""

        def __getattr__(self, name: str) -> Any:
            return getattr(redis, name)

        async def eval(self, *arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise RedisError("away")
            return await redis.eval(*arguments)

    flaky: Any = Flaky()
    async with held(flaky, KEYS, "x", 3_000) as ours:
        owner = await redis.get(KEY)
        await asyncio.sleep(3.5)
        assert ours and calls > 2 and await redis.get(KEY) == owner


async def test_what_somebody_else_took_meanwhile_stays_theirs(redis: Redis) -> None:
    async with held(redis, KEYS, "x", 300):
        await redis.set(KEY, "theirs")
        await asyncio.sleep(0.3)
    assert (await redis.get(KEY), await redis.ttl(KEY)) == ("theirs", -1)


async def test_how_the_block_ended_is_told_not_that_redis_was_gone(redis: Redis) -> None:
    class Gone:
        def __getattr__(self, name: str) -> Any:
            return getattr(redis, name)

        async def eval(self, *_: Any) -> Any:
            raise RedisError("gone")

    gone: Any = Gone()
    with pytest.raises(ValueError, match="the block's own"):
        async with held(gone, KEYS, "x"):
            raise ValueError("the block's own")
