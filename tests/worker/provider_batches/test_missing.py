"""Orders that were given up since no list had them, and that were made after all: what they cost stands in ledger and budgets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipelines.settle import Facts
from tests.worker.provider_batches.stage import ALL, KINDS, ROWS, RUN, Stage, stage
from worker.backends.anthropic_batches import AnthropicBatches
from worker.context import Context
from worker.provider_batches import tending
from worker.provider_batches.orders import Order
from worker.queue import RedisError
from worker.settle.orphans import Orphans
from worker.simulator.core import batches
from worker.simulator.core.batches import Desk, desk

APPEARS_S = 1.6
"""So long after its request the batch is there, long after it was given up."""
LATE: dict[str, Any] = {"batch_faults": [{"kind": "late_create", "at": 1, "late_s": 0.3}]}


@pytest.fixture(autouse=True)
def _late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "LATE", APPEARS_S / 0.3)
    monkeypatch.setattr(tending, "MISSING_S", 60.0)
    monkeypatch.setattr(tending, "MISSING_MOST_S", 0.05)


def made(it: Stage) -> Desk:
    return desk(it.upstream.servers["cloud"])


async def missing(it: Stage) -> Order:
    """Ordered, and given up: its batches wait again, and its money is free."""
    await it.prepare()
    await it.give()
    await it.rounds(it.given_back)
    assert await it.outcomes() == {"rejected": ROWS} and await it.money() == (0, 0)
    assert {await it.state(batch) for batch in it.batches} == {"waiting"} and not made(it).jobs
    [order] = await it.lane._orders.open()
    assert order.about.parts == (), "what is read twice a second for a day is small"
    return order


@pytest.mark.parametrize("kind", KINDS)
async def test_an_order_that_appears_after_it_was_given_up_is_booked(context: Context, kind: str) -> None:
    """It was bought twice, and stood once in the ledger and in no budget."""
    async with stage(context, kind, batch_latency_s=0.001, batch_validate_s=0.0, **LATE) as it:
        await missing(it)
        await it.rounds(it.over)
        assert await it.outcomes() == {"rejected": ROWS, "ok": ROWS} and await it.answers() == {}
        assert await it.booked_pusd() == it.billed_pusd() > 0
        assert [len(state.late) for state in await it.journals()] == [ROWS // 2] * 2
        spent, reserved = await it.money()
        assert reserved == 0 and 0 <= spent - it.billed_pusd() / 1000 < ROWS, "a budget is a wall for what is paid"
        assert {await it.state(batch) for batch in it.batches} == {"waiting"}
        assert not await context.redis.keys("*:order:*") and not it.lane._tender._due_s
        it.context.targets.say("cloud", {"batch_full_ms": 0})
        await it.give()
        await it.rounds(it.over)
        assert await it.answers() == ALL and await it.booked_pusd() == it.billed_pusd()
        assert len(made(it).jobs) == 2


@pytest.mark.parametrize("kind", ["openai", "gemini"])
async def test_it_is_cancelled_as_soon_as_it_is_seen(context: Context, kind: str) -> None:
    """Where a tag says whose it is; else nobody knows before it has ended."""
    async with stage(context, kind, batch_latency_s=3000.0, batch_window_s=9000.0, **LATE) as it:
        before = await missing(it)
        assert (before.state, before.remote, before.why) == ("let_go", "", "missing"), "as other versions know it"
        await it.next_worker()
        await it.rounds(it.over)
        [job] = made(it).jobs.values()
        assert job.cancelled_s is not None and job.cancelled_s - job.timing.created_s < 2
        assert it.billed_pusd() == 0 and await it.money() == (0, 0) and await it.outcomes() == {"rejected": ROWS}
        assert not it.context.targets.states["cloud"].get("batch_s"), "says nothing of how long batches take"


async def test_what_is_looked_for_takes_no_room_and_holds_up_nothing(context: Context) -> None:
    async with stage(context, **LATE) as it:
        await missing(it)
        it.context.targets.say("cloud", {"batch_full_ms": 0, "batch_rows": ROWS})
        await it.give()
        await it.rounds(it.out)
        assert len(await it.lane._orders.open()) == 2 and len(made(it).jobs) == 1
        await it.rounds(it.over)
        assert await it.answers() == ALL
        assert await it.booked_pusd() == it.billed_pusd()


FACTS = {"cloud": Facts("cloud", "openai", "m", "p", "2026-03-01")}


async def test_it_is_booked_when_its_batches_were_settled_and_their_run_has_ended(context: Context) -> None:
    async with stage(context, batch_latency_s=0.001, batch_validate_s=0.0, **LATE) as it:
        await missing(it)
        run = await it.context.run(RUN)
        keys = it.context.keys
        await context.redis.delete(*(of(batch) for batch in it.batches for of in (keys.batch, keys.journal)))
        await context.redis.hset(keys.run(RUN), "status", "completed")
        await it.rounds(it.over)
        assert await it.journals() and not await context.redis.exists(*map(keys.batch, it.batches))
        await context.redis.set(keys.lease("settle"), it.context.owner)
        for _ in range(2):
            assert await Orphans(it.context).book(run, FACTS, [])
        costs = pl.read_parquet(it.context.store.root + "/costs/**/*.parquet", hive_partitioning=False)
        assert costs["cost_usd"].sum() == Decimal(it.billed_pusd()) / 10**12 > 0
        assert costs.select("purpose", "outcome", "lane").unique().rows() == [("late", "ok", "provider_batch")]
        assert sorted(costs["row"]) == list(range(ROWS)) and costs["call_id"].is_unique().all()
        assert costs["call_id"].str.contains(r"^[^:]+:\d+:\d+$").all()
        spent, reserved = await it.money()
        assert reserved == 0 and 0 <= spent - it.billed_pusd() / 1000 < ROWS
        assert not await context.redis.exists(keys.orphans)


@pytest.mark.parametrize("step", ["hold", "settle"])
async def test_who_dies_while_it_is_given_up_leaves_it_to_the_next(
    context: Context, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before anything was said of it, or with one of its batches given back."""

    async def dies(*_: Any, **__: Any) -> None:
        if step == "hold" or released:
            died.append(1)
            raise RedisError("gone")
        released.append(1)
        await release(*_, **__)

    async def dead() -> bool:
        return bool(died)

    died: list[int] = []
    released: list[int] = []
    async with stage(context, batch_latency_s=0.001, batch_validate_s=0.0, **LATE) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.sending)
        release = it.lane._reader.release
        at, name = (it.lane._orders, "hold") if step == "hold" else (it.lane._reader, "release")
        monkeypatch.setattr(at, name, dies)
        await it.rounds(dead)
        await it.next_worker()
        await it.rounds(it.given_back)
        assert await it.outcomes() == {"rejected": ROWS} and await it.money() == (0, 0)
        await it.rounds(it.over)
        assert await it.outcomes() == {"rejected": ROWS, "ok": ROWS}
        assert await it.booked_pusd() == it.billed_pusd() > 0


async def test_one_that_was_let_go_before_it_was_given_up_is_booked_as_well(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its calls were noted as never made, and what came then was no call of theirs any more."""
    monkeypatch.setattr(batches, "LATE", 10.0)
    monkeypatch.setattr(tending, "GRACE_S", 1.2)
    async with stage(context, batch_latency_s=0.001, batch_validate_s=0.0, **LATE) as it:
        await it.prepare(deadline_ms=it.context.clock.now_ms() + 900)
        await it.give()
        await it.rounds(it.sending)
        await context.redis.sadd(context.keys.recalled, *it.batches)
        await it.rounds(it.given_back)
        assert await it.outcomes() == {"out": ROWS}, "it may be there"
        await it.rounds(it.over)
        assert await it.outcomes() == {"rejected": ROWS, "ok": ROWS}
        assert await it.booked_pusd() == it.billed_pusd() > 0


async def test_one_that_never_appears_is_forgotten_in_the_end(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tending, "MISSING_S", 1.5)
    async with stage(context, batch_faults=[{"kind": "500", "at": 1}]) as it:
        await missing(it)
        assert await context.redis.keys("*:order:*:lines")
        await it.rounds(it.over)
        assert await it.outcomes() == {"rejected": ROWS} and await it.money() == (0, 0)
        assert not await context.redis.keys("*:order:*") and not it.lane._tender._ruled_out


async def test_results_of_another_batch_are_read_once_to_know_that_it_is_not_the_one(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were read at every look, where no tag says whose a batch is."""

    async def results(self: Any, *asked: Any) -> Any:
        read.append(asked[-1].id)
        return await reads(self, *asked)

    read: list[str] = []
    reads = AnthropicBatches.results
    monkeypatch.setattr(AnthropicBatches, "results", results)
    async with stage(context, "anthropic", batch_latency_s=0.001, batch_validate_s=0.0, **LATE) as it:
        await missing(it)
        it.context.targets.say("cloud", {"batch_full_ms": 0})
        await it.give()
        await it.rounds(it.over)
        assert await it.answers() == ALL and await it.booked_pusd() == it.billed_pusd()
        first, second = made(it).jobs  # the new order's batch, then the one that was missing
        assert read.count(first) <= 2 and read.count(second) == 2, "to know it, then to book it"
