"""The end of an inbox run is certain before it is taken for the end, and nothing that is on the disk is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import paths, registration, wire
from pipelines.registration import Registration
from pipelines.types import Options
from worker.context import Context
from worker.prepare.inboxes import Inboxes, segments
from worker.prepare.lost import Lost
from worker.queue import redis_now_us
from worker.sources.source import Cursor

RUN = "20260101-000000-abcdef"


async def registered(context: Context, *, open_s: float) -> Registration:
    until_ms = await redis_now_us(context.redis) // 1000 + round(open_s * 1000)
    run = Registration(
        run_id=RUN, client="acme", fingerprint="inbox", created_ms=1, options=Options(), sources=(),
        redis=context.again.memory, tell="channel", inbox_until_ms=until_ms,
    )  # fmt: skip
    await context.redis.hset(context.keys.run(RUN), mapping=registration.fields(run))
    return run


def written(context: Context, count: int) -> None:
    for number in range(count):
        context.store.write_bytes(paths.inbox_segment(RUN, number), b"{}\n" * (number + 1))


async def test_an_open_run_is_not_sealed(context: Context) -> None:
    await registered(context, open_s=60)
    written(context, 2)
    assert not await Inboxes(context).seal(RUN)
    assert await Inboxes(context).sources(RUN) == ()


@pytest.mark.parametrize("why", ["its time is over", "it was cancelled", "its server closed it"])
async def test_a_closed_run_gets_what_is_on_the_disk_and_nothing_more(context: Context, why: str) -> None:
    await registered(context, open_s=-0.001 if why == "its time is over" else 60)
    if why != "its time is over":
        said = {"cancel": "1"} if why == "it was cancelled" else {"inbox": "closing"}
        await context.redis.hset(context.keys.run(RUN), mapping=said)
    written(context, 3)
    first = segments(context.store, RUN)[:1]
    await context.redis.hset(context.keys.run(RUN), "sources", wire.pack_sources(first))
    assert await Inboxes(context).seal(RUN)
    found = await Inboxes(context).sources(RUN)
    assert [Path(source.url).name for source in found] == ["000000.jsonl", "000001.jsonl", "000002.jsonl"]
    assert [source.size_bytes for source in found] == [3, 6, 9]
    assert await context.redis.hmget(context.keys.run(RUN), "inbox", "segments") == [b"sealed", b"3"]
    written(context, 4)
    assert not await Inboxes(context).seal(RUN), "once"
    assert len(await Inboxes(context).sources(RUN)) == 3


async def test_a_segment_that_was_refused_is_none_of_the_run(context: Context) -> None:
    """Its server has not heard of it yet, and puts its rows into the next run: here they would be asked a second time."""
    run = context.keys.run(RUN)
    await registered(context, open_s=-0.001)
    written(context, 3)
    await context.redis.hset(run, "cut_at", 2)
    found = segments(context.store, RUN)
    assert not await context.scripts.seal(keys=[run], args=[wire.pack_sources(found), 3]), (
        "refused while they were counted"
    )
    assert await context.redis.hget(run, "inbox") == b"closing"
    assert await Inboxes(context).seal(RUN)
    assert [source.size_bytes for source in await Inboxes(context).sources(RUN)] == [3, 6]


async def test_what_a_model_refused_cuts_nothing_off(context: Context) -> None:
    """Its counter (`refused`) lives in the same hash; that a run has refused rows says nothing of its segments."""
    run = context.keys.run(RUN)
    await registered(context, open_s=-0.001)
    written(context, 3)
    assert await context.scripts.count(keys=[run], args=["refused", 1]) == 1
    assert await Inboxes(context).seal(RUN)
    assert [source.size_bytes for source in await Inboxes(context).sources(RUN)] == [3, 6, 9]


async def test_a_run_that_redis_forgot_comes_back_with_its_segments(context: Context) -> None:
    run = await registered(context, open_s=60)
    written(context, 2)
    await context.redis.delete(context.keys.run(RUN))
    context.store.write_bytes(paths.run_record(RUN), wire.dump(registration.record(run)))
    await Lost(context).look()
    assert [source.size_bytes for source in await Inboxes(context).sources(RUN)] == [3, 6]
    fields = await context.redis.hmget(context.keys.run(RUN), "segments", "tell", "inbox")
    assert fields == [b"2", b"channel", str(run.inbox_until_ms).encode()]


async def test_the_segments_of_a_run_can_be_forgotten(context: Context) -> None:
    written(context, 2)
    context.store.delete_all(paths.inbox_dir(RUN))
    assert context.store.names(paths.inbox_dir(RUN)) == []


async def test_who_writes_a_chunk_again_reads_what_the_first_one_read(context: Context) -> None:
    """Else two workers of which one lost its lease would write the same chunk with more and with fewer rows."""
    await registered(context, open_s=60)
    written(context, 3)
    inboxes, all_ = Inboxes(context), segments(context.store, RUN)
    key, cursor = context.keys.run(RUN), wire.dump({"source": 0, "row": 0})
    await context.redis.hset(key, mapping={"sources": wire.pack_sources(all_[:1]), "cursor": cursor})
    assert await inboxes.readable(RUN, cursor, Cursor(), b"9") == (all_[:1], False)
    await context.redis.hset(key, "sources", wire.pack_sources(all_))
    assert await inboxes.readable(RUN, cursor, Cursor(), b"9") == (all_[:1], False)
    assert await inboxes.readable(RUN, cursor, Cursor(), b"sealed") == (all_[:1], False), "the rest is the next chunk's"
    after = wire.dump({"source": 1, "row": 1})
    await context.redis.hset(key, "cursor", after)
    assert (await inboxes.readable(RUN, cursor, Cursor(), b"9"))[0] is None, "the chunk is somebody else's"
    assert await inboxes.readable(RUN, after, Cursor(1, 0, 1), b"sealed") == (all_, True)
    assert await inboxes.readable(RUN, after, Cursor(3, 0, 6), b"9") == (None, False), "nothing new"
