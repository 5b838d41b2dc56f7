"""Results of an order as providers should not give them: cut off, said twice, with lines of nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.worker.provider_batches.stage import ALL, ROWS, _quick, stage  # noqa: F401 - a fixture for this module
from worker.backends.batching import NotRun, Result, Results
from worker.backends.exchange import Response
from worker.backends.openai_batches import OpenAIBatches
from worker.context import Context

Spoil = Callable[[list[Result]], Results]


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Results as each of some functions makes them of what the provider said, read by read; the last one's from then on."""
    whole = OpenAIBatches.results

    def by(*spoil: Spoil) -> None:
        left = list(spoil)

        async def results(*args: Any) -> Results:
            found = await whole(*args)
            assert isinstance(found, Results)
            return (left.pop(0) if len(left) > 1 else left[0])(found.lines)

        monkeypatch.setattr(OpenAIBatches, "results", results)

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
