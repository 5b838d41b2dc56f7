"""A target's queue while it waits for leave to call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from worker.drain.lane import Lane

TOO_LARGE = 900


class Asked:
    """A prompt, as far as a queue knows one."""

    def __init__(self, tokens: int) -> None:
        self.tokens_to_charge, self.said = tokens, ""

    def give_up(self, code: str, _message: str) -> None:
        self.said = code


class Rates:
    """No minute has room for a prompt of TOO_LARGE tokens; `meanwhile` happens before that is said."""

    limited = True

    def __init__(self, meanwhile: Any) -> None:
        self.meanwhile = meanwhile

    async def admit(self, tokens: Sequence[int]) -> tuple[int, float]:
        if tokens[0] < TOO_LARGE:
            return len(tokens), 0.0
        self.meanwhile()
        return -1, 0.0


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_only_the_prompt_that_no_minute_has_room_for_ends_by_it(withdrawn: bool) -> None:
    large, small = Asked(TOO_LARGE), Asked(1)

    async def call(prompt: Any) -> None:
        prompt.said = "called"

    rates: Any = Rates(lambda: lane.withdraw(lambda prompt: withdrawn and prompt is large))
    slots: Any = SimpleNamespace(granted=1, aim=1)
    lane = Lane("it", 1, slots, rates, call)
    prompts: Any = (large, small)
    for prompt in prompts:
        lane.submit(prompt)
    keeping = asyncio.create_task(lane._keep_allowance())
    async with asyncio.timeout(5):
        while not small.said:
            await asyncio.sleep(0.001)
    keeping.cancel()
    assert (large.said, small.said) == ("" if withdrawn else "rate_impossible", "called")
