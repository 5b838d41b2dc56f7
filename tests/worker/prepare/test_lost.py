"""A registration that Redis forgot is on disk: said again once, and only by and to the Redis that was told."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines import paths, registration, wire
from pipelines.registration import Registration
from pipelines.types import Options, Source
from worker.context import Context
from worker.prepare.lost import Lost

RUN = Registration(
    run_id="20260101-000000-abcdef", client="acme", fingerprint="f" * 32, created_ms=1_767_225_600_000,
    options=Options(deadline_s=60.0, labels=("a", "b")), sources=(Source("/in/a.jsonl", "jsonl", "", 10, 1, "d"),),
    estimate=(7, 70),
)  # fmt: skip


def write(context: Context, **changed: Any) -> None:
    told = {**registration.record(RUN), "redis": context.again.memory, **changed}
    context.store.write_bytes(paths.run_record(told["run_id"]), wire.dump(told))


async def known(context: Context) -> list[bytes]:
    return list(await context.redis.zrange(context.keys.all_runs, 0, -1))


async def test_what_redis_forgot_is_registered_again_as_it_was(context: Context) -> None:
    write(context)
    await Lost(context).look()
    keys, redis = context.keys, context.redis
    assert await known(context) == [RUN.run_id.encode()]
    assert await redis.smembers(keys.open_runs) == {RUN.run_id.encode()}
    assert await redis.zrange(keys.runs_of("acme"), 0, -1) == [RUN.run_id.encode()]
    assert await redis.hget(keys.fingerprints, RUN.fingerprint) == RUN.run_id.encode()
    run = await context.run(RUN.run_id)
    assert (run.client, run.options) == ("acme", RUN.options)
    assert wire.unpack_sources(await redis.hget(keys.run(RUN.run_id), "sources")) == RUN.sources
    deadline_ms = int(await redis.hget(keys.run(RUN.run_id), "deadline_ms"))
    assert deadline_ms == RUN.created_ms + 60_000, "nobody asked for more time"


async def test_a_run_that_redis_knows_is_not_set_back(context: Context) -> None:
    write(context)
    await Lost(context).look()
    await context.redis.hset(context.keys.run(RUN.run_id), "cursor", b"somewhere")
    await context.redis.delete(context.keys.all_runs)
    await Lost(context).look()
    assert await context.redis.hget(context.keys.run(RUN.run_id), "cursor") == b"somewhere"


@pytest.mark.parametrize(
    "changed",
    [
        {"redis": "another"}, {"redis": ""}, {"status": "completed"}, {"sources": "?"},
        {"run_id": "20260101-000001-ffffff", "client": 5},
    ],
)  # fmt: skip
async def test_no_other_record_starts_a_run(context: Context, changed: dict[str, Any]) -> None:
    write(context, **changed)
    await Lost(context).look()
    assert await known(context) == []


async def test_a_run_with_settled_parts_is_not_begun_again(context: Context) -> None:
    write(context)
    context.store.write_bytes(paths.part(RUN.run_id, "00000001"), b"settled")
    await Lost(context).look()
    assert await known(context) == []


async def test_a_command_that_was_given_again_since_is_not_run_twice(context: Context) -> None:
    write(context)
    keys, again = context.keys, "20260101-000009-aaaaaa"
    await context.redis.hset(keys.fingerprints, RUN.fingerprint, again)
    await context.redis.zadd(keys.all_runs, {again: RUN.created_ms + 9_000})
    await Lost(context).look()
    assert await known(context) == [again.encode()]


async def test_it_looks_once_in_each_life_of_redis(context: Context) -> None:
    lost = Lost(context)
    await lost.look()
    write(context)
    await lost.look()
    assert await known(context) == [], "a command may just be about to tell Redis"
    await context.again.seen("the next life")
    await lost.look()
    assert await known(context) == [RUN.run_id.encode()]


async def test_the_name_of_a_memory_survives_in_workers(context: Context) -> None:
    named = context.again.memory
    await context.redis.delete(context.keys.id)
    await context.again.seen("the next life")
    assert named and await context.redis.get(context.keys.id) == named.encode()
