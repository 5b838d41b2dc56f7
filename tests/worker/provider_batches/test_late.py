"""Orders of which a provider says nothing, or not the truth, for a while: nothing is bought twice, nor when nobody wants it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from pipelines.types import Failure
from tests.worker.provider_batches.stage import ALL, KINDS, ROWS, RUN, stage
from worker.backends.anthropic_batches import AnthropicBatches
from worker.backends.openai_batches import OpenAIBatches
from worker.context import Context
from worker.provider_batches import tending
from worker.provider_batches.tending import MISSES
from worker.queue import ResponseError
from worker.simulator.core.batches import desk


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_that_is_made_long_after_its_request_was_given_up_is_found(context: Context, kind: str) -> None:
    """An edge gave up after longer than an order was looked for, counted from before its request: bought twice, booked once."""
    async with stage(context, kind, batch_faults=[{"kind": "late_create", "at": 1, "late_s": 1.0}]) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.over)
        assert len(desk(it.upstream.servers["cloud"]).jobs) == 1 and await it.outcomes() == {"ok": ROWS}
        assert await it.answers() == ALL and await it.booked_pusd() == it.billed_pusd() > 0


async def test_a_batch_that_is_made_long_after_its_worker_died_is_found(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request may be at its provider for as long as anybody would have listened to it."""
    monkeypatch.setattr(AnthropicBatches, "create_s", 2.5)
    async with stage(context, "anthropic", batch_faults=[{"kind": "late_create", "at": 1, "late_s": 1.0}]) as it:
        await it.prepare()
        await it.give()
        rounds = asyncio.create_task(it.rounds(it.over))
        while not desk(it.upstream.servers["cloud"]).asked:
            await asyncio.sleep(0.01)
        rounds.cancel()
        await asyncio.gather(rounds, return_exceptions=True)
        [order] = await it.lane._orders.open()
        assert (order.state, order.given_up_ms) == ("sending", 0)
        await it.next_worker()
        await it.rounds(it.over)
        assert len(desk(it.upstream.servers["cloud"]).jobs) == 1 and await it.outcomes() == {"ok": ROWS}
        assert await it.answers() == ALL and await it.booked_pusd() == it.billed_pusd() > 0


@pytest.mark.parametrize("died", [True, False])
async def test_what_never_appears_is_given_back_in_the_end(
    context: Context, monkeypatch: pytest.MonkeyPatch, died: bool
) -> None:
    monkeypatch.setattr(OpenAIBatches, "create_s", 1.0)
    async with stage(context, batch_faults=[{"kind": "500"}]) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.sending)
        [order] = await it.lane._orders.open()
        assert order.given_up_ms >= order.sent_ms > 0
        order.given_up_ms = 0 if died else order.given_up_ms + 1000
        await it.lane._orders.note(order)
        await it.next_worker()
        await it.rounds(it.over)
        waited_ms = it.context.clock.now_ms() - order.sent_ms
        assert await it.outcomes() == {"rejected": ROWS} and (await it.money())[1] == 0
        assert waited_ms > (1000 if died else 2000)
        assert it.lane._standing.takes("cloud") is died, "who was asked in vain is left alone for a while"


async def test_a_batch_that_was_made_while_a_gateway_said_that_nobody_was_there_is_found(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def create(self: Any, *asked: Any) -> Any:
        await creates(self, *asked)
        return Failure("overload", "http_503", "upstream connect error or disconnect/reset before headers", 503)

    creates = OpenAIBatches.create
    monkeypatch.setattr(OpenAIBatches, "create", create)
    async with stage(context) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.over)
        assert len(desk(it.upstream.servers["cloud"]).jobs) == 1 and await it.outcomes() == {"ok": ROWS}
        assert await it.booked_pusd() == it.billed_pusd() > 0


@pytest.mark.parametrize("why", ["stop", "recall"])
async def test_what_nobody_wants_any_more_when_it_has_been_uploaded_is_not_bought(
    context: Context, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """It was cancelled as soon as it was there, and what had been done by then was paid."""

    async def stages(self: Any, *asked: Any) -> Any:
        if why == "stop":
            await context.redis.hset(context.keys.run(RUN), "cancel", "1")
        else:
            await context.redis.sadd(context.keys.recalled, it.batches[0])
        return await stage_(self, *asked)

    stage_ = OpenAIBatches.stage
    monkeypatch.setattr(OpenAIBatches, "stage", stages)
    async with stage(context) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.over)
        assert not desk(it.upstream.servers["cloud"]).jobs and await it.outcomes() == {"rejected": ROWS}
        assert {await it.state(batch) for batch in it.batches} == {"waiting"} and (await it.money())[1] == 0
        assert not it.context.targets.states["cloud"].get("batch_full_ms"), "it is not the provider's fault"


@pytest.mark.parametrize("place", ["first", "now and then"])
async def test_a_batch_that_its_provider_does_not_know_for_a_moment_is_not_lost(
    context: Context, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Just made, it is not known everywhere; and in a day of looks some come by a server that does not know it."""
    unknown = Failure("invalid", "not_found", "HTTP 404: no such batch", 404)
    monkeypatch.setattr(tending, "GRACE_S", 5.0 if place == "first" else 0.0)

    async def look(self: Any, *asked: Any) -> Any:
        looked.append(1)
        if len(looked) < 2 * MISSES if place == "first" else len(looked) % MISSES:
            return unknown
        remote = await looks(self, *asked)
        return msgspec.structs.replace(remote, state="open") if len(looked) < 2 * MISSES else remote

    looked: list[int] = []
    looks = OpenAIBatches.look
    monkeypatch.setattr(OpenAIBatches, "look", look)
    async with stage(context, batch_latency_s=0.5) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.over)
        assert len(looked) >= 2 * MISSES and await it.outcomes() == {"ok": ROWS} and await it.answers() == ALL


async def test_an_order_that_was_let_go_is_cancelled_even_when_its_batches_are_settled(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that could not be told then went on, and was paid, for as long as it took."""

    async def cancel(self: Any, *asked: Any) -> Any:
        return await cancels(self, *asked) if can_be_told else Failure("transient", "http_500", "not now", 500)

    can_be_told = False
    cancels = OpenAIBatches.cancel
    monkeypatch.setattr(OpenAIBatches, "cancel", cancel)
    async with stage(context, batch_latency_s=3000.0, batch_window_s=9000.0) as it:
        await it.order(deadline_ms=it.context.clock.now_ms() + 3000)
        await context.redis.sadd(context.keys.recalled, *it.batches)
        await it.rounds(it.given_back)
        await context.redis.delete(*map(context.keys.batch, it.batches))
        it.lane._tender._due_s.clear()
        await it.lane.step()
        can_be_told = True
        await it.rounds(it.over)
        [job] = desk(it.upstream.servers["cloud"]).jobs.values()
        assert job.cancelled_s is not None


async def test_an_order_that_cannot_be_read_for_a_moment_stays_an_order(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgotten, its batches were ordered again."""
    async with stage(context) as it:
        await it.order()

        class Busy:
            def hgetall(self, _: str) -> None: ...

            async def execute(self, **_: Any) -> list[Any]:
                return [ResponseError("BUSY Redis is busy running a script")]

        with monkeypatch.context() as busy:
            busy.setattr(context.redis, "pipeline", lambda **_: Busy())
            with pytest.raises(ResponseError):
                await it.lane._orders.open()
        assert len(await it.lane._orders.open()) == 1
