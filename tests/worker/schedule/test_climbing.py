"""The climb in the program: real processes, a stand-in server with a curve, the knee kept for the next run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipelines.batch import LEAST_ROWS
from pipelines.climb import MOST, State
from pipelines.settings import parse_settings
from tests.support_program import Program
from tests.support_redis import redis_server
from tests.support_upstream import Upstream
from worker.backends.discovery import inspect
from worker.beat import Beat, TargetStats
from worker.context import Context
from worker.queue import connect
from worker.schedule import estimates
from worker.schedule.estimates import Estimates
from worker.tasks import MAX_JOBS

HALF, CALL_TOKENS = 12, 20
SERVER: dict[str, Any] = {
    "personality": "vllm", "model": "m", "tokens_per_s": 400, "half_at": HALF, "output_tokens_median": CALL_TOKENS,
    "output_tokens_sigma": 0.3, "answer": "hash", "prefill_share": 0,
}  # fmt: skip
"""Eight at once bring 160 tokens a second, 16 bring 229, 32 bring 291: busy machines are slower than that themselves."""


def test_small_batches_fill_the_most_slots_that_a_lane_may_have() -> None:
    """Of a small run that is due soon batches are of two prompts: 64 of them at once were half of what `"auto"` may climb to."""
    assert MAX_JOBS * LEAST_ROWS >= MOST


@pytest.mark.timeout(400)
def test_a_run_climbs_and_the_next_begins_there(tmp_path: Path) -> None:
    with Upstream({"servers": {"gpu": SERVER}}) as upstream:
        settings = upstream.settings()
        settings["targets"]["gpu"] |= {"lane": "local", "max_concurrency": "auto"}
        settings["routes"] = {"main": {"targets": ["gpu"], "dedupe": "off"}}
        program = Program(tmp_path, **settings)

        def run(rows: int, first: int) -> int:
            name = f"rows-{first}.jsonl"
            file = program.rows([{"prompt": f"number {first + i}?", "max_tokens": 64} for i in range(rows)], name)
            assert program.json("run", str(file))["rows"] == rows
            return int(upstream.status("gpu")["max_busy_slots"])

        assert run(24, 0) <= 8, "a small run stays where it began"
        for turn in range(1, 4):  # a machine that is busy at the wrong moment holds fewer, and goes on from there
            climbed = run(400, 1000 * turn)
            assert climbed >= 16, "a long one climbs"
            upstream.reset()
            if run(3 * climbed, 10_000 * turn) > 8:
                return
        pytest.fail("the next does not begin where it held")


async def test_the_cap_is_told_to_all_workers_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "SAVE_S", 0.0)
    gpu = {"kind": "vllm", "model": "m", "base_url": "http://127.0.0.1:1/v1"}
    settings = parse_settings({
        "targets": {"gpu": gpu, "fixed": {**gpu, "max_concurrency": 3}}, "routes": {"r": {"targets": ["gpu", "fixed"]}},
        "spillway": {"data": str(tmp_path)},
    })  # fmt: skip
    with redis_server() as url:
        redis = await connect(url)
        here, there = Context(settings, redis, url), Context(settings, redis, url)
        first, now = Estimates(here), 0.0

        class Clock:
            def time(self) -> float:
                return now

        monkeypatch.setattr(estimates.asyncio, "get_running_loop", Clock)
        for _ in range(80):
            now += 0.4
            in_flight, done = here.targets.cap("gpu"), round(now * 10)
            stats = TargetStats(in_flight, done=done, output_tokens=100 * done, held_s=8.0 * now)
            await first.look({"w": Beat(targets={"gpu": stats, "fixed": stats})})
        monkeypatch.undo()
        assert here.targets.cap("gpu") > 8
        assert here.targets.cap("fixed") == 3
        await here.targets.publish(redis, here.keys)
        there.targets.learn(await redis.hgetall(there.keys.targets))
        assert there.targets.cap("gpu") == here.targets.cap("gpu")
        kept = msgspec.json.decode(await redis.hget(here.keys.learned, "climb:gpu m"), type=State).best
        assert kept >= 8
        second = Estimates(there)
        there.targets.learn({})
        await second.look({})
        assert there.targets.cap("gpu") == kept
        there.targets.say("gpu", {"parallel": 4})
        assert there.targets.cap("gpu") == 4, "what the server says is the most"
        await redis.aclose()


@pytest.mark.parametrize(("personality", "slots"), [("vllm", 2), ("llamacpp", 2)])
async def test_calls_that_wait_at_the_server_are_seen(personality: str, slots: int) -> None:
    import asyncio

    from worker.backends.hot import Hot

    server = {"personality": personality, "model": "m", "slots": slots, "latency_ms": 3000, "answer": "text:x"}
    with Upstream({"servers": {"gpu": server}}) as upstream:
        raw = {"kind": personality, "model": "m", "base_url": upstream.url("gpu")}
        target = parse_settings({"targets": {"gpu": raw}, "routes": {"r": {"targets": ["gpu"]}}}).targets["gpu"]
        assert (await inspect("gpu", target)).waiting == 0
        hot, body = Hot(8), b'{"model":"m","messages":[{"role":"user","content":"x"}]}'
        calls = [
            asyncio.create_task(
                hot.post(f"{upstream.url('gpu')}/chat/completions", {"content-type": "application/json"}, body, 30.0)
            )
            for _ in range(5)
        ]
        while (await inspect("gpu", target)).waiting != 5 - slots:
            assert not all(call.done() for call in calls)
            await asyncio.sleep(0.05)
        for call in calls:
            call.cancel()
        await hot.close()
        upstream.control("gpu", metrics="absent")
        assert (await inspect("gpu", target)).waiting is None
