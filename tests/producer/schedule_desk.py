"""A desk of schedules for tests, with an inbox of files and runs that end when told."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines import wire
from pipelines.settings import parse_settings
from producer.queue import Redis
from producer.records import Records
from producer.schedules import Desk

KEYS = wire.Keys("test-schedules")
LINE = '{"prompt": "one"}\n'


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


NOON = ms("2026-03-01T12:00+00:00")
DAY_MS = 86_400_000
FIRST = ms("2026-03-02T02:00+00:00")


def desk(redis: Redis, *, timezone: str = "UTC", **schedule: Any) -> Desk:
    given = {"cron": "0 2 * * *", "source": "inbox/*.jsonl", **schedule}
    settings = parse_settings({"spillway": {"timezone": timezone}, "schedules": {"nightly": given}})
    return Desk(redis, KEYS, Records("data"), settings)


async def runs(redis: Redis) -> list[dict[str, str]]:
    ids = await redis.zrange(KEYS.all_runs, 0, -1)
    return [{**await redis.hgetall(KEYS.run(run_id)), "id": run_id} for run_id in ids]


async def end(redis: Redis, status: str = "completed") -> None:
    """What a worker does at a run's end, to every open run."""
    for run in await runs(redis):
        if run["status"] in wire.RUN_OPEN:
            await redis.hset(KEYS.run(run["id"]), mapping={"status": status, "prepared": "1"})
            await redis.srem(KEYS.open_runs, run["id"])


def files_of(run: dict[str, str]) -> list[str]:
    return [Path(source["url"]).name for source in json.loads(run["sources"])]
