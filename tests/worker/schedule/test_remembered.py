"""What a run taught is there for the next one, however short it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from pipelines.learn import Length
from pipelines.pace import Kept, Mix, Sums
from pipelines.settings import parse_settings
from tests.support_program import GPU, Program
from tests.support_redis import redis_server
from tests.support_upstream import Upstream
from worker.beat import Beat
from worker.context import Context
from worker.learned import prefill_weights
from worker.lease import Lease, hold
from worker.process import identity
from worker.queue import Redis, connect
from worker.schedule import estimates
from worker.schedule.scheduler import Scheduler

ROWS, RUN = 64, "20260101-000000-abcdef"


async def rows_kept(redis: Redis) -> float:
    """How many answers the next run will know of."""
    kept = (await redis.hgetall("spillway:learned")).items()
    return sum(msgspec.json.decode(value, type=Length).rows for name, value in kept if name.startswith(b"length"))


@pytest.mark.timeout(120)
def test_a_run_of_seconds_teaches_the_next(tmp_path: Path) -> None:
    """Figures were kept every ten seconds only, so a run that was over sooner left nothing."""

    async def kept(url: str) -> float:
        redis = await connect(url)
        rows = await rows_kept(redis)
        await redis.aclose()
        return rows

    with redis_server() as url, Upstream({"servers": {"gpu": {**GPU, "latency_ms": 200}}}) as upstream:
        program = Program(tmp_path, upstream)
        file = program.rows([{"prompt": f"number {row}?", "max_tokens": 64} for row in range(ROWS)])
        assert program.json("run", str(file), "--redis", url)["rows"] == ROWS
        assert ROWS / 2 <= asyncio.run(kept(url)) <= ROWS, "but for what no heartbeat has told"


async def test_what_reading_weighs_at_a_local_server_is_for_others_to_ask(context: Context) -> None:
    servers = {
        name: {"kind": "vllm", "lane": lane, "model": "m", "base_url": "http://127.0.0.1:9/v1", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
        for name, lane in (("gpu", "local"), ("new", "local"), ("odd", "local"), ("mini", "cloud"))
    }  # fmt: skip
    context = Context(parse_settings({"targets": servers}), context.redis, context.redis_url)
    mix = Mix()
    for read, written in ((9_000, 100), (100, 900)) * 50:
        mix.add(Sums(10, read, written, 0.03 * read + 0.1 * written))
    told = {f"speed:{name} m": msgspec.json.encode(Kept(mix=mix)) for name in ("gpu", "mini")}
    await context.redis.hset(context.keys.learned, mapping={**told, "speed:odd m": b"{"})
    assert await prefill_weights(context) == {"gpu": pytest.approx(0.3, abs=0.05)}
    assert await prefill_weights(Context(parse_settings({}), context.redis, context.redis_url)) == {}


async def test_workers_that_stay_keep_it_when_the_last_run_is_over(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "SAVE_S", 1000.0)
    gpu = {"kind": "vllm", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
    settings = parse_settings({"targets": {"gpu": gpu}, "routes": {"all": {"targets": ["gpu"]}}})
    context = Context(settings, context.redis, context.redis_url)
    await context.scripts.load()
    await context.again.seen("this life")
    redis, keys = context.redis, context.keys
    scheduler = Scheduler(context, cast("Any", None))

    async def told(rows: int) -> None:
        beat = Beat(lengths={"g": Length(rows, rows, rows, rows)})
        await redis.set(keys.worker("w"), msgspec.json.encode(beat))

    await redis.hset(keys.workers, "w", msgspec.json.encode(identity()))
    await redis.sadd(keys.open_runs, RUN)
    await redis.hset(keys.run(RUN), mapping={"client": "default", "status": "in_progress", "options": "{}"})
    await told(10)
    await scheduler.step()
    await told(30)
    await scheduler.step()
    assert await rows_kept(redis) == 10, "not at every look"
    await redis.srem(keys.open_runs, RUN)
    await told(50)
    await scheduler.step()
    assert await rows_kept(redis) == 50
    await redis.delete(keys.learned)
    await scheduler.step()
    assert await rows_kept(redis) == 0, "once"


async def test_only_the_holder_of_a_lease_rests_when_all_are_stopped(context: Context) -> None:
    """Another's figures are of the time when it held the lease last."""
    rested: list[str] = []
    stopping, began = asyncio.Event(), asyncio.Event()

    async def step() -> None:
        began.set()
        await asyncio.sleep(0.01)

    async def begin(name: str) -> asyncio.Task[None]:
        async def rest() -> None:
            rested.append(name)

        lease = Lease(context.scripts, context.keys, "schedule", name)
        return asyncio.create_task(hold(lease, step, stopping, rest))

    first = await begin("first")
    await began.wait()
    second = await begin("second")
    await asyncio.sleep(0.1)
    stopping.set()
    await asyncio.gather(first, second)
    assert rested == ["first"]
