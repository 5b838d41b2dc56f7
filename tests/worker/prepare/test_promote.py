"""Followers and audits that are asked: wanted once, cut once, never after a run was stopped; leases of several clients."""

from __future__ import annotations

import asyncio

import pytest

from worker.context import Context
from worker.lease import Leases, beside
from worker.settle.audits import Audits

RUN = "20260101-000000-abcdef"


@pytest.fixture(autouse=True)
async def _an_open_run(context: Context) -> None:
    await context.redis.hset(context.keys.run(RUN), mapping={"status": "in_progress", "cancel": ""})


async def want(context: Context, *rows: int) -> int:
    keys = context.keys
    return int(await context.scripts.promote(keys=[keys.run(RUN), keys.promoted(RUN)], args=list(rows)))


async def cut(context: Context, *rows: int) -> int:
    """Commits one batch of these rows."""
    keys = context.keys
    name = f"{RUN}.0.{rows[0]}.p0"
    names = [keys.run(RUN), keys.waiting(RUN), keys.wake, keys.promoted(RUN), keys.batch(name)]
    args = [len(rows), *rows, 2, "open", 1, "duplicate", -len(rows), name, 1.0, b"head", b"payload"]
    return int(await context.scripts.ask(keys=names, args=args))


async def test_a_follower_is_wanted_once_and_cut_once(context: Context) -> None:
    keys, redis = context.keys, context.redis
    assert await want(context, 3, 4) == 2
    assert await want(context, 4, 5) == 1, "4 is wanted already"
    assert await redis.hget(keys.run(RUN), "wanted") == b"3"
    assert await cut(context, 3, 4) == 1
    assert await cut(context, 4, 5) == 0, "4 is being asked: whoever slept commits nothing"
    assert await redis.hgetall(keys.promoted(RUN)) == {b"3": b"a", b"4": b"a", b"5": b"w"}
    assert await redis.hmget(keys.run(RUN), "wanted", "open", "duplicate") == [b"1", b"1", b"-2"]
    assert await redis.zcard(keys.waiting(RUN)) == 1


@pytest.mark.parametrize("now", [{"cancel": "1"}, {"status": "completed"}])
async def test_nobody_is_asked_in_a_run_that_was_stopped(context: Context, now: dict[str, str]) -> None:
    assert await want(context, 1) == 1
    await context.redis.hset(context.keys.run(RUN), mapping=now)
    assert await want(context, 2) == 0 and await cut(context, 1) == 0


async def audit(context: Context) -> int:
    keys, name = context.keys, f"{RUN}.0.0.a0"
    names = [keys.run(RUN), keys.waiting(RUN), keys.wake, keys.batch(name)]
    args = [2, "open", 1, "audit_open", 1, name, 1.0, b"head", b"payload"]
    return int(await context.scripts.audit(keys=names, args=args))


async def test_audits_are_cut_once_and_given_up_when_nothing_else_is_left(context: Context) -> None:
    keys, redis = context.keys, context.redis
    assert await audit(context) == 0, "nobody wants any"
    await redis.hset(keys.run(RUN), "audit_wanted", 2)
    assert [await audit(context) for _ in range(2)] == [1, 0]
    audits = Audits(context)
    assert await audits.wait(RUN, 0, due=False, blocked=False), "a moment"
    await redis.hincrby(keys.run(RUN), "open", 1)
    assert not await audits.wait(RUN, 0, due=False, blocked=True)
    assert await redis.llen(keys.drained(RUN)) == 0, "there is still a batch of the run's own"
    await redis.hincrby(keys.run(RUN), "open", -1)
    assert not await audits.wait(RUN, 0, due=False, blocked=True)
    assert await redis.lrange(keys.drained(RUN), 0, -1) == [f"{RUN}.0.0.a0".encode()]


def leases(context: Context, owner: str) -> Leases:
    return Leases(context.scripts, context.keys, "prepare", owner)


async def test_a_client_has_one_holder_who_knows_whether_it_was_ever_lost(context: Context) -> None:
    one, two = leases(context, "one"), leases(context, "two")
    lease, ours = await one.take("acme")
    assert lease is not None and not ours, "new: what was known may be old"
    assert (await one.take("acme"))[1], "and ours ever since"
    assert (await two.take("acme"))[0] is None
    assert (await two.take("other"))[0] is not None, "another client's is free"
    await context.redis.delete(context.keys.lease("prepare:acme"))
    assert (await two.take("acme"))[0] is not None
    one._held["acme"].renewed_s -= 3600
    assert (await one.take("acme"))[0] is None
    assert await two.rest(everything=True) == ["other", "acme"]
    lease, ours = await one.take("acme")
    assert lease is not None and not ours, "somebody else had it"


async def test_who_takes_one_short_step_after_the_other_keeps_the_client(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step was long enough to renew the lease beside it, and each was taken for a renewal: it lapsed in the middle of the work."""
    monkeypatch.setattr("worker.lease.LEASE_MS", 300)
    one, two = leases(context, "one"), leases(context, "two")
    ends_s = asyncio.get_running_loop().time() + 0.9
    while asyncio.get_running_loop().time() < ends_s:
        lease, _ = await one.take("acme")
        assert lease is not None and await beside(lease, asyncio.sleep(0.01, result=True))
        one.used("acme")
        assert (await two.take("acme"))[0] is None


async def test_work_beside_a_lease_ends_with_it(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.lease.LEASE_MS", 90)
    lease, _ = await leases(context, "one").take("acme")
    assert lease is not None
    ended = asyncio.Event()

    async def forever() -> bool:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return True

    await context.redis.set(context.keys.lease("prepare:acme"), "two")
    assert await beside(lease, forever()) is None and ended.is_set()
    assert await beside(lease, asyncio.sleep(0, result=True)), "what is done at once needs no renewal"
