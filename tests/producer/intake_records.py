"""Runs for the tests of intake: registered as the program does, ended as a worker does."""

from __future__ import annotations

from typing import Any

import msgspec

from pipelines import paths, wire
from pipelines.types import Options, Source
from producer import intake
from producer.queue import Redis
from producer.records import Records

NOW_MS = 1_772_352_000_000
SOURCE = Source("/in/a.jsonl", "jsonl", "", 10, 1, "digest-1")
OTHER = msgspec.structs.replace(SOURCE, size_bytes=12, mtime_ns=2, digest="digest-2")
KEYS = wire.Keys("test-intake")


async def start(redis: Redis, records: Records, **changed: Any) -> intake.Registered:
    given: dict[str, Any] = {
        "client": "acme", "sources": (SOURCE,), "options": Options(), "now_ms": NOW_MS, "fresh": False, **changed,
    }  # fmt: skip
    return await intake.register(redis, KEYS, records, **given)


async def end(redis: Redis, run_id: str, status: str, **fields: Any) -> None:
    """What a worker does at a run's end."""
    await redis.hset(KEYS.run(run_id), mapping={"status": status, "finished_ms": NOW_MS + 5, "prepared": "1", **fields})
    await redis.srem(KEYS.open_runs, run_id)


def publish(records: Records, run_id: str) -> None:
    with records.store.create(paths.results(run_id)) as out:
        out.write(b"some")
