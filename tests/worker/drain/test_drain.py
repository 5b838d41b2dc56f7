"""One call and what is noted of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from pipelines.settings import parse_settings
from pipelines.types import BatchHead, Item
from worker.backends.exchange import Response
from worker.context import Context, RunContext
from worker.drain.drain import Drain
from worker.drain.running import Prompt, Running
from worker.money.ledger import Ledger

SETTINGS = parse_settings({"targets": {"it": {"kind": "vllm", "model": "m"}}, "routes": {"all": {"targets": ["it"]}}})
BODY = b'{"messages":[{"role":"user","content":"Hi."}],"max_tokens":9}'
ANSWER = msgspec.json.encode({
    "model": "m", "choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3},
})  # fmt: skip


class Noted:
    """A journal that admits everything."""

    def __init__(self) -> None:
        self.intents: list[Any] = []
        self.entries: list[Any] = []

    async def intent(self, _holding: Any, _scopes: Any, intent: Any) -> bool:
        self.intents.append(intent)
        return True

    def append(self, _holding: Any, _scopes: Any, entries: Any, *_money: int) -> None:
        self.entries += entries


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_set_during_a_call_makes_it_no_longer_and_no_shorter(hours: int) -> None:
    redis: Any = None  # nobody asks it
    context = Context(SETTINGS, redis, "")

    async def post(*_told: Any, **_more: Any) -> Response:
        context.clock._offset_us += hours * 3_600_000_000
        return Response(200, {}, ANSWER)

    hot: Any = SimpleNamespace(post=post)
    drain = Drain(context, Ledger(SETTINGS, context.targets), hot, context.clock)
    noted: Any = Noted()
    drain.journal = noted
    head = BatchHead("r.0.0.1", "r", "all", 0, 1, 5, 9, 1.0, 0, 1)
    prompt = Prompt(
        Running(head, 1, "local", "any", RunContext("r", {}, SETTINGS), noted), Item(0, BODY, 5, 9), 0, set()
    )
    prompt.target = "it"
    await drain._attempt(prompt)
    (intent,), (called, done) = noted.intents, noted.entries
    assert done.output == "Hello."
    assert 0 <= called.finished_us - intent.started_us < 60_000_000
    assert 0 <= drain.lanes["it"].latency_s < 60
