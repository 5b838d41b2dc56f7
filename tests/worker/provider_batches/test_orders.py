"""Orders of every provider from their making to their end, in one process: what is asked, booked, kept, and found again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worker.provider_batches.stage import ROWS, RUN, _quick, stage  # noqa: F401 - a fixture for this module
from worker.context import Context

KINDS = ("openai", "anthropic", "gemini", "openrouter")
ALL = {row: f"Repeat {row}." for row in range(ROWS)}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_order_is_answered_line_by_line_and_its_ledger_is_the_bill(context: Context, kind: str) -> None:
    async with stage(context, kind) as it:
        await it.prepare()
        assert len(await it.give()) == 2
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS} and await it.answers() == ALL
        assert [await it.state(batch) for batch in it.batches] == ["drained", "drained"]
        assert await it.booked_pusd() == it.billed_pusd() > 0
        spent, reserved = await it.money()
        assert reserved == 0 and 0 <= spent - it.billed_pusd() / 1000 < ROWS, "rounded up call by call"
        [job] = {call.batch for call in it.upstream.bill.calls()}
        assert job is not None, "one order for both batches"
        calls = [call for state in await it.journals() for call in state.called.values()]
        assert {call.avoided_cause for call in calls} == {"provider_batch"}
        assert sum(call.avoided_pusd for call in calls) == it.billed_pusd(), "half the price"
        assert all(
            intent.lane == "provider_batch" for state in await it.journals() for intent in state.intents.values()
        )
        assert not await context.redis.keys("*:order:*")


ENDINGS: list[tuple[dict[str, Any], dict[str, int], bool]] = [
    ({"kind": "expire", "share": 0.5}, {"ok": 6, "rejected": 6}, False),
    ({"kind": "errors"}, {"error": ROWS}, True),
    ({"kind": "fail"}, {"rejected": ROWS}, True),
    ({"kind": "429"}, {"rejected": ROWS}, False),
    ({"kind": "400"}, {"rejected": ROWS}, False),
    ({"kind": "401"}, {"rejected": ROWS}, False),
    ({"kind": "lost_create"}, {"ok": ROWS}, False),
    ({"kind": "500"}, {"rejected": ROWS}, False),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rule", "outcomes", "real_time"), ENDINGS, ids=[rule["kind"] for rule, _, _ in ENDINGS])
async def test_what_ends_otherwise_is_booked_as_it_was_and_waits(
    context: Context, kind: str, rule: dict[str, Any], outcomes: dict[str, int], real_time: bool
) -> None:
    window = {"batch_window_s": 0.4} if rule["kind"] == "expire" else {}
    async with stage(context, kind, batch_faults=[{**rule, "at": 1}], **window) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == outcomes
        assert await it.booked_pusd() == it.billed_pusd()
        assert (await it.money())[1] == 0
        assert {await it.state(batch) for batch in it.batches} == (
            {"drained"} if outcomes == {"ok": ROWS} else {"waiting"}
        )
        flags = [await context.redis.hget(context.keys.batch(batch), "real_time") for batch in it.batches]
        assert all(bool(flag) == real_time for flag in flags)
        known = it.context.targets.states["cloud"]
        assert bool(known.get("closed")) == (rule["kind"] == "401")
        assert bool(known.get("batch_full_ms")) == (rule["kind"] == "429")
        assert bool(known.get("batch_off_ms")) == (rule["kind"] == "400")
        if await it.give():  # again: the rest, and only that
            await it.rounds(it.over)
            assert await it.answers() == ALL and await it.booked_pusd() == it.billed_pusd()
        assert RUN in it.batches[0]
