"""Orders whose request was given up: they appear at their provider later, or never; nothing is bought twice."""

from __future__ import annotations

import asyncio

import pytest

from tests.worker.provider_batches.stage import ALL, KINDS, ROWS, _quick, stage  # noqa: F401 - a fixture for this module
from worker.backends.anthropic_batches import AnthropicBatches
from worker.backends.openai_batches import OpenAIBatches
from worker.context import Context
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
