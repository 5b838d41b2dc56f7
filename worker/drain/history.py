"""What a prompt has been through in earlier lives of its batch, and how long it waits before the next try; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import random

from pipelines.config.sections import Target
from pipelines.journal import State
from pipelines.truth import DOUBT
from pipelines.types import Called, Failure

At = tuple[int, str]  # a row at a target
CHECK_TRIES = 2
"""An answer that fails its check is asked for once more, then the prompt goes on."""
FINAL = frozenset({"invalid", "context", DOUBT})
"""What a target says of the prompt itself; all other trouble is the target's, and passes."""

SAID = {
    "check_failed": "its answers failed the check (--labels or --schema)",
    "not_json": "its answers were no JSON; is base_url right?",
    "lost": "its answers were lost on the way",
}
"""In words, the codes of calls whose own message no journal keeps."""

MAX_ERRORS = 12
"""Errors of a target, none of them paid, that a prompt meets in all lives of its batch before it goes on."""


def paid_most(targets: Mapping[str, Target]) -> Callable[[str], int]:
    """How many calls that may have been paid a prompt may have at a target; one that the configuration names no more has
    had its say."""
    return lambda name: targets[name].max_paid_attempts if name in targets else 1


def history_of(state: State, most_paid: Callable[[str], int], since_us: int = 0) -> dict[int, tuple[int, set[str]]]:
    """Per row: attempts so far, and the targets that had their say in an earlier life of the batch.

    What may have been paid counts against a prompt; errors that cost nothing are mostly the target's trouble, so an
    outage of it uses up no prompt, but a prompt that only ever meets errors ends some day. What a target said before
    `since_us`, when somebody started the run again, is tried anew; only calls that may have been paid still count.
    """
    seen: dict[int, tuple[int, set[str]]] = {}
    checks, paid, errors = Counter[At](), Counter[At](), Counter[At]()
    for call, intent in state.intents.items():
        attempts, given_up = seen.setdefault(intent.row, (0, set()))
        called = state.called.get(call)
        at = (intent.row, intent.target)
        if called is None or _may_be_paid(called):
            paid[at] += 1
        elif intent.started_us >= since_us:
            checks[at] += called.outcome == "ok" and called.error_code is not None  # without one it only came late
            errors[at] += called.outcome == "error" and called.http_status is not None
            if called.failure in FINAL:
                given_up.add(intent.target)
        if paid[at] >= most_paid(intent.target) or errors[at] >= MAX_ERRORS or checks[at] >= CHECK_TRIES:
            given_up.add(intent.target)
        seen[intent.row] = (attempts + 1, given_up)
    return seen


def _may_be_paid(called: Called) -> bool:
    """A call that brought no answer and for which somebody may have been paid."""
    broken = called.outcome == "ok" and called.failure not in (None, *FINAL)  # empty, or broken off, with its usage
    lost = called.outcome == "lost" and called.failure != "late"  # we gave that up; its target did not fail
    return lost or called.error_code == "not_json" or broken


def last_failure(state: State, row: int) -> Failure | None:
    """What the newest call of a row came to, if that was no answer."""
    calls = [call for call, intent in state.intents.items() if intent.row == row]
    called = state.called.get(calls[-1]) if calls else None
    if called is None or called.error_code is None:
        return None
    target = state.intents[calls[-1]].target
    said = SAID.get(called.error_code, called.error_code)
    return Failure(called.failure or "unknown", called.error_code, f"{target}: {said}", called.http_status)


def backoff_s(tries: int) -> float:
    return min(0.5 * 2.0 ** (tries - 1), 8.0) * (1 - 0.25 * random())
