"""Results of an order as providers should not give them: cut off, said twice, with lines of nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from tests.worker.provider_batches.stage import ALL, ROWS, RUN, stage
from worker.backends.batching import NotRun, Result, Results
from worker.backends.exchange import Response
from worker.backends.gemini_batches import GeminiBatches
from worker.backends.openai_batches import OpenAIBatches
from worker.context import Context
from worker.simulator.core.batches import desk

Spoil = Callable[[list[Result]], Results]


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Results as each of some functions makes them of what the provider said, read by read; the last one's from then on."""
    whole = {api: api.results for api in (OpenAIBatches, GeminiBatches)}

    def by(*spoil: Spoil) -> None:
        left = list(spoil)

        async def results(self: Any, *args: Any) -> Results:
            found = await whole[type(self)](self, *args)
            assert isinstance(found, Results)
            return (left.pop(0) if len(left) > 1 else left[0])(found.lines)

        for api in whole:
            monkeypatch.setattr(api, "results", results)

    return by


def within_a_line(lines: list[Result]) -> Results:
    return Results(lines[:5], 1)


def between_lines(lines: list[Result]) -> Results:
    return Results(lines[:5])


@pytest.mark.parametrize("cut", [within_a_line, between_lines])
async def test_results_that_lack_lines_are_read_again_before_anything_is_lost(
    context: Context, spoilt: Callable[..., None], cut: Spoil
) -> None:
    """A file that was cut off on its way was taken as it was: the rest was booked as lost, and bought again."""
    spoilt(cut, cut, Results)
    async with stage(context) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS} and await it.answers() == ALL
        assert await it.booked_pusd() == it.billed_pusd()


async def test_results_that_go_on_lacking_lines_are_taken_as_they_are(
    context: Context, spoilt: Callable[..., None]
) -> None:
    spoilt(between_lines)
    async with stage(context) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": 5, "lost": ROWS - 5}


@pytest.mark.parametrize("order", [1, -1], ids=["errors first", "answers first"])
async def test_of_two_lines_of_one_name_the_answer_counts_which_was_paid(
    context: Context, spoilt: Callable[..., None], order: int
) -> None:
    """An error behind its answer was believed: the row was bought again, and the ledger was less than the bill."""

    def twice(lines: list[Result]) -> Results:
        odd: Sequence[Response | NotRun] = (Response(500, {}, b"{}"), NotRun("batch_expired"))
        again = [Result(line.custom_id, outcome) for line, outcome in zip(lines, odd, strict=False)]
        return Results([*again, Result("nobody-0-1", lines[0].outcome), *lines][::order])

    spoilt(twice)
    async with stage(context) as it:
        await it.prepare()
        await it.give()
        await it.rounds(it.over)
        assert await it.outcomes() == {"ok": ROWS} and await it.answers() == ALL
        assert await it.booked_pusd() == it.billed_pusd()


def none(lines: list[Result]) -> Results:
    return Results([])


@pytest.mark.parametrize("kind", ["openai", "gemini"])
@pytest.mark.parametrize("cut", [none, between_lines])
@pytest.mark.parametrize("for_ever", [False, True])
async def test_answers_that_a_cancelled_batch_has_and_does_not_give_were_paid(
    context: Context, spoilt: Callable[..., None], kind: str, cut: Spoil, for_ever: bool
) -> None:
    """Its file was not there yet when it was said to be cancelled: what was not in it counted as never run; or, where it never came, all
    lines of the batch as paid, at their upper bounds."""
    spoilt(*([cut] if for_ever else [cut, cut, Results]))
    async with stage(context, kind, batch_latency_s=3000.0, batch_window_s=9000.0) as it:
        await it.order()
        its = desk(it.upstream.servers["cloud"])
        [job], now_s = its.jobs.values(), its.now_s()
        job.timing = msgspec.structs.replace(job.timing, starts_s=now_s - 850, worked_s=now_s + 350)  # of 12 lines 8
        await context.redis.hset(context.keys.run(RUN), "cancel", "1")
        await it.rounds(it.over)
        done = sum(1 for _ in it.upstream.bill.calls())
        assert done == 8 and await it.booked_pusd() >= it.billed_pusd() > 0
        if for_ever:
            outcomes = await it.outcomes()
            assert outcomes.get("ok", 0) + outcomes["lost"] == done == ROWS - outcomes["rejected"]
        else:
            assert await it.outcomes() == {"ok": done, "rejected": ROWS - done}
            assert await it.booked_pusd() == it.billed_pusd()
