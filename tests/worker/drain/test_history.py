"""What a prompt remembers of its batch's earlier lives: only its own faults and calls that may have been paid count."""

from __future__ import annotations

import pytest

from pipelines.journal import fold
from pipelines.types import Called, Entry, Intent, Usage
from worker.drain.history import history_of, last_failure, paid_most


def intent(number: int) -> Intent:
    return Intent(f"c{number}", 7, number, "gpu", 1, 0)


def called(number: int, outcome: str, failure: str | None, status: int | None, code: str | None = None) -> Called:
    return Called(
        f"c{number}", outcome, status, code, Usage(), 0, "billed", None, "p", "2026-01-01", 0, None, 2, failure
    )


OVERLOAD = ("rejected", "overload", 503)
FAILED_CHECK = ("ok", None, 200, "check_failed")
EMPTY = ("ok", "unknown", 200, "empty_answer")
"""Its usage came with it, so that it is booked as what it cost."""
LOST = ("lost", "unknown", None)


@pytest.mark.parametrize(
    ("outcomes", "given_up"),
    [
        ([("rejected", "invalid", 400)], True),
        ([("rejected", "context", 400)], True),
        ([("rejected", "auth", 401)], False),
        ([("rejected", "funds", 402)], False),
        ([("rejected", "rate", 429)] * 9, False),
        ([OVERLOAD], False),
        ([("lost", "late", None, "too_late")] * 9, False),
        ([OVERLOAD] * 9, False),
        ([("rejected", "overload", 529)] * 9, False),
        ([("rejected", "invalid", 200, "not_json")], False),
        ([("error", "connect", None)] * 9, False),
        ([LOST] * 2, False),
        ([LOST] * 3, True),
        ([("error", "transient", 500)] * 3, False),
        ([("error", "transient", 500)] * 12, True),
        ([FAILED_CHECK], False),
        ([FAILED_CHECK] * 2, True),
        ([("ok", None, 200)] * 2, False),  # good answers that came too late to be published
        ([("ok", "untrue", 200, "prompt_cut")], True),
        ([OVERLOAD, ("error", "connect", None), FAILED_CHECK], False),
        ([OVERLOAD, ("error", "connect", None), EMPTY], False),
        ([EMPTY] * 2, False),
        ([EMPTY, LOST, EMPTY], True),
        ([EMPTY, FAILED_CHECK], False),
    ],
)
def test_only_the_prompts_own_faults_and_paid_calls_count(
    outcomes: list[tuple[str, str | None, int | None]], given_up: bool
) -> None:
    entries: list[Entry] = []
    for number, outcome in enumerate(outcomes, 1):
        entries += [intent(number), called(number, *outcome)]
    attempts, targets = history_of(fold(entries), lambda _: 3)[7]
    assert attempts == len(outcomes)
    assert targets == ({"gpu"} if given_up else set())


def test_a_call_that_was_sent_and_never_heard_of_may_have_been_paid() -> None:
    assert history_of(fold([intent(1), intent(2), intent(3)]), lambda _: 3)[7] == (3, {"gpu"})


def test_a_failure_of_an_earlier_life_is_told_in_words() -> None:
    """The journal keeps the code alone, and the row's end shows what is made of it."""
    entries: list[Entry] = [intent(1), called(1, *FAILED_CHECK)]
    failure = last_failure(fold(entries), 7)
    assert failure is not None and failure.code == "check_failed"
    assert failure.message == "gpu: its answers failed the check (--labels or --schema)"


def test_a_target_that_the_configuration_names_no_more_has_had_its_say() -> None:
    state = fold([intent(1), called(1, *OVERLOAD)])
    assert history_of(state, paid_most({})) == {7: (1, set())}
    assert history_of(fold([intent(1), called(1, *LOST)]), paid_most({})) == {7: (1, {"gpu"})}
