"""Questions asked at once are asked in one step, each gets its own answer, and a failure is everybody's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from producer import together
from producer.together import Together


async def test_what_comes_in_together_or_meanwhile_is_asked_together() -> None:
    steps: list[list[int]] = []

    async def double(questions: list[int]) -> list[int]:
        steps.append(questions)
        await asyncio.sleep(0.01)
        return [2 * each for each in questions]

    asked = Together(double)
    first = [asyncio.create_task(asked.ask(n)) for n in range(3)]
    await asyncio.sleep(0.005)
    later = [asyncio.create_task(asked.ask(n)) for n in range(3, 6)]
    assert await asyncio.gather(*first, *later) == [0, 2, 4, 6, 8, 10]
    assert steps == [[0, 1, 2], [3, 4, 5]]
    assert await asked.ask(9) == 18, "after a rest too"


async def test_what_is_asked_soon_after_a_step_waits_for_more_and_what_is_asked_later_does_not(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr(together, "APART_S", 0.3)
    steps: list[list[int]] = []

    async def answer(questions: list[int]) -> list[int]:
        steps.append(questions)
        return questions

    asked = Together(answer)
    loop = asyncio.get_running_loop()
    since_s = loop.time()
    assert await asked.ask(1) == 1
    soon = [asyncio.create_task(asked.ask(2))]
    await asyncio.sleep(0.05)
    soon.append(asyncio.create_task(asked.ask(3)))
    await asyncio.gather(*soon)
    assert steps == [[1], [2, 3]] and loop.time() - since_s >= 0.3
    await asyncio.sleep(0.3)
    since_s = loop.time()
    await asked.ask(4)
    assert loop.time() - since_s < 0.25, "nobody was asked just before"


async def test_a_failure_reaches_everybody_who_asked_and_nobody_later() -> None:
    fails = [True]

    async def answer(questions: list[int]) -> list[int]:
        if fails.pop():
            raise OSError("gone")
        return questions

    asked = Together(answer)
    told = await asyncio.gather(asked.ask(1), asked.ask(2), return_exceptions=True)
    assert [type(each) for each in told] == [OSError, OSError]
    fails.append(False)
    assert await asked.ask(3) == 3


async def test_who_goes_away_keeps_nobody_from_an_answer() -> None:
    started = asyncio.Event()

    async def slow(questions: list[int]) -> list[int]:
        started.set()
        await asyncio.sleep(0.01)
        return questions

    asked = Together(slow)
    gone, stays = asyncio.create_task(asked.ask(1)), asyncio.create_task(asked.ask(2))
    await started.wait()
    gone.cancel()
    assert await stays == 2
    with pytest.raises(asyncio.CancelledError):
        await gone
