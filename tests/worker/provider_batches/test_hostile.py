"""What the lane makes of rows of any form, and of failures in our own code: they stop nobody else, and end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.worker.provider_batches.stage import ALL, ROWS, stage
from worker.backends.openai_batches import OpenAIBatches
from worker.context import Context

HOSTILE: dict[str, list[dict[str, Any]]] = {
    "anthropic": [
        {"role": "assistant", "content": "a", "tool_calls": 7},
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "data:text/plain;base64,AAAAA"}}]},
    ],
    "gemini": [
        {"role": "assistant", "content": "a", "tool_calls": [{"function": "f"}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": "x"}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://[x/y.png"}}]},
    ],
}
"""Messages that prepare takes, and that no server of this kind can be told."""


@pytest.mark.parametrize("kind", HOSTILE)
async def test_rows_of_any_form_go_on_alone(context: Context, kind: str) -> None:
    """One stopped the lane for every tenant, every few seconds again."""
    bodies = {row: {"messages": [{"role": "user", "content": "hi"}, said]} for row, said in enumerate(HOSTILE[kind])}
    async with stage(context, kind) as it:
        await it.prepare(bodies=bodies)
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS - len(bodies)}, "no call of theirs is in the ledger"
        [again] = await it.give()
        await it.rounds(it.over)
        assert await context.redis.hget(context.keys.batch(again), "real_time") == b"1"


@pytest.mark.parametrize("field", ["payload", "returns"])
async def test_a_batch_that_cannot_be_read_costs_no_other_its_answers(context: Context, field: str) -> None:
    """The lines behind it were named by another place than they were read back by: lost, and paid twice."""
    async with stage(context) as it:
        await it.prepare()
        await it.give()
        torn, whole = it.batches
        await context.redis.hset(context.keys.batch(torn), field, "torn")
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS // 2} and await it.state(whole) == "drained"
        assert await it.answers() == {row: text for row, text in ALL.items() if row >= ROWS // 2}
        assert await it.booked_pusd() == it.billed_pusd() > 0


async def test_what_our_own_code_cannot_order_is_asked_in_real_time_and_stops_nobody_else(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(context) as it:
        await it.prepare()
        bad, good = it.batches
        await it.give(good)
        await it.rounds(it.out)

        async def stages(*_: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(OpenAIBatches, "stage", stages)
        await it.give(bad)
        await it.rounds(it.over)
        assert [await it.state(batch) for batch in (bad, good)] == ["waiting", "drained"]
        assert await it.outcomes() == {"ok": ROWS // 2, "rejected": ROWS // 2}, "not again and again"
        assert await context.redis.hget(context.keys.batch(bad), "real_time") == b"1"
        assert (await it.money())[1] == 0
