"""Questions asked at once are asked in one step, each gets its own answer, and a failure is everybody's."""

from __future__ import annotations

import asyncio

import pytest

from producer.together import Together


async def test_what_comes_in_together_or_meanwhile_is_asked_together() -> None:
    steps: list[list[int]] = []

    async def double(questions: list[int]) -> list[int]:
        steps.append(questions)
        await asyncio.sleep(0.01)
        return [2 * each for each in questions]

    together = Together(double)
    first = [asyncio.create_task(together.ask(n)) for n in range(3)]
    await asyncio.sleep(0.005)
    later = [asyncio.create_task(together.ask(n)) for n in range(3, 6)]
    assert await asyncio.gather(*first, *later) == [0, 2, 4, 6, 8, 10]
    assert steps == [[0, 1, 2], [3, 4, 5]]
    assert await together.ask(9) == 18, "after a rest too"


async def test_a_failure_reaches_everybody_who_asked_and_nobody_later() -> None:
    fails = [True]

    async def answer(questions: list[int]) -> list[int]:
        if fails.pop():
            raise OSError("gone")
        return questions

    together = Together(answer)
    asked = await asyncio.gather(together.ask(1), together.ask(2), return_exceptions=True)
    assert [type(each) for each in asked] == [OSError, OSError]
    fails.append(False)
    assert await together.ask(3) == 3


async def test_who_goes_away_keeps_nobody_from_an_answer() -> None:
    started = asyncio.Event()

    async def slow(questions: list[int]) -> list[int]:
        started.set()
        await asyncio.sleep(0.01)
        return questions

    together = Together(slow)
    gone, stays = asyncio.create_task(together.ask(1)), asyncio.create_task(together.ask(2))
    await started.wait()
    gone.cancel()
    assert await stays == 2
    with pytest.raises(asyncio.CancelledError):
        await gone
