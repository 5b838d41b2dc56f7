"""Who slept changes nothing: epochs, endings, batches that nobody works on, and files of killed writers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec
import pyarrow as pa
import pytest

from pipelines import paths, wire
from pipelines.errors import LeaseLost
from pipelines.types import BatchHead, Done, Item
from worker.beat import Beat
from worker.context import Context, RunContext
from worker.drain.claims import claim
from worker.drain.drain import Drain
from worker.lease import Lease, beside
from worker.money.ledger import Ledger
from worker.process import identity
from worker.queue import OPEN
from worker.schedule.heal import LOOKS, POISON_TRIES, Healer
from worker.schedule.scheduler import Scheduler
from worker.settle.audits import Audits
from worker.settle.ending import End
from worker.settle.settle import Settler
from worker.store import Store

RUN = "20260101-000000-abcdef"
HEAD = BatchHead(f"{RUN}.0.0.0", RUN, "small", 0, 2, 10, 10, 11.0, 2200, 100)


async def ring(context: Context, *, first: bool = True) -> int:
    redis, keys = context.redis, context.keys
    if first:
        payload = wire.pack_items([Item(0, b"{}", 5, 0), Item(1, b"{}", 5, 0)])
        said = {
            "state": "waiting",
            "epoch": 0,
            "lanes": "any",
            "tries": 0,
            "head": wire.pack_head(HEAD),
            "payload": payload,
        }
        await redis.hset(keys.batch(HEAD.id), mapping=said)
        await redis.zadd(keys.waiting(RUN), {HEAD.id: 200.0})
    names = [keys.batch(HEAD.id), keys.waiting(RUN), keys.rung]
    return int(await context.scripts.ring(keys=names, args=[HEAD.id, "local", "gpu", "any"]))


async def take(context: Context, holder: str, *, first: bool = True) -> int:
    epoch = await ring(context, first=first)
    keys = [context.keys.batch(HEAD.id), context.keys.journal(HEAD.id), context.keys.run(RUN)]
    assert await context.scripts.claim(keys=keys, args=[epoch, holder])
    return epoch


async def state(context: Context) -> str:
    return str((await context.redis.hget(context.keys.batch(HEAD.id), "state")).decode())


async def register(context: Context, owner: str) -> None:
    await context.redis.hset(context.keys.workers, owner, msgspec.json.encode(identity()))


async def test_an_epoch_is_never_given_twice_even_when_redis_forgot_the_first(context: Context) -> None:
    first = await ring(context)
    assert await ring(context) >= first, "the batch's hash was set back to epoch 0"
    assert first > 1_700_000_000_000


async def test_a_living_worker_that_lost_its_batch_gives_it_up_after_some_looks(context: Context) -> None:
    await take(context, "w1")
    await register(context, "w1")
    healer = Healer(context)
    for number in range(LOOKS - 1):
        await healer.look({"w1": Beat(number=number)})
        assert await state(context) == "rung"
    await healer.look({"w1": Beat(number=LOOKS)})
    assert await state(context) == "waiting"


async def test_a_heartbeat_from_before_the_claim_takes_nothing_however_often_it_is_read(context: Context) -> None:
    """A worker that pauses for a moment after its claim still holds its leases, and its calls may be out."""
    await take(context, "w1")
    await register(context, "w1")
    healer = Healer(context)
    for _ in range(3 * LOOKS):
        await healer.look({"w1": Beat(number=7)})
    assert await state(context) == "rung"
    for _ in range(2):  # its heartbeat has lapsed: it is silent, then forgotten
        await healer.look({})
    assert await state(context) == "waiting"


async def test_a_batch_that_rings_again_for_its_own_holder_names_no_call_twice(context: Context) -> None:
    """A Redis that is away for long just when a batch is handed back leaves its job in the queue, and its holder as it
    was; one that forgets a claim, and the intents with it, gives the same epoch to another worker: two calls of one name would
    be one row of the ledger."""
    await context.redis.hset(
        context.keys.run(RUN), mapping={"client": "default", "options": "{}", "status": "in_progress"}
    )
    epoch = await take(context, context.owner)
    hot: Any = None  # nothing is sent
    drain = Drain(context, Ledger(context.settings, context.targets), hot, context.clock)
    claims = [await claim(context, drain.journal, HEAD.id, epoch) for _ in range(3)]
    names = {running.next_call() for running, _ in filter(None, claims) for _ in range(100)}
    assert len(names) == 300 and all(name.startswith(f"{HEAD.id}:{epoch}:") for name in names)


async def test_a_batch_that_its_worker_names_stays(context: Context) -> None:
    await take(context, "w1")
    await register(context, "w1")
    healer = Healer(context)
    for _ in range(LOOKS + 1):
        await healer.look({"w1": Beat(batches={HEAD.id: 2})})
    assert await state(context) == "rung"


async def test_after_an_outage_a_silent_worker_has_time_to_speak(context: Context) -> None:
    await take(context, "w1")
    await register(context, "w1")
    healer = Healer(context)
    await healer.look({})
    await register(context, "w1")
    await healer.look({"w1": Beat(batches={HEAD.id: 2})})
    await healer.look({})
    assert await state(context) == "rung"


async def test_deaths_without_an_answer_make_poison_and_an_answer_resets(context: Context) -> None:
    healer = Healer(context)
    done = Done(0, "ok", "c", 1, "x", None, "stop", None, None, None, 200, None, 1, 2)
    for death in range(1, POISON_TRIES + 1):
        await take(context, f"dead-{death}", first=death == 1)
        if death == 2:
            await context.redis.rpush(context.keys.journal(HEAD.id), wire.pack_entries([done]))
        await healer.look({})
        assert await state(context) == "waiting"
    for death in range(2):
        assert await state(context) == "waiting", "counted from the answer on"
        await take(context, f"more-{death}", first=False)
        await healer.look({})
    assert await state(context) == "drained"
    assert int(await context.redis.hget(context.keys.batch(HEAD.id), "left")) == HEAD.rows - 1
    assert b"without one more answer" in await context.redis.hget(context.keys.poison, HEAD.id)


async def test_a_batch_is_not_taken_back_from_who_has_just_claimed_it(context: Context) -> None:
    """It was never taken when the healer looked; by now somebody has it, and its calls may be out."""
    healer, keys = Healer(context), context.keys
    epoch = await ring(context)
    said = await context.redis.hmget(keys.batch(HEAD.id), "epoch", "lanes", "head")
    names = [keys.batch(HEAD.id), keys.journal(HEAD.id), keys.run(RUN)]
    assert await context.scripts.claim(keys=names, args=[epoch, "w1"])
    await healer._give_back(HEAD.id.encode(), *said, "never taken", holder="nobody")
    assert await state(context) == "rung"
    assert await context.redis.zscore(keys.rung, HEAD.id) is not None


@pytest.mark.parametrize("gone", [True, False])
async def test_what_died_with_its_worker_is_noted_only_while_it_is_as_it_was(context: Context, gone: bool) -> None:
    healer, keys = Healer(context), context.keys
    await take(context, "dead")
    said = await context.redis.hmget(keys.batch(HEAD.id), "epoch", "lanes", "head")
    if gone:
        await context.redis.delete(keys.batch(HEAD.id))
    else:  # handed back, taken by another, who has had its own deaths
        await context.redis.hset(keys.batch(HEAD.id), mapping={"epoch": "9", "holder": "w2", "tries": POISON_TRIES})
    await healer._take(HEAD.id.encode(), *said, "dead")
    assert await context.redis.exists(keys.batch(HEAD.id)) == (0 if gone else 1)
    assert await context.redis.hmget(keys.batch(HEAD.id), "poison", "progress") == [None, None]


async def test_who_comes_back_to_a_lane_stays_on_its_list(context: Context) -> None:
    """A look found it gone, or elsewhere; it was there again before its name could be taken away."""
    keys, scripts = context.keys, context.scripts
    await ring(context)
    assert await scripts.unlist(keys=[keys.batch(HEAD.id), keys.rung], args=[HEAD.id, 0]) == 0
    await context.redis.zadd(keys.given, {HEAD.id: 1})
    assert await scripts.unlist(keys=[keys.batch(HEAD.id), keys.given], args=[HEAD.id, 1]) == 1, "it is on another lane"
    await context.redis.delete(keys.batch(HEAD.id))
    assert await scripts.unlist(keys=[keys.batch(HEAD.id), keys.rung], args=[HEAD.id, 0]) == 1


async def test_who_hands_back_in_order_is_no_death(context: Context) -> None:
    keys = context.keys
    epoch = await take(context, "w1")
    names = [keys.batch(HEAD.id), keys.waiting(RUN), keys.rung, keys.drained(RUN), keys.wake]
    assert await context.scripts.release(keys=names, args=[epoch, HEAD.id, "waiting", "any", 1.0, "w1"])
    assert await context.redis.hget(keys.batch(HEAD.id), "tries") == b"0"


async def test_a_run_is_finished_by_the_lease_holder_and_its_own_generation_only(context: Context) -> None:
    keys, redis = context.keys, context.redis
    names = [keys.run(RUN), keys.open_runs, keys.waiting(RUN), keys.drained(RUN), keys.parts(RUN), keys.lease("settle"),
             keys.promoted(RUN), keys.all_runs, keys.budget(f"run:{RUN}")]  # fmt: skip
    now = {"generation": 1, "prepared": 1, "open": 0, "status": "finalizing", "started_ms": 5, "inbox": "sealed"}
    await redis.hset(keys.run(RUN), mapping=now)
    await redis.sadd(keys.open_runs, RUN)
    await redis.zadd(keys.all_runs, {RUN: 1})

    async def finish(generation: int, started_ms: int, owner: str) -> int:
        args = [RUN, generation, started_ms, owner, 60, 60, "status", "completed"]
        return int(await context.scripts.finish(keys=names, args=args))

    assert await finish(1, 5, "w1") == 0, "no lease"
    await redis.set(keys.lease("settle"), "w1")
    assert await finish(0, 5, "w1") == 0, "it was retried meanwhile"
    assert await finish(1, 4, "w1") == 0, "it was resumed meanwhile, though it is the same generation"
    assert await finish(1, 5, "w2") == 0
    assert await redis.scard(keys.open_runs) == 1
    assert await finish(1, 5, "w1") == 1
    assert await redis.ttl(keys.run(RUN)) > 0 and not await redis.zcard(keys.all_runs), "an inbox run goes some day"
    assert await redis.scard(keys.open_runs) == 0 and await redis.hget(keys.run(RUN), "status") == b"completed"


async def test_a_resumed_run_is_not_closed_by_an_old_order(context: Context) -> None:
    keys = context.keys
    await ring(context)
    await context.redis.zadd(keys.waiting(RUN), {"other": 1.0})
    names = [keys.waiting(RUN), keys.drained(RUN), keys.run(RUN)]
    assert await context.scripts.close(keys=names, args=[keys.batch("")]) == 0
    await context.redis.hset(keys.run(RUN), "cancel", "1")
    assert await context.scripts.close(keys=names, args=[keys.batch("")]) == 1


async def test_a_settler_that_slept_never_empties_a_part(context: Context) -> None:
    """The batches of a recorded part are gone: somebody else wrote it."""
    await context.redis.hset(context.keys.parts(RUN), "00000001", wire.dump([HEAD.id]))
    context.store.write_table(paths.part(RUN, "00000001"), pa.table({"row": [1]}))
    await Settler(context, Ledger(context.settings, context.targets))._write_part(RUN, "00000001")
    assert context.store.read_table(paths.part(RUN, "00000001")).num_rows == 1


def test_what_a_killed_writer_left_is_no_file(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write_bytes("parts/00000001.parquet", b"whole")
    (tmp_path / "parts/00000002.parquet.4711.tmp").write_bytes(b"half")
    assert store.names("parts") == ["parts/00000001.parquet"]


# -- what is said of a run that is not as it was seen any more -----------------------------------------------------------


@pytest.mark.parametrize(
    "now",
    [
        {"status": "completed", "cancel": "", "deadline_ms": "5"},
        {"status": "in_progress", "cancel": "", "deadline_ms": "9999999999999"},
        {"status": "cancelling", "cancel": "1", "deadline_ms": "5"},
        {},
    ],
    ids=["ended", "resumed", "cancelled", "gone"],
)
async def test_a_deadline_that_passed_ends_no_run_that_went_on(context: Context, now: dict[str, str]) -> None:
    """It ended between the scheduler's look and its word: whoever follows it would wait for ever."""
    key, bells = context.keys.run(RUN), cast("Any", None)
    run = RunContext(RUN, {}, context.settings)
    if now:
        await context.redis.hset(key, mapping=now)
    fields = {"status": "in_progress", "deadline_ms": "5"}  # as it was
    await Scheduler(context, bells)._end_if_due(run, fields, 5)
    assert await context.redis.hgetall(key) == {name.encode(): value.encode() for name, value in now.items()}
    await context.redis.hset(key, mapping={"status": "in_progress", "cancel": "", "deadline_ms": "5"})
    await Scheduler(context, bells)._end_if_due(run, fields, 5)
    assert await context.redis.hmget(key, "status", "cancel") == [b"finalizing", b"expired"]


async def test_a_run_that_was_begun_again_stays_open(context: Context) -> None:
    keys = [context.keys.run(RUN), context.keys.open_runs]
    await context.redis.sadd(keys[1], RUN)
    await context.redis.hset(keys[0], "status", "in_progress")
    assert await context.scripts.unopen(keys=keys, args=[RUN, OPEN]) == 0
    await context.redis.hset(keys[0], "status", "failed")
    assert await context.scripts.unopen(keys=keys, args=[RUN, OPEN]) == 1


async def test_followers_that_are_wanted_anew_stay(context: Context) -> None:
    """A retry came between the look at what has ended and the word that it has."""
    keys, redis = context.keys, context.redis
    names = [keys.run(RUN), keys.promoted(RUN)]
    await redis.hset(keys.promoted(RUN), mapping={"1": "w", "2": "a"})
    await redis.hset(keys.run(RUN), "generation", 1)
    assert await context.scripts.unpromote(keys=names, args=["0", 1, 2]) == 0
    assert await context.scripts.unpromote(keys=names, args=["1", 2]) == 1
    assert await redis.hkeys(keys.promoted(RUN)) == [b"1"]


@pytest.mark.parametrize("status", ["completed", None])
async def test_no_part_is_named_of_a_run_that_is_over_or_gone(context: Context, status: str | None) -> None:
    keys, redis = context.keys, context.redis
    names = [keys.run(RUN), keys.drained(RUN), keys.parts(RUN)]
    await redis.rpush(keys.drained(RUN), HEAD.id)
    if status:
        await redis.hset(keys.run(RUN), "status", status)
    assert await context.scripts.settle_begin(keys=names, args=[OPEN, 64]) == b""
    assert not await redis.exists(keys.parts(RUN)) and not await redis.hget(keys.run(RUN), "parts")
    await redis.hset(keys.run(RUN), "status", "in_progress")
    assert await context.scripts.settle_begin(keys=names, args=[OPEN, 64]) == b"00000001"


async def test_a_part_is_finished_as_it_was_read_or_not_at_all(context: Context) -> None:
    """A Redis that was set back gives its name to other batches, whose rows are not in what was written."""
    keys, redis, other = context.keys, context.redis, f"{RUN}.0.0.1"
    names = [keys.run(RUN), keys.parts(RUN), keys.wake]
    read = wire.dump([HEAD.id])
    await redis.hset(keys.parts(RUN), "00000001", wire.dump([other]))
    await redis.hset(keys.batch(other), "state", "drained")
    args = ["00000001", read, keys.batch(""), keys.journal(""), 2, 10, 0, 0, 0]
    assert await context.scripts.settle_done(keys=names, args=args) == 0
    assert await redis.exists(keys.batch(other))
    await redis.hset(keys.parts(RUN), "00000001", read)
    assert await context.scripts.settle_done(keys=names, args=args) == 1


async def test_audits_are_chosen_once_and_only_while_the_run_is_open(context: Context) -> None:
    keys, redis = context.keys, context.redis
    names, args = [keys.run(RUN), keys.audits("2026-01-01")], [OPEN, b"[[1]]", 1, 60, "2026-01-01", "small reuses", 5]
    assert await context.scripts.audit_plan(keys=names, args=args) == 0 and not await redis.exists(*names)
    await redis.hset(keys.run(RUN), "status", "in_progress")
    for planned in (1, 0):
        assert await context.scripts.audit_plan(keys=names, args=args) == planned
    assert await redis.hgetall(keys.audits("2026-01-01")) == {b"small reuses": b"5"}
    await Audits(context).wait(RUN, 0, due=True, blocked=True)
    assert await redis.hget(keys.run(RUN), "audit_wanted") == b"0"
    await redis.delete(keys.run(RUN))
    await Audits(context).wait(RUN, 0, due=True, blocked=True)
    assert not await redis.exists(keys.run(RUN)), "no ghost of a run that is gone"


@pytest.mark.parametrize(
    "since", [{"generation": 1, "started_ms": 7}, {"started_ms": 7}, {"status": "completed"}], ids=str
)
async def test_who_slept_at_a_runs_end_leaves_its_record_and_results_to_those_who_went_on(
    context: Context, monkeypatch: pytest.MonkeyPatch, since: dict[str, Any]
) -> None:
    """A retry, or a resume of the same generation, or the end as another settler wrote it."""
    keys, redis, store = context.keys, context.redis, context.store
    at = {"status": "in_progress", "prepared": 1, "open": 0, "generation": 0, "started_ms": 5, "options": "{}"}
    await redis.hset(keys.run(RUN), mapping=at)
    await redis.sadd(keys.open_runs, RUN)
    await redis.set(keys.lease("settle"), context.owner)
    end, run = End(context, Audits(context)), await context.run(RUN)
    record, compact = paths.run_record(RUN), end.compact

    def slow(*args: Any) -> Any:
        done = compact(*args)
        change = redis.hset(keys.run(RUN), mapping=since)
        asyncio.run_coroutine_threadsafe(change, loop).result(5)
        store.write_bytes(record, b"theirs")
        return done

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(end, "compact", slow)
    if "started_ms" in since:
        with pytest.raises(LeaseLost):
            await end.finish(run, "")
        assert store.read_bytes(record) == b"theirs"
        assert await redis.sismember(keys.open_runs, RUN) and await redis.hget(keys.run(RUN), "status") != b"completed"
    else:
        monkeypatch.undo()
        await redis.hset(keys.run(RUN), mapping=since)
        await end.finish(run, "")
        assert await redis.hget(keys.run(RUN), "status") == b"completed", "never `finalizing` again"
        assert not store.exists(record)


# -- leases ------------------------------------------------------------------------------------------------------------


async def test_a_lease_that_lapsed_is_not_renewed_though_nobody_has_it_now(context: Context) -> None:
    """Somebody may have had it and given it back: what a step has read is old."""
    lease = Lease(context.scripts, context.keys, "settle", "w1")
    assert not await lease.renew()
    assert await lease.take() and await lease.renew()
    await context.redis.delete(context.keys.lease("settle"))
    assert not await lease.renew() and await lease.take()
    ended = asyncio.Event()

    async def step() -> None:
        await context.redis.delete(context.keys.lease("settle"))
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    assert await beside(lease, step()) is None and ended.is_set()


async def test_what_was_learned_of_a_target_is_told_when_redis_is_back(context: Context) -> None:
    targets, keys = context.targets, context.keys
    targets.say("gpu", {"up": False, "closed": True})

    class Away:
        async def eval(self, *_: Any) -> None:
            targets.say("gpu", {"reason": "since then"})
            raise OSError("away")

    with pytest.raises(OSError, match="away"):
        await targets.publish(cast("Any", Away()), keys)
    targets.learn({b"gpu": b'{"up": true, "closed": false}'})
    assert targets.states["gpu"]["closed"], "what others said last is older"
    await targets.publish(context.redis, keys)
    said = wire.load(await context.redis.hget(keys.targets, "gpu"))
    assert (said["closed"], said["reason"]) == (True, "since then") and not targets._reports
