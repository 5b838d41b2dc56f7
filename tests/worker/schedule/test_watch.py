"""What a look at a target says to all workers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipelines.settings import parse_settings
from pipelines.wire import Keys
from tests.support_redis import redis_server
from tests.worker.backends.server import Scripted, answer
from worker import leased
from worker.clock import Clock
from worker.context import Context
from worker.queue import connect
from worker.schedule import watch as watching
from worker.schedule.watch import FAILS_TO_DOWN, Watch
from worker.targets import Targets
from worker.tasks import Process
from worker.timing import LEASE_MS


class Redis:
    """Takes what is published."""

    async def eval(self, *_: Any) -> None:
        return None


async def looked_at(paths: dict[str, Any], times: int, **more: Any) -> dict[str, Any]:
    async with Scripted(paths=paths) as server:
        settings = parse_settings({"targets": {"it": {"kind": "llamacpp", "model": "m", "base_url": server.url}}})
        targets = Targets(settings, Clock())
        targets.states["it"] = {"up": True, "failing_since": 5, **more}
        context: Any = SimpleNamespace(
            targets=targets, settings=settings, clock=targets.clock, redis=Redis(), keys=Keys("test")
        )
        watch = Watch(context, asyncio.Event())
        for _ in range(times):
            await watch._probe("it")
    return targets.states["it"]


async def test_a_model_that_loads_explains_what_failed_before() -> None:
    loading = answer(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})
    state = await looked_at({"/health": loading}, FAILS_TO_DOWN)
    assert (state["up"], state["reason"], state["failing_since"]) == (False, "is loading its model", 0)


async def test_a_server_that_errs_explains_nothing() -> None:
    state = await looked_at({"/health": answer(500, {"error": "broken"})}, FAILS_TO_DOWN)
    assert (state["up"], state["failing_since"]) == (False, 5)


async def test_none_looks_on_when_another_look_has_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch is begun anew then, and two would look at one target."""
    ended: list[str] = []

    async def one(_: Watch, name: str) -> None:
        if name == "broken":
            raise ValueError("odd")
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(name)

    monkeypatch.setattr(Watch, "_one", one)
    targets = {
        name: {"kind": "vllm", "model": "m", "base_url": "http://127.0.0.1:1/v1"} for name in ("other", "broken")
    }
    context = SimpleNamespace(settings=parse_settings({"targets": targets}))
    with pytest.raises(ExceptionGroup):
        await Watch(cast("Any", context), asyncio.Event()).run()
    assert ended == ["other"]


async def test_one_silent_look_is_none() -> None:
    assert (await looked_at({"/health": answer(500, {"error": "broken"})}, FAILS_TO_DOWN - 1))["up"]


async def test_no_look_is_silent_while_calls_are_answered() -> None:
    """A server whose one thread is busy with our calls fails at all questions beside them, and is at work all the same."""
    broken, now_ms = {"/health": answer(500, {"error": "busy"})}, Clock().now_ms()
    assert (await looked_at(broken, 3 * FAILS_TO_DOWN, answered_ms=now_ms + 60_000))["up"]
    assert not (await looked_at(broken, FAILS_TO_DOWN, answered_ms=now_ms - 1))["up"], "answers of earlier tell nothing"


async def test_of_two_workers_one_looks_and_the_other_when_it_has_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Or else their looks together make a wait that lasts out of two moments, and the server gets fewer calls for nothing."""
    looked: list[str] = []

    async def probe(self: Watch, _: str) -> None:
        looked.append(self._context.owner)

    monkeypatch.setattr(Watch, "_probe", probe)
    monkeypatch.setattr(watching, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(watching, "DOWN_EVERY_S", 0.01)
    told = {"targets": {"it": {"kind": "llamacpp", "model": "m", "base_url": "http://127.0.0.1:9/v1"}}}
    settings = parse_settings({"spillway": {"data": str(tmp_path)}, **told})
    with redis_server() as url:
        redis = await connect(url)
        processes = [Process(Context(settings, redis, url), ("schedule",)) for _ in range(2)]
        bells = await leased.pool(url)
        for process in processes:
            await process.context.scripts.load()
            await process._start_control(bells)
        await asyncio.sleep(0.5)
        assert len(looked) > 3 and len(set(looked)) == 1
        first, second = sorted(processes, key=lambda process: process.context.owner != looked[0])
        await first.stop()
        looked.clear()
        async with asyncio.timeout(LEASE_MS / 2000):
            while second.context.owner not in looked:
                await asyncio.sleep(0.05)
        await second.stop()
        await bells.aclose()
        await redis.aclose()


async def test_waits_go_on_counting_where_another_worker_left_them() -> None:
    metrics = answer(
        200, b"llamacpp:requests_deferred 3\nllamacpp:requests_processing 4\n", {"content-type": "text/plain"}
    )
    paths = {
        "/health": answer(200, {"status": "ok"}), "/props": answer(200, {"total_slots": 4}), "/metrics": metrics,
        "/v1/models": answer(200, {"data": [{"id": "m"}]}),
    }  # fmt: skip
    assert [(await looked_at(paths, times, waits=7)).get("waits") for times in (1, 2, 3)] == [7, 8, 9]
