"""The scheduler on a real Redis: of a cloud that has no room for all, each client has its share, look after look."""

from __future__ import annotations

from collections import Counter

from pipelines.settings import parse_settings
from tests.worker.schedule.waiting import waiting_batch
from worker.context import Context
from worker.leased import pool
from worker.schedule.scheduler import Scheduler

MINI = {
    "kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", "api_key": "k", "input_usd_per_mtok": 1,
    "output_usd_per_mtok": 1, "max_concurrency": 2,
}  # fmt: skip
CLIENTS = {"night": {"priority": "background"}, "one": {}, "three": {"weight": 3}}


async def test_clients_share_the_cloud(context: Context) -> None:
    """The background client's run came first: it had all that there was room for."""
    told = {"targets": {"mini": MINI}, "routes": {"all": {"targets": ["mini"]}}, "clients": CLIENTS}
    settings = parse_settings({"spillway": {"data": context.settings.spillway.data}, **told})
    context = Context(settings, context.redis, context.redis_url)
    await context.scripts.load()
    await context.again.seen("this life")
    redis, keys = context.redis, context.keys
    of_run = {f"20260101-00000{number}-abcdef": client for number, client in enumerate(CLIENTS)}
    for run, client in of_run.items():
        await redis.hset(
            keys.run(run), mapping={"client": client, "status": "in_progress", "options": "{}", "prepared": "1"}
        )
        await redis.sadd(keys.open_runs, run)
        for number in range(20):
            await waiting_batch(context, run, number)
    bells, rung = await pool(context.redis_url), Counter[str]()
    scheduler = Scheduler(context, bells)
    for _ in range(16):
        await scheduler.step()
        batch, *more = [name.decode() for name in await redis.zrange(keys.rung, 0, -1)]
        assert not more, "two slots, two rows"
        rung[of_run[batch.partition(".")[0]]] += 1
        await redis.zrem(keys.rung, batch)  # answered
    await bells.aclose()
    assert rung == {"one": 4, "three": 12}
