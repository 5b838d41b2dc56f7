"""The Lua scripts on a real Redis: each is atomic, idempotent where it says so, and fails closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pipelines import wire
from pipelines.types import BatchHead, Called, Done, Intent, Item, Usage
from worker.drain.journal import Journal
from worker.money import budget
from worker.queue import Redis, Scripts, connect

KEYS = wire.Keys("t")
HEAD = BatchHead("r.0.0.0", "r", "small", 0, 2, 10, 10, 11.0, 2200, 100)


@pytest.fixture
async def redis(server: str) -> AsyncIterator[Redis]:
    client = await connect(server)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def scripts(redis: Redis) -> Scripts:
    found = Scripts(redis)
    await found.load()
    return found


async def commit(scripts: Scripts, before: bytes, after: bytes, batch: str = HEAD.id) -> int:
    keys = [KEYS.run("r"), KEYS.waiting("r"), KEYS.wake, KEYS.rules("2026-01-01"), KEYS.batch(batch)]
    payload = wire.pack_items([Item(0, b"{}", 5, 0), Item(1, b"{}", 5, 0)])
    args = [before, after, 0, 2, "rows", 2, "open", 1, 1, 0, 7, 10, batch, 200.0, wire.pack_head(HEAD), payload]
    return int(await scripts.commit_chunk(keys=keys, args=args))


async def rung(scripts: Scripts, redis: Redis) -> int:
    await redis.hset(KEYS.run("r"), "cursor", "")
    await commit(scripts, b"", b"1")
    return int(
        await scripts.ring(
            keys=[KEYS.batch(HEAD.id), KEYS.waiting("r"), KEYS.rung], args=[HEAD.id, "cloud", "mini", "any"]
        )
    )


async def claim(scripts: Scripts, epoch: int, holder: str) -> list[object]:
    return list(await scripts.claim(keys=[KEYS.batch(HEAD.id), KEYS.journal(HEAD.id)], args=[epoch, holder]))


async def release(scripts: Scripts, epoch: int, state: str = "waiting", holder: str = "") -> int:
    keys = [KEYS.batch(HEAD.id), KEYS.waiting("r"), KEYS.rung, KEYS.drained("r"), KEYS.wake]
    return int(await scripts.release(keys=keys, args=[epoch, HEAD.id, state, "any", 200.0, holder]))


async def test_a_chunk_is_committed_once(redis: Redis, scripts: Scripts) -> None:
    await redis.hset(KEYS.run("r"), "cursor", "")
    assert await commit(scripts, b"", b"1") == 1
    assert await commit(scripts, b"", b"1") == 0, "a worker that slept commits nothing"
    assert await redis.hget(KEYS.run("r"), "rows") == b"2"
    assert await redis.hgetall(KEYS.rules("2026-01-01")) == {b"0": b"7"}
    assert await redis.zscore(KEYS.waiting("r"), HEAD.id) == 200.0


async def test_a_run_that_is_prepared_gets_no_further_chunk(redis: Redis, scripts: Scripts) -> None:
    """Whoever saw it unprepared a moment ago may read the cursor of its end."""
    await redis.hset(KEYS.run("r"), mapping={"cursor": "end", "prepared": "1"})
    assert await commit(scripts, b"end", b"1") == 0
    assert not await redis.exists(KEYS.waiting("r"), KEYS.batch(HEAD.id))


async def test_a_rules_daily_limit_is_a_wall_for_two_preparers(redis: Redis, scripts: Scripts) -> None:
    await redis.hset(KEYS.run("r"), "cursor", "")
    await redis.hset(KEYS.rules("2026-01-01"), "0", 4)  # another run used it since this chunk was sifted
    assert await commit(scripts, b"", b"1") == 0
    assert await redis.hgetall(KEYS.run("r")) == {b"cursor": b""} and not await redis.exists(KEYS.batch(HEAD.id))
    await redis.hset(KEYS.rules("2026-01-01"), "0", 3)
    assert await commit(scripts, b"", b"1") == 1, "the last use of the day"


async def test_one_holder_and_the_epoch_fences_it(redis: Redis, scripts: Scripts) -> None:
    epoch = await rung(scripts, redis)
    assert await claim(scripts, epoch, "w1")
    assert await claim(scripts, epoch, "w1"), "its own claim may be repeated"
    assert await claim(scripts, epoch, "w2") == []
    assert await release(scripts, epoch) == 1
    assert await claim(scripts, epoch, "w1") == [], "handed back: the old epoch is void"
    assert await release(scripts, epoch, "drained") == 0
    assert await redis.zcard(KEYS.waiting("r")) == 1 and await redis.zcard(KEYS.rung) == 0


async def test_only_the_holder_may_release(redis: Redis, scripts: Scripts) -> None:
    epoch = await rung(scripts, redis)
    await claim(scripts, epoch, "w1")
    assert await release(scripts, epoch, "drained", holder="w2") == 0
    assert await release(scripts, epoch, "drained", holder="w1") == 1
    assert await redis.lrange(KEYS.drained("r"), 0, -1) == [HEAD.id.encode()]


@pytest.mark.parametrize("goes", [False, True])
async def test_a_batch_of_another_kind_goes_to_settle_as_one_that_cannot_be_read(
    redis: Redis, scripts: Scripts, goes: bool
) -> None:
    """Without a head its part would wait for it for ever, and with it the other batches of that part."""
    await redis.rpush(KEYS.batch(HEAD.id), "x")
    if goes:
        await redis.expire(KEYS.batch(HEAD.id), 60)
    names = [KEYS.batch(HEAD.id), KEYS.waiting("r"), KEYS.rung, KEYS.drained("r"), KEYS.wake, KEYS.poison]
    assert await scripts.aside(keys=names, args=[HEAD.id, "not ours", 60]) == 1
    found = await redis.hgetall(KEYS.batch(HEAD.id))
    assert (found[b"state"], found[b"head"], found[b"payload"]) == (b"drained", b"", b"")
    assert await redis.llen(KEYS.drained("r")) == (0 if goes else 1)
    assert (await redis.ttl(KEYS.batch(HEAD.id)) >= 0) == goes, "its run was set aside: it goes some day"


async def test_the_cap_holds_over_many_workers(scripts: Scripts) -> None:
    async def ask(worker: str, want: int, used: int = 0) -> list[int]:
        return list(await scripts.slots(keys=[KEYS.slots("gpu")], args=[worker, want, used, 16, 60_000]))[:2]

    assert await ask("a", 16) == [16, 16]
    assert await ask("b", 16) == [0, 0]
    assert await ask("a", 16, 16) == [16, 8], "what is in use is never taken away, but should become the other's"
    assert await ask("b", 16) == [0, 0]
    assert await ask("a", 16, 5) == [8, 8], "with another worker hungry, a holder shrinks to its share"
    assert await ask("b", 16) == [8, 8]
    assert [await ask(f"w{i}", 16) for i in range(20)] == [[0, 0]] * 20
    assert await ask("a", 0) == [0, 0]


async def test_who_wants_little_gets_it_and_the_others_share_the_rest(scripts: Scripts) -> None:
    async def ask(worker: str, want: int, used: int = 0) -> list[int]:
        return list(await scripts.slots(keys=[KEYS.slots("few")], args=[worker, want, used, 16, 60_000]))[:2]

    assert await ask("a", 50) == [16, 16]
    assert await ask("b", 1) == [0, 0]
    assert await ask("a", 50, 15) == [15, 15], "one slot for one prompt, not half of all"
    assert await ask("b", 1) == [1, 1]
    assert await ask("c", 50) == [0, 0]
    assert await ask("a", 50, 10) == [10, 7] and await ask("c", 50) == [5, 5]
    assert await ask("a", 50, 7) == [7, 7] and await ask("c", 50, 5) == [8, 8]


async def test_slots_of_a_silent_worker_come_free(scripts: Scripts) -> None:
    key = [KEYS.slots("gpu")]
    assert await scripts.slots(keys=key, args=["dead", 4, 0, 4, 50]) == [4, 4, 0]
    assert await scripts.slots(keys=key, args=["b", 4, 0, 4, 60_000]) == [0, 0, 4]
    await asyncio.sleep(0.08)
    assert await scripts.slots(keys=key, args=["b", 4, 0, 4, 60_000]) == [4, 4, 0]


async def test_requests_and_tokens_in_one_step(scripts: Scripts) -> None:
    async def take(*tokens: int, rpm: int = 0, tpm: int = 0, pause: int = 0) -> list[int]:
        return [int(x) for x in await scripts.rate(keys=[KEYS.rate("mini")], args=[rpm, tpm, pause, *tokens])]

    admitted, wait = await take(10, 10, 10, rpm=120)
    assert admitted == 2 and 0 < wait <= 500
    assert (await take(10, rpm=120, pause=5_000))[0] == 0
    admitted, wait = await take(10, rpm=120)
    assert admitted == 0 and 4_000 < wait <= 5_000, "a pause stops everybody"


async def test_a_call_of_more_than_a_minutes_tokens_takes_the_minute(scripts: Scripts) -> None:
    """None comes here (lane.py), and one that did would stand before all others for ever."""
    admitted, wait_ms = await scripts.rate(keys=[KEYS.rate("x")], args=[0, 100, 0, 101])
    assert admitted == 0 and 29_000 <= wait_ms <= 30_000, "a bucket begins half full"
    reply = await scripts.rate(keys=[KEYS.rate("y")], args=[0, 100, 0, 30, 30])
    assert reply[0] == 1 and reply[1] > 0


class Held:
    """A batch as the journal sees it."""

    def __init__(self, epoch: int) -> None:
        self.id, self.epoch, self.fenced = HEAD.id, epoch, asyncio.Event()


def intent(number: int, bound_pusd: int) -> Intent:
    return Intent(f"c{number}", number, 1, "mini", 1, bound_pusd)


def called(number: int, cost_pusd: int) -> Called:
    return Called(f"c{number}", "ok", 200, None, Usage(), cost_pusd, "billed", None, "p", "2026-01-01", 0, None, 2)


@pytest.fixture
async def journal(redis: Redis, scripts: Scripts) -> AsyncIterator[Journal]:
    found = Journal(redis, KEYS, scripts, "w1")
    task = asyncio.create_task(found.run())
    yield found
    task.cancel()


async def test_a_budget_is_a_wall(redis: Redis, scripts: Scripts, journal: Journal) -> None:
    held = Held(await rung(scripts, redis))
    await budget.ensure(redis, KEYS, {"day:2026-01-01": None, "run:r": 1000})  # nano-dollars
    scopes = (KEYS.budget("day:2026-01-01"), KEYS.budget("run:r"))
    admitted = await asyncio.gather(*(journal.intent(held, scopes, intent(i, 300_000)) for i in range(10)))
    assert sum(admitted) == 3, "three times 300 fit into 1000"
    journal.append(held, scopes, [called(0, 100_000)], 300_000, 100_000)
    await journal.drained()
    assert await budget.room_nusd(redis, KEYS, ["run:r", "day:2026-01-01"]) == {"run:r": 300, "day:2026-01-01": None}
    assert await journal.intent(held, scopes, intent(11, 300_000))
    assert not await journal.intent(held, scopes, intent(12, 300_000))


async def test_a_scope_without_a_limit_admits_nothing(redis: Redis, scripts: Scripts, journal: Journal) -> None:
    held = Held(await rung(scripts, redis))
    assert not await journal.intent(held, (KEYS.budget("nobody-set-me"),), intent(1, 1000))
    assert await redis.llen(KEYS.journal(HEAD.id)) == 0, "what was refused is not in the journal"


async def test_what_a_dead_holder_had_sent_is_presumed_spent(redis: Redis, scripts: Scripts, journal: Journal) -> None:
    epoch = await rung(scripts, redis)
    await claim(scripts, epoch, "w1")
    await budget.ensure(redis, KEYS, {"run:r": 1000})
    assert await journal.intent(Held(epoch), (KEYS.budget("run:r"),), intent(1, 400_000))
    await release(scripts, epoch)
    again = int(
        await scripts.ring(
            keys=[KEYS.batch(HEAD.id), KEYS.waiting("r"), KEYS.rung], args=[HEAD.id, "cloud", "mini", "any"]
        )
    )
    await claim(scripts, again, "w2")
    assert await redis.hmget(KEYS.budget("run:r"), "spent", "reserved") == [b"400", b"0"]


async def test_a_fenced_worker_publishes_nothing_but_its_late_calls(
    redis: Redis, scripts: Scripts, journal: Journal
) -> None:
    epoch = await rung(scripts, redis)
    held = Held(epoch)
    assert await journal.intent(held, (), intent(1, 0))
    await release(scripts, epoch)
    done = Done(1, "ok", "c1", 1, "x", None, "stop", None, None, None, 200, None, 1, 2)
    journal.append(held, (), [called(1, 0), done], 0, 0)
    await journal.drained()
    assert held.fenced.is_set()
    assert not await journal.intent(held, (), intent(2, 0)), "no call after the fence"
    blobs = await redis.lrange(KEYS.journal(HEAD.id), 0, -1)
    kinds = [type(entry).__name__ for blob in blobs for entry in wire.unpack_entries(blob)]
    assert kinds == ["Intent", "Late"]


async def test_the_same_flush_twice_moves_money_once(redis: Redis, scripts: Scripts) -> None:
    epoch = await rung(scripts, redis)
    await budget.ensure(redis, KEYS, {"run:r": 1000})
    keys = [KEYS.batch(HEAD.id), KEYS.journal(HEAD.id), KEYS.budget("run:r")]
    args = [epoch, b"", 0, 0, "w1-7", 300, wire.pack_entries([intent(1, 300_000)])]
    assert await scripts.append(keys=keys, args=args) == [1, b"1", 0]
    assert await scripts.append(keys=keys, args=args) == [1, b"1", 0]
    assert await redis.hget(KEYS.budget("run:r"), "reserved") == b"300"
    assert await redis.llen(KEYS.journal(HEAD.id)) == 1


async def test_a_lease_has_one_owner(scripts: Scripts) -> None:
    key = [KEYS.lease("schedule")]
    assert await scripts.lease(keys=key, args=["a", 60_000]) == 1
    assert await scripts.lease(keys=key, args=["b", 60_000]) == 0
    assert await scripts.unlease(keys=key, args=["b"]) == 0
    assert await scripts.unlease(keys=key, args=["a"]) == 1
    assert await scripts.lease(keys=key, args=["b", 60_000]) == 1


async def test_a_call_that_fits_into_no_budget_holds_up_no_other(redis: Redis, scripts: Scripts) -> None:
    epoch = await rung(scripts, redis)
    await budget.ensure(redis, KEYS, {"run:r": 1000})
    keys = [KEYS.batch(HEAD.id), KEYS.journal(HEAD.id), KEYS.budget("run:r")]
    wanted = [part for number, amount in enumerate((400, 700, 600, 1), 1) for part in (amount, b"%d" % number)]
    args = [epoch, b"", 0, 0, "w1-7", *wanted]
    for _ in range(2):
        assert await scripts.append(keys=keys, args=args) == [1, b"1010", 1]
    assert await redis.hget(KEYS.budget("run:r"), "reserved") == b"1000"
    assert await redis.lrange(KEYS.journal(HEAD.id), 0, -1) == [b"1", b"3"]
