"""What failures mean for a target: short waits pause it, long ones and many failures take it down."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import wire
from pipelines.settings import parse_settings
from pipelines.types import Failure
from worker.clock import Clock
from worker.context import Context
from worker.drain.standing import DOWN_AFTER, LONG_S, Standing
from worker.targets import BREAKER_MS, CLOSED_MS, Targets

BUSY = Failure("overload", "http_503", "HTTP 503: busy", 503)


class Rates:
    """Hears what is told to the other workers."""

    def __init__(self) -> None:
        self.paused: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.paused.append(seconds)


def standing() -> tuple[Standing, Any, Targets, list[str]]:
    targets = Targets(parse_settings({"targets": {"it": {"kind": "vllm", "model": "m"}}}), Clock())
    lane = SimpleNamespace(
        up=True, trial=0, in_use=1, refused=0, paused_ms=0, rates=Rates(), limit=lambda seconds: None, trusted=lambda: None,
        tried_times=0,
    )  # fmt: skip

    def tried() -> None:
        lane.tried_times += 1

    lane.tried = tried
    context: Any = SimpleNamespace(targets=targets, background=set())
    rerouted: list[str] = []
    return Standing(context, {"it": lane}, rerouted.append), lane, targets, rerouted  # type: ignore[dict-item]


async def test_a_short_wait_pauses() -> None:
    it, lane, targets, rerouted = standing()
    it.asked_to_wait("it", BUSY, LONG_S)
    await next(iter(it._context.background))
    assert (lane.up, rerouted, lane.rates.paused) == (True, [], [LONG_S])
    assert targets.states["it"]["paused_ms"] == lane.paused_ms > targets.clock.now_ms()


@pytest.mark.parametrize(("asked_s", "for_ms"), [(LONG_S + 1, 61_000), (1e9, CLOSED_MS)])
async def test_a_long_one_takes_it_down_until_then(asked_s: float, for_ms: int) -> None:
    it, lane, targets, rerouted = standing()
    it.asked_to_wait("it", BUSY, asked_s)
    assert (lane.up, rerouted, targets.is_up("it")) == (False, ["it"], False)
    assert abs(targets.states["it"]["until_ms"] - targets.clock.now_ms() - for_ms) < 1_000
    assert targets.states["it"]["reason"] == "http_503: HTTP 503: busy"


@pytest.mark.parametrize(("lane", "closed"), [("cloud", True), ("local", False)])
async def test_a_model_that_nobody_knows_closes_a_provider_and_takes_down_a_server_of_ones_own(
    lane: str, closed: bool
) -> None:
    """Which may load it yet: it is looked at all the time, and used as soon as it has it."""
    it, queue, targets, rerouted = standing()
    settings = parse_settings({"targets": {"it": {"kind": "vllm", "model": "m", "lane": lane}}})
    it._context.settings = settings
    it.closed("it", Failure("model", "model_not_found", "HTTP 404: The model `m` does not exist", 404))
    assert (queue.up, rerouted, targets.is_up("it")) == (False, ["it"], False)
    assert bool(targets.states["it"].get("closed")) == closed
    assert "HTTP 404: The model `m` does not exist" in targets.states["it"]["reason"]
    assert targets.states["it"]["until_ms"] - targets.clock.now_ms() <= (CLOSED_MS if closed else BREAKER_MS)


async def test_a_row_of_failures_ends_with_a_success_and_not_with_the_breaker() -> None:
    it, lane, _, _ = standing()
    assert [it.unhealthy("it", BUSY) for _ in range(DOWN_AFTER)] == list(range(1, DOWN_AFTER + 1))
    assert not lane.up and it.unhealthy("it", BUSY) == DOWN_AFTER + 1
    it.healthy("it")
    assert it.unhealthy("it", BUSY) == 1


async def test_failures_in_a_row_take_it_down_for_a_moment() -> None:
    it, lane, targets, rerouted = standing()
    for _ in range(DOWN_AFTER - 1):
        it.unhealthy("it", BUSY)
    it.healthy("it")
    for _ in range(DOWN_AFTER - 1):
        it.unhealthy("it", BUSY)
    assert (lane.up, rerouted) == (True, [])
    it.unhealthy("it", BUSY)
    assert (lane.up, rerouted) == (False, ["it"])
    assert targets.states["it"]["until_ms"] <= targets.clock.now_ms() + BREAKER_MS


async def test_a_batch_that_comes_for_a_target_which_is_down_here_asks_whether_it_is(context: Context) -> None:
    """Who rang has seen it up; the next heartbeat would tell, and the batch would be back in the queue by then."""
    it, lane, targets, _ = standing()
    it._context.redis, it._context.keys = context.redis, context.keys
    lane.up, lane.cap = False, 0
    await it.ask(["it"])
    assert lane.up, "nobody has said that it is down"
    targets.states["it"] = {"up": False}
    await context.redis.hset(context.keys.targets, "it", wire.dump({"up": False}))
    lane.up = False
    await it.ask(["it"])
    assert not lane.up
    await context.redis.hset(context.keys.targets, "it", wire.dump({"up": True}))
    await it.ask(["it"])
    assert lane.up and lane.tried_times == 2
