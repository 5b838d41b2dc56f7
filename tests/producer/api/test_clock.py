"""Schedules fire while a server runs, with nobody else to look after them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from pipelines import wire
from pipelines.settings import load_settings
from producer import schedules
from producer.queue import connected, now_ms
from producer.records import Records
from producer.schedules import Desk
from tests.support_program import Program
from tests.support_redis import redis_server
from tests.support_serving import ADMIN, serving


async def test_a_server_fires_what_is_due(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    hourly = {"cron": "0 * * * *", "source": [f"{tmp_path}/in/*.jsonl"]}
    program = Program(tmp_path, api={"admin_key": ADMIN}, schedules={"hourly": hourly})
    with redis_server() as url:
        keys = wire.Keys()
        async with connected(url) as redis:
            settings = load_settings(program.config, environ={}, env_file=None)
            desk = Desk(redis, keys, Records(str(program.data)), settings)
            two_hours_ago = await now_ms(redis) - 7_200_000
            assert await schedules.tick(desk, two_hours_ago) == [], "known since then, so one firing has been missed"
            (tmp_path / "in" / "a.jsonl").write_text('{"prompt": "one"}\n')
            assert await redis.scard(keys.open_runs) == 0
            with serving(program, redis_url=url):
                until = time.monotonic() + 60
                while not await redis.scard(keys.open_runs):
                    assert time.monotonic() < until, "the schedule did not fire"
                    await asyncio.sleep(0.05)
            [run_id] = await redis.smembers(keys.open_runs)
            assert (await redis.hget(keys.run(run_id), "origin")).startswith("hourly@")
