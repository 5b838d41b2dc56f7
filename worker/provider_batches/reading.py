"""From what a provider says of an order's lines to journals, ledger and budgets; then its batches leave the lane.

Each line is settled once: what a journal knows already is passed over, so reading the same results again changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Sequence
from heapq import nlargest

from pipelines import truth, wire
from pipelines.learn import Answers, Length, believed, tell
from pipelines.types import Called, Completion, Entry, Failure, Intent, Late
from worker.backends import load
from worker.backends.absent import blamed
from worker.backends.batching import NotRun, Remote, Results
from worker.backends.exchange import Response
from worker.context import Context, RunContext
from worker.drain.journal import Journal
from worker.drain.verdict import Prompted, booked, called, judge
from worker.money.ledger import Ledger
from worker.provider_batches.making import LANE, custom_id
from worker.provider_batches.orders import Order, Orders, Part
from worker.targets import CLOSING

log = logging.getLogger("spillway.provider_batches")

MOST_RETURNS = 3
"""A batch that came back so often without all its answers is asked in real time."""
LOST = Failure("unknown", "lost", "the provider's batch ended, and said nothing of this line")

Outcome = Response | Failure
Outcomes = Callable[[Part, int], Outcome]
"""What became of a row of a part: an answer or an error as of a call, or that it was never run."""
UNRUN = "overload"
"""The kind of such a Failure: not paid, and not held against its prompt."""


def unrun(code: str) -> Failure:
    """A line that was never executed."""
    return Failure(UNRUN, code, "the provider's batch ended before this line was run")


def outcomes_of(order: Order, parts: Sequence[Part], remote: Remote, results: Results) -> Outcomes:
    """By id; of two that have the same the one with an answer, which is what was paid. A line of which nothing is said was not run
    where the batch ended early, but for as many, the dearest, as answers are missing; else, or where lines could not be read and
    nobody says how many were answered, it may have been paid."""
    said: dict[str, Response | NotRun] = dict(sorted(results.lines, key=lambda line: _is_answer(line[1])))
    early = bool(remote.code) and not (results.unreadable and not remote.answered)
    lost = _dearest(order, parts, said, remote.answered - _answered(results)) if early else set[str]()

    def outcome(part: Part, row: int) -> Outcome:
        name = custom_id(order.tag, part.number, row)
        if (found := said.get(name)) is None:
            return LOST if not early or name in lost else unrun(remote.code)
        return unrun(found.code) if isinstance(found, NotRun) else found

    return outcome


def _dearest(order: Order, parts: Sequence[Part], said: Container[str], count: int) -> set[str]:
    """So many of the lines that are out and of which nothing is said, those that may have cost most."""
    if count <= 0:
        return set()
    out = [
        (intent.bound_pusd, custom_id(order.tag, part.number, row))
        for part in parts
        for row, intent in part.out.items()
    ]
    return {name for _, name in nlargest(count, (line for line in out if line[1] not in said))}


def _is_answer(outcome: Response | NotRun) -> bool:
    return isinstance(outcome, Response) and 200 <= outcome.status < 300


def lacks(order: Order, remote: Remote, results: Results) -> bool:
    """Whether lines of an order are missing that may be there when its results are read again. One that ended early may have none,
    where its provider does not say that it has."""
    names = {line.custom_id for line in results.lines if line.custom_id.startswith(f"{order.tag}-")}
    return (bool(names or not remote.code) and len(names) < order.lines) or _answered(results) < remote.answered


def _answered(results: Results) -> int:
    return len({line.custom_id for line in results.lines if _is_answer(line.outcome)})


class Reader:
    """Settles orders."""

    def __init__(
        self, context: Context, ledger: Ledger, journal: Journal, orders: Orders, lengths: dict[str, Length]
    ) -> None:
        """`lengths`: where the heartbeat finds how long whole batches' answers were."""
        self._context, self._ledger, self._journal, self._orders = context, ledger, journal, orders
        self._lengths = lengths

    async def settle(
        self, order: Order, parts: Sequence[Part], outcomes: Outcomes, *, ran: bool = True, real_time: bool = False
    ) -> list[Failure]:
        """Books every line that is out and gives the batches back; the failures that concern the target itself (funds, keys).
        `ran`: the provider was at it, so a batch that comes back unanswered has had a chance."""
        run = await self._context.run(order.about.run)
        troubles: list[Failure] = []
        for part in parts:
            answers = Answers()
            for row, intent in part.out.items():
                parsed = self._book(order, part, run, intent, outcomes(part, row))
                if isinstance(parsed, Completion) and (item := part.items.get(row)) is not None:
                    target = self._context.settings.targets[intent.target]
                    answers.answer(believed(parsed, item, target)[1])
                elif isinstance(parsed, Failure) and parsed.kind in CLOSING:
                    troubles.append(parsed)
            tell(self._lengths, part.head, answers)
            await self._journal.drained()
            await self.release(part, ran=ran, real_time=real_time)
        return troubles

    async def undo(self, order: Order, parts: Sequence[Part], code: str, *, real_time: bool = False) -> None:
        """An order of which nothing was run: its money is free again, its batches wait."""
        await self.settle(order, parts, lambda _part, _row: unrun(code), ran=False, real_time=real_time)
        await self._orders.end(order)

    def _book(
        self, order: Order, part: Part, run: RunContext, intent: Intent, outcome: Outcome
    ) -> Completion | Failure:
        """One line: its call, and its prompt's end if it has one; what came of it."""
        call, parsed = self.called(part, intent, outcome)
        self._ledger.note(intent.target, call.cost_pusd)
        entries: list[Entry] = [call]
        if isinstance(parsed, Completion):
            asked = Prompted(intent.row, part.state.attempts(intent.row), intent.started_us)
            status, body = (outcome.status, outcome.body) if isinstance(outcome, Response) else (None, None)
            done, _ = judge(run, asked, parsed, call, status, body)
            call = booked(call, done)
            entries = [call]
            if done is not None:
                entries.append(done)
                part.state.done[intent.row] = done
                run.count_done(LANE, done.status)
        elif (item := part.items.get(intent.row)) is not None:
            self._context.targets.refused(intent.target, parsed, item.body)
        part.state.called[call.call] = call
        run.count_call(LANE, call)
        self._journal.append(part, order.about.scopes, entries, intent.bound_pusd, call.cost_pusd)
        return parsed

    def called(self, part: Part, intent: Intent, outcome: Outcome) -> tuple[Called, Completion | Failure]:
        """A line as a call of the ledger, and what its answer or error means."""
        parsed = outcome if isinstance(outcome, Failure) else self._parsed(intent.target, outcome)
        if (item := part.items.get(intent.row)) is not None:
            parsed = blamed(parsed, item.body)
            parsed = (truth.too_few(item, parsed) if isinstance(parsed, Completion) else None) or parsed
        facts = self._ledger.charge(intent.target, parsed, 0.0, intent.bound_pusd, part.head.route, batch=True)
        return called(intent, facts, parsed, part.head.purpose, self._context.clock.now_us()), parsed

    def _parsed(self, name: str, outcome: Response) -> Completion | Failure:
        target = self._context.settings.targets[name]
        return load(target.kind).parse(target, outcome)

    async def release(self, part: Part, *, ran: bool = False, real_time: bool = False) -> None:
        """Drained when every prompt has ended; else back to waiting, for real time if the provider had its say or has had it
        often enough."""
        if part.fenced.is_set():
            return
        over = not (left := sum(row not in part.state.done for row in part.items))
        noted = {"left": left}
        if not over:
            noted["returns"] = returns = part.returns + int(ran)  # nobody else counts while it is ours
            if real_time or returns >= MOST_RETURNS or _was_answered(part):
                noted["real_time"] = 1
        back = self._orders.give_back(
            part.id, part.epoch, part.head, "drained" if over else "waiting", part.lanes, holder=self._context.owner,
            refused_nusd=part.refused_nusd, noted=noted,
        )  # fmt: skip
        if not await back:
            log.warning("batch %s was taken over; nothing published", part.id)

    async def late(self, parts: Sequence[Part], outcomes: Outcomes) -> None:
        """Results of an order that was let go: into the ledger, as long as their batches are there."""
        keys = self._context.keys
        for part in parts:
            said: list[Entry] = [
                Late(self.called(part, intent, outcomes(part, row))[0]) for row, intent in part.out.items()
            ]
            if said:
                names = [keys.batch(part.id), keys.journal(part.id)]
                await self._context.scripts.late(keys=names, args=[wire.pack_entries(said)])


def _was_answered(part: Part) -> bool:
    """Whether a prompt that is left was run by this order: more of the same will not help it."""
    mine = f"{part.id}:{part.epoch}:"
    left = [call for call, intent in part.state.intents.items() if intent.row not in part.state.done]
    return any(call.startswith(mine) and _ran(part.state.called.get(call)) for call in left)


def _ran(call: Called | None) -> bool:
    return call is not None and (call.outcome != "rejected" or call.failure != UNRUN)
