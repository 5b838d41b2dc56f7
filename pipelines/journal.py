"""Reads what happened to a batch's prompts, as the worker appended it; a journal may say things twice."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipelines.types import Called, Done, Entry, Intent, Late, Usage


class State(msgspec.Struct):
    """A journal, folded: what is known of each call and each row."""

    intents: dict[str, Intent]
    called: dict[str, Called]
    late: set[str]
    done: dict[int, Done]

    def attempts(self, row: int) -> int:
        return sum(1 for intent in self.intents.values() if intent.row == row)

    def lost(self) -> list[Intent]:
        return [intent for call, intent in self.intents.items() if call not in self.called]


def fold(entries: Iterable[Entry]) -> State:
    """Reads a journal; saying a thing twice changes nothing, the first outcome of a call or row stands."""
    state = State({}, {}, set(), {})
    for entry in entries:
        if isinstance(entry, Intent):
            state.intents.setdefault(entry.call, entry)
        elif isinstance(entry, Called):
            state.called.setdefault(entry.call, entry)
        elif isinstance(entry, Late):
            if entry.called.call not in state.called:
                state.called[entry.called.call] = entry.called
                state.late.add(entry.called.call)
        else:
            state.done.setdefault(entry.row, entry)
    return state


def lost_call(intent: Intent) -> Called:
    """The ledger's view of a call of which nothing more was heard."""
    return Called(
        call=intent.call,
        outcome="lost",
        http_status=None,
        error_code="lost",
        usage=Usage(),
        cost_pusd=intent.bound_pusd,
        cost_basis="upper_bound",
        model=None,
        price_id="",
        price_as_of="",
        avoided_pusd=0,
        avoided_cause=None,
        finished_us=intent.started_us,
    )
