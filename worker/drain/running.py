"""What runs in this process: a claimed batch and its prompts, with what each has been through; no decision is made here."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import TypeVar

from pipelines import wire
from pipelines.journal import State
from pipelines.learn import Answers
from pipelines.types import BatchHead, Done, Failure, Item
from worker.context import RunContext
from worker.drain.history import history_of, last_failure
from worker.drain.journal import Journal

log = logging.getLogger("spillway.drain")

MOST_CALLS = 100_000
"""Of one claim; a batch has a few hundred prompts."""


def numbering() -> int:
    """Where a claim begins to number its calls. A Redis that forgets a claim gives the same batch and epoch to another, and
    each call must have a name of its own in the ledger, whoever made it."""
    return secrets.randbelow(1_000_000) * MOST_CALLS


class Prompt:
    """One prompt of a batch that runs here."""

    __slots__ = (
        "attempts",
        "batch",
        "checks",
        "first_us",
        "given_up",
        "item",
        "last",
        "late",
        "paid",
        "passed",
        "refusals",
        "target",
        "waits",
    )

    def __init__(self, batch: Running, item: Item, attempts: int, given_up: set[str]) -> None:
        self.batch, self.item = batch, item
        self.attempts, self.given_up = attempts, given_up
        self.paid: dict[str, int] = {}
        self.checks: dict[str, int] = {}
        self.passed: set[str] = set()
        self.refusals: dict[str, Failure] = {}
        self.waits = 0
        self.target = ""
        self.first_us = 0
        self.last: Failure | None = None
        self.late = False
        """Its batch is on the local lane, and it must be bought after all, to be in time."""

    @property
    def lane(self) -> str:
        """Where it is asked."""
        return "cloud" if self.late else self.batch.lane

    def refused(self, name: str, failure: Failure) -> None:
        """A target that was not called, since it can never answer this."""
        self.given_up.add(name)
        self.refusals[name] = self.last = failure

    def give_up(self, code: str, message: str) -> None:
        """For failures outside a call: the prompt ends `failed`."""
        self.last = Failure("invalid", code, message)
        self.batch.finish_failed(self)


T = TypeVar("T")


def kept(step: Callable[[T, Prompt], None]) -> Callable[[T, Prompt], None]:
    """A step of a prompt's way: should our own code fail in it, the prompt ends, and is not lost."""

    @wraps(step)
    def guarded(at: T, prompt: Prompt) -> None:
        try:
            step(at, prompt)
        except Exception:
            log.exception("batch %s, row %d: our own code failed", prompt.batch.id, prompt.item.row)
            prompt.give_up("internal", "internal error; see the worker's log")

    return guarded


class Running:
    """A claimed batch: what the journal and the lanes must know of it."""

    def __init__(
        self, head: BatchHead, epoch: int, lane: str, lanes: str, run: RunContext, journal: Journal, target: str = ""
    ) -> None:
        """`target`: to which it was rung."""
        self.head, self.epoch, self.lane, self.lanes, self.run, self.target = head, epoch, lane, lanes, run, target
        self.id = head.id
        self.fenced = asyncio.Event()
        self.stopping = False
        self.unresolved: list[Prompt] = []
        self.exhausted: set[str] = set()
        self.open = 0
        self.empty = asyncio.Event()
        self.answers = Answers()
        self._journal = journal
        self._calls, self._refused_nusd = numbering(), dict[str, int]()

    def next_call(self) -> str:
        self._calls += 1
        return wire.call_id(self.id, self.epoch, self._calls)

    def answer(self, prompt: Prompt, output_tokens: int) -> None:
        """How long an answer was, if its own lane has given it; 0: nobody knows."""
        if prompt.lane == self.lane:
            self.answers.answer(output_tokens)

    def ended(self) -> None:
        self.open -= 1
        if self.open <= 0:
            self.empty.set()

    @property
    def refused(self) -> str:
        """For the scheduler: what no budget had room for, and on which lane; the local one, where it was both."""
        refused = sorted(self._refused_nusd.items(), reverse=True)
        return f"{refused[0][1]} {refused[0][0]}" if refused else ""

    @property
    def lanes_left(self) -> str:
        """For the scheduler: the other lane, where one can do no more; as before, where each is still needed."""
        if len(self.exhausted) != 1:
            return self.lanes
        return "cloud" if "local" in self.exhausted else "local"

    def leave(self, prompt: Prompt, *, exhausted: bool = False, refused_nusd: int = 0) -> None:
        """Its lane can do no more for the prompt now, or at all (`exhausted`); `refused_nusd`: what no budget has room for."""
        self.unresolved.append(prompt)
        if refused_nusd:
            self._refused_nusd[prompt.lane] = min(refused_nusd, self._refused_nusd.get(prompt.lane, refused_nusd))
        if exhausted:
            self.exhausted.add(prompt.lane)
        self.ended()

    def finish_failed(self, prompt: Prompt) -> None:
        failure = prompt.last or Failure("unknown", "no_target", "no target could answer")
        said = "; ".join(dict.fromkeys(each.message for each in (*prompt.refusals.values(), failure)))
        now = prompt.first_us
        done = Done(
            prompt.item.row, "failed", None, prompt.attempts, None, None, None, None, failure.code,
            said[:2000], failure.http_status, None, now, now,
        )  # fmt: skip
        self._journal.append(self, (), [done], 0, 0)
        if self.head.purpose == "answer":
            self.run.count(failed=1)
        self.ended()


def prompts_of(
    running: Running, items: Iterable[Item], state: State, most_paid: Callable[[str], int]
) -> Iterator[Prompt]:
    """The prompts of a batch that are left, with what they have been through in its earlier lives."""
    history = history_of(state, most_paid, int(running.run.started_ms or 0) * 1000)
    for item in items:
        attempts, given_up = history.get(item.row, (0, set()))
        prompt = Prompt(running, item, attempts, given_up)
        prompt.last = last_failure(state, item.row) if given_up else None
        yield prompt
