"""What a look at a target says to all workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from pipelines.settings import parse_settings
from pipelines.wire import Keys
from tests.worker.backends.server import Scripted, answer
from worker.clock import Clock
from worker.schedule.watch import FAILS_TO_DOWN, Watch
from worker.targets import Targets


class Redis:
    """Takes what is published."""

    async def eval(self, *_: Any) -> None:
        return None


async def looked_at(paths: dict[str, Any], times: int) -> dict[str, Any]:
    async with Scripted(paths=paths) as server:
        settings = parse_settings({"targets": {"it": {"kind": "llamacpp", "model": "m", "base_url": server.url}}})
        targets = Targets(settings, Clock())
        targets.states["it"] = {"up": True, "failing_since": 5}
        context: Any = SimpleNamespace(
            targets=targets, settings=settings, clock=targets.clock, redis=Redis(), keys=Keys("test")
        )
        watch = Watch(context)
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


async def test_one_silent_look_is_none() -> None:
    assert (await looked_at({"/health": answer(500, {"error": "broken"})}, FAILS_TO_DOWN - 1))["up"]
