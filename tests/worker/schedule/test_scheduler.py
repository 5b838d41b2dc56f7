"""What the scheduler sees of a run, from what is in Redis."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from pipelines.settings import parse_settings
from tests.worker.schedule.waiting import WORK, waiting_batch
from worker.context import Context
from worker.schedule.away import CALM_MS
from worker.schedule.scheduler import Scheduler

RUN = "20260101-000000-abcdef"
URL = "http://127.0.0.1:9/v1"
TARGETS = {
    "gpu": {"kind": "vllm", "model": "m", "base_url": URL},
    "mini": {"kind": "openai", "model": "c", "base_url": URL, "input_usd_per_mtok": 1, "output_usd_per_mtok": 1},
}


@pytest.mark.parametrize(("lane", "target", "ahead"), [("local", "gpu", True), ("cloud", "mini", False)])
async def test_what_is_bought_asks_nothing_of_the_local_lane(
    context: Context, lane: str, target: str, ahead: bool
) -> None:
    """Or as much again would be bought as is on its way there."""
    context.settings = parse_settings({"targets": TARGETS, "routes": {"all": {"targets": list(TARGETS)}}})
    redis, keys = context.redis, context.keys
    batch = await waiting_batch(context, RUN)
    names = [keys.batch(batch), keys.waiting(RUN), keys.rung]
    assert await context.scripts.ring(keys=names, args=[batch, lane, target, "any"])
    await redis.hset(keys.run(RUN), mapping={"client": "default", "status": "in_progress", "options": "{}"})
    scheduler = Scheduler(context, cast("Any", None))
    view = await scheduler._view(RUN, {"prepared": "1"}, [], await scheduler._batches.rung({}))
    assert view.ahead == pytest.approx(WORK if ahead else 0.0)


@pytest.mark.parametrize(("routes", "share"), [(["all", "all"], 1.0), (["all", "away"], 0.5), (["away", "away"], 1.0)])
async def test_what_is_not_prepared_asks_of_the_local_lane_what_those_that_wait_do(
    context: Context, routes: list[str], share: float
) -> None:
    """Nothing where half of them have no local lane; a run of such prompts alone is as long for its cloud."""
    said = {"all": {"targets": list(TARGETS)}, "away": {"targets": ["mini"]}}
    context.settings = parse_settings({"targets": TARGETS, "routes": said})
    await context.redis.hset(context.keys.run(RUN), mapping={"client": "default", "options": "{}"})
    batches = [await waiting_batch(context, RUN, number, route) for number, route in enumerate(routes)]
    scheduler = Scheduler(context, cast("Any", None))
    await scheduler._batches.learn(batches)
    fields = {"prepared": "0", "rows": "20", "asked": "10", "rows_estimate": "60"}
    view = await scheduler._view(RUN, fields, batches, {})
    each = WORK / scheduler._batches.heads[batches[0]].head.rows
    assert view.ahead == pytest.approx(share * (60 - 20) * 0.5 * each)


async def test_a_target_that_looks_well_now_and_then_and_answers_nothing_is_away_since_it_began_to_fail(
    context: Context,
) -> None:
    """Or what waits for it would wait for ever: each look at which it is up begins anew."""
    context = Context(parse_settings({"targets": TARGETS}), context.redis, context.redis_url)
    scheduler, now = Scheduler(context, cast("Any", None)), context.clock.now_ms()
    await scheduler._estimates.look({})

    def down_s(**state: Any) -> float:
        context.targets.states["gpu"] = state
        scheduler._away.look()
        return scheduler._snapshot([], {}).targets["gpu"].down_s

    assert down_s(up=False) == math.inf, "nobody has seen it up"
    assert down_s(up=True, failing_since=now - 60_000, changed_ms=now - 1_000) == math.inf, "it is not down"
    assert 60 <= down_s(up=False, failing_since=now - 60_000) < 90
    assert down_s(up=True) == math.inf
    assert down_s(up=False) < 30
    assert down_s(up=True, failing_since=now - 60_000, changed_ms=now - 2 * CALM_MS) == math.inf
    assert down_s(up=False, failing_since=now - 60_000) < 30, (
        "it was well for a minute: what it had failed before was over"
    )
