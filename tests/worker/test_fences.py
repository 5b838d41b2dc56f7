"""Who slept changes nothing: epochs, endings, batches that nobody works on, and files of killed writers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from pipelines import paths, wire
from pipelines.types import BatchHead, Done, Item
from worker.beat import Beat, identity
from worker.context import Context
from worker.drain.drain import Drain
from worker.money.ledger import Ledger
from worker.schedule.heal import LOOKS, POISON_TRIES, Healer
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
    claims = [await drain._claim(HEAD.id, epoch) for _ in range(3)]
    names = {claim.next_call() for claim in claims for _ in range(100) if claim is not None}
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
    assert b"without one more answer" in await context.redis.hget(context.keys.poison, HEAD.id)


async def test_who_hands_back_in_order_is_no_death(context: Context) -> None:
    keys = context.keys
    epoch = await take(context, "w1")
    names = [keys.batch(HEAD.id), keys.waiting(RUN), keys.rung, keys.drained(RUN), keys.wake]
    assert await context.scripts.release(keys=names, args=[epoch, HEAD.id, "waiting", "any", 1.0, "w1"])
    assert await context.redis.hget(keys.batch(HEAD.id), "tries") == b"0"


async def test_a_run_is_finished_by_the_lease_holder_and_its_own_generation_only(context: Context) -> None:
    keys, redis = context.keys, context.redis
    names = [keys.run(RUN), keys.open_runs, keys.waiting(RUN), keys.drained(RUN), keys.parts(RUN), keys.lease("settle"),
             keys.promoted(RUN)]  # fmt: skip
    await redis.hset(keys.run(RUN), mapping={"generation": 1, "prepared": 1, "open": 0, "status": "finalizing"})
    await redis.sadd(keys.open_runs, RUN)
    end = ["status", "completed"]
    assert await context.scripts.finish(keys=names, args=[RUN, "1", "w1", *end]) == 0, "no lease"
    await redis.set(keys.lease("settle"), "w1")
    assert await context.scripts.finish(keys=names, args=[RUN, "0", "w1", *end]) == 0, "it was retried meanwhile"
    assert await context.scripts.finish(keys=names, args=[RUN, "1", "w2", *end]) == 0
    assert await redis.scard(keys.open_runs) == 1
    assert await context.scripts.finish(keys=names, args=[RUN, "1", "w1", *end]) == 1
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
