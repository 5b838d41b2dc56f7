"""Audits wait for their run's rows where money is short, and for nothing where it is not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pipelines import wire
from pipelines.settings import parse_settings
from tests.worker.schedule.waiting import waiting_batch
from worker.context import Context
from worker.money import budget
from worker.schedule.audits import AMPLE
from worker.schedule.scheduler import Scheduler

RUN = "20260101-000000-abcdef"
URL = "http://127.0.0.1:9/v1"
TARGETS = {"mini": {"kind": "openai", "model": "c", "base_url": URL, "input_usd_per_mtok": 1, "output_usd_per_mtok": 1}}
NEED_PUSD = 2200
"""What a batch's head says (waiting.py)."""
TIGHT, AMPLY = NEED_PUSD * AMPLE // 1000 - 1, NEED_PUSD * AMPLE // 1000 + 1


async def shown(context: Context, rows: str, limit_nusd: int | None, **fields: Any) -> set[str]:
    """The purposes of what the scheduler may move, when a batch of audits waits and one of rows is `waiting`, `out` or gone."""
    context.settings = parse_settings({"targets": TARGETS, "routes": {"all": {"targets": list(TARGETS)}}})
    redis, keys = context.redis, context.keys
    await redis.hset(keys.run(RUN), mapping={"client": "default", "status": "in_progress", "options": "{}"})
    ids = [await waiting_batch(context, RUN, 0, purpose="audit")]
    if rows != "gone":
        ids.append(await waiting_batch(context, RUN, 1))
    if rows == "out":
        names = [keys.batch(ids[1]), keys.waiting(RUN), keys.rung]
        assert await context.scripts.ring(keys=names, args=[ids.pop(), "cloud", "mini", "any"])
    if limit_nusd is not None:
        fields["budget_nusd"] = str(limit_nusd)
    run = await context.run(RUN, "")
    await budget.ensure(redis, keys, run.wanted_scopes(context.clock))
    scheduler = Scheduler(context, cast("Any", None))
    rung = await scheduler._batches.rung({})
    await scheduler._batches.learn(ids)
    view = await scheduler._view(RUN, {"prepared": "1"} | fields, ids, rung)
    return {scheduler._batches.heads[each.id].head.purpose for each in view.waiting}


@pytest.mark.parametrize(
    ("rows", "limit_nusd", "fields", "expected"),
    [
        ("waiting", None, {}, {"answer", "audit"}),
        ("waiting", AMPLY, {}, {"answer", "audit"}),
        ("waiting", TIGHT, {}, {"answer"}),
        ("out", TIGHT, {}, set()),
        ("out", AMPLY, {}, {"audit"}),
        ("out", AMPLY, {"borrowed": "2"}, set()),
        ("gone", AMPLY, {}, set()),
        ("gone", TIGHT, {"audit_due": "1"}, {"audit"}),
        ("waiting", TIGHT, {"audit_due": "1"}, {"answer"}),
    ],
    ids=[
        "no limit", "ample", "tight", "tight and out", "ample and out", "followers may need it", "not settled yet", "all ended",
        "resumed since",
    ],
)  # fmt: skip
async def test_audits_take_no_money_that_rows_need(
    context: Context, rows: str, limit_nusd: int | None, fields: dict[str, str], expected: set[str]
) -> None:
    assert await shown(context, rows, limit_nusd, **fields) == expected


async def test_any_limit_of_the_run_counts(context: Context) -> None:
    """One that was set while it runs too."""
    day = context.clock.date("UTC")
    await budget.ensure(context.redis, context.keys, {f"day:{day}": None})
    await context.redis.hset(wire.Keys(context.settings.spillway.prefix).budget(f"day:{day}"), "limit", TIGHT)
    assert await shown(context, "waiting", None) == {"answer"}
