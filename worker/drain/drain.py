"""Runs a batch on its lane: claim, call, check, journal, next; then drained, or back to waiting with its journal.

Read top to bottom: `Drain.run_batch` is the way of a batch (claims.py is how it comes and goes), `Drain._attempt` the way of one
call, `Drain._decide` what an outcome means for its prompt (where it was no answer, setbacks.py). Every outcome is a value. Which
lane a batch goes to is plan's matter.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from random import shuffle
from typing import TYPE_CHECKING, Any

from pipelines.batch import output_estimate
from pipelines.learn import Length, believed
from pipelines.money import pusd_to_nusd_ceil
from pipelines.types import Called, Completion, Failure, Intent
from worker.backends import load
from worker.backends.absent import blamed
from worker.backends.exchange import Response as HttpResponse
from worker.clock import Clock
from worker.context import Context
from worker.drain import verdict
from worker.drain.asking import Asking
from worker.drain.claims import claim, release
from worker.drain.journal import Journal
from worker.drain.lane import Lane
from worker.drain.local import Local
from worker.drain.rates import Rates
from worker.drain.rescue import Rescue
from worker.drain.running import Prompt, Running, kept
from worker.drain.setbacks import Setbacks
from worker.drain.slots import Slots
from worker.drain.standing import Standing
from worker.drain.verdict import Prompted, booked, judge
from worker.money.ledger import Ledger

if TYPE_CHECKING:
    from worker.backends.hot import Hot

log = logging.getLogger("spillway.drain")

STRANGE_S = 1.0
"""A batch for which this worker's configuration has no target goes back after this: another's may, or the lane is gone."""


class Drain:
    """All batches that this process runs, over its lanes."""

    def __init__(self, context: Context, ledger: Ledger, hot: Hot, clock: Clock) -> None:
        self.context, self.ledger, self.clock, self._hot = context, ledger, clock, hot
        self.journal = Journal(context.redis, context.keys, context.scripts, context.owner, context.again)
        self.lanes: dict[str, Lane] = {}
        self.running: dict[str, Running] = {}
        self.stopping = False
        self.lengths: dict[str, Length] = {}
        self.standing = Standing(context, self.lanes, self.reroute)
        self._local = Local(context.targets, context.settings.targets)
        self._asking = Asking(context.settings.targets, context.targets, self._local, ledger)
        self._setbacks = Setbacks(context, self.lanes, self.standing, self._asking, self._route)
        self.rescue = Rescue(context, self.lanes, self.running, self._route, self._asking, ledger)
        for name, target in context.settings.targets.items():
            slots = Slots(context.scripts, context.keys, name, context.owner)
            rates = Rates(context.scripts, context.keys, name, target, partial(context.targets.steady_rpm, name))
            own = target.lane == "local"
            self.lanes[name] = Lane(name, context.targets.cap(name), slots, rates, self._attempt, own=own)

    # -- a batch ---------------------------------------------------------------------------------------------------

    async def run_batch(self, batch_id: str, epoch: int) -> None:
        """The ARQ job: everything that can be done for this batch on its lane, once."""
        if batch_id in self.running:
            return  # ARQ rang again after a pause of ours; its calls are still here
        claimed = await claim(self.context, self.journal, batch_id, epoch)
        if claimed is None:
            return
        running, prompts = claimed
        await self._begin(running, prompts)
        self.running[batch_id] = running
        try:
            await running.empty.wait()
            await self.journal.drained()
            await release(self.context, running, self.lengths)
        finally:
            self.running.pop(batch_id, None)

    async def _begin(self, running: Running, prompts: list[Prompt]) -> None:
        """Its prompts set out; none of a run that was stopped, or where no target of its lane is."""
        here = self.context.targets.route_targets(running.head.route, running.lane)
        await self.standing.ask(here)
        if not here:
            log.warning(
                "batch %s: no %s target of route %s here; given back", running.id, running.lane, running.head.route
            )
            await asyncio.sleep(STRANGE_S)
        running.stopping = running.run.stopped or not here
        if not prompts:
            running.empty.set()
        if any(lane.trial for lane in self.lanes.values()):
            shuffle(prompts)  # so that the calls which try a target that was down do not fall on the same ones
        for prompt in prompts:
            self._route(prompt)

    async def close(self) -> None:
        """Lets go of every connection."""
        await self._hot.close()

    def stop_batch(self, running: Running) -> None:
        """No new call for this batch (cancel, fence, SIGTERM); calls in flight end."""
        running.stopping = True
        for lane in self.lanes.values():
            for prompt in lane.withdraw(lambda prompt: prompt.batch is running):
                running.leave(prompt)

    # -- a prompt --------------------------------------------------------------------------------------------------

    @kept
    def _route(self, prompt: Prompt) -> None:
        """To the target it was rung to, else the first of the lane that is up and has not given up on it; else back, or the end."""
        batch = prompt.batch
        if batch.stopping or self.stopping or batch.fenced.is_set():
            batch.leave(prompt)
            return
        here = self.context.targets.route_targets(batch.head.route, prompt.lane)
        for name in sorted(here, key=lambda name: name != batch.target):
            if name not in prompt.given_up and name not in prompt.passed and self.lanes[name].up:
                if self._asking.too_large(name, prompt):
                    continue
                prompt.target = name
                self.lanes[name].submit(prompt)
                return
        if any(name not in prompt.given_up for name in here):
            batch.leave(prompt)  # a target is down or overloaded, not the prompt's fault
            return
        other = "cloud" if prompt.lane == "local" else "local"
        others = self.context.targets.route_targets(batch.head.route, other) if batch.lanes != "none" else []
        if any(name not in prompt.given_up and self._asking.may(name, prompt) for name in others):
            batch.leave(prompt, exhausted=True)
        else:
            batch.finish_failed(prompt)

    async def _attempt(self, prompt: Prompt) -> None:
        """One call, from intent to outcome."""
        batch, item, name = prompt.batch, prompt.item, prompt.target
        if batch.stopping or self.stopping or batch.fenced.is_set():
            batch.leave(prompt)
            return
        ready = self._asking.ready(name, prompt)
        if isinstance(ready, Failure):
            if ready.kind == "auth":
                self.standing.closed(name, ready)
            else:
                prompt.refused(name, ready)
            self._route(prompt)
            return
        target, (url, headers, body), bound = ready
        started_us, began_s = self.clock.now_us(), time.monotonic()
        prompt.first_us = prompt.first_us or started_us
        intent = Intent(batch.next_call(), item.row, prompt.attempts + 1, name, started_us, bound)
        scopes = batch.run.scopes(self.clock) if bound else ()
        if not await self.journal.intent(batch, scopes, intent):
            batch.leave(prompt, refused_nusd=0 if batch.fenced.is_set() else pusd_to_nusd_ceil(bound))
            return
        prompt.attempts += 1
        patience_s = self._local.patience_s(name, item)
        lane = self.lanes[name]
        before_s = lane.each_s
        call = self._hot.post(url, headers, body, patience_s, connect_timeout_s=target.connect_timeout_s)
        response = await self.rescue.call(prompt, call)
        outcome = (
            response if isinstance(response, Failure) else blamed(load(target.kind).parse(target, response), item.body)
        )
        seconds = time.monotonic() - began_s  # our clock may be set meanwhile
        outcome = self._local.weigh(
            name, target, item, outcome, seconds, lambda: not batch.run.checked and self._asking.elsewhere(prompt, name)
        )  # what is checked for its form may be cut and right
        busy_s = (lane.each_s - before_s) * lane.slots.share
        called = self._called(intent, outcome, seconds, busy_s, batch)
        raw = response if isinstance(response, HttpResponse) else None
        if raw is not None:
            self.context.targets.told(name, raw.headers)
        self._decide(prompt, name, outcome, called, raw, scopes=scopes, bound=bound, seconds=seconds)
        await self.rescue.ended(prompt)

    def _called(
        self, intent: Intent, outcome: Completion | Failure, seconds: float, busy_s: float, batch: Running
    ) -> Called:
        """The ledger's view of a call; `busy_s` is its part of the time in which the server was busy."""
        name, patient = intent.target, batch.run.patient
        facts = self.ledger.charge(name, outcome, busy_s, intent.bound_pusd, batch.head.route, patient=patient)
        self.ledger.note(name, facts.cost_pusd)
        return verdict.called(intent, facts, outcome, batch.head.purpose, intent.started_us + round(seconds * 1e6))

    def _decide(
        self, prompt: Prompt, name: str, outcome: Completion | Failure, called: Called | None,
        response: HttpResponse | None, *, scopes: tuple[str, ...] = (), bound: int = 0, seconds: float = 0.0,
    ) -> None:  # fmt: skip
        """What an outcome means: done, once more here, on to the next target, or wait."""
        batch = prompt.batch
        entries: list[Any] = [called] if called else []
        if isinstance(outcome, Completion):
            self.standing.healthy(name)
            asked = Prompted(prompt.item.row, prompt.attempts, prompt.first_us)
            status, body = (response.status, response.body) if response is not None else (None, None)
            done, problem = judge(batch.run, asked, outcome, called, status, body)
            if called:
                entries = [called := booked(called, done)]
            if done is not None:
                entries.append(done)
                self._measure(prompt, name, outcome, seconds)
                if batch.head.purpose == "answer":
                    batch.run.count_done(prompt.lane, done.status)
            if called:
                batch.run.count_call(self.context.settings.targets[name].lane, called)
                self.journal.append(batch, scopes, entries, bound, called.cost_pusd)
            if done is not None:
                batch.ended()
            else:
                self._setbacks.check_failed(prompt, name, problem)
            return
        if called:
            batch.run.count_call(self.context.settings.targets[name].lane, called)
            self.journal.append(batch, scopes, entries, bound, called.cost_pusd)
        self._setbacks.failed(prompt, name, outcome, lost=called is not None and called.outcome == "lost")

    def _measure(self, prompt: Prompt, name: str, answer: Completion, seconds: float) -> None:
        """What an answer took; guessed where the server does not say its tokens."""
        item, guess = prompt.item, output_estimate(prompt.item.max_tokens, prompt.batch.run.labels)
        read, written = believed(answer, item, self.context.settings.targets[name])
        self.lanes[name].finished(read or item.input_tokens, written or guess, seconds)
        self.rescue.took(prompt, seconds)
        prompt.batch.answer(prompt, written)

    # -- a target --------------------------------------------------------------------------------------------------

    def reroute(self, name: str) -> None:
        """Queued prompts of a target that went down look for another one."""
        for prompt in self.lanes[name].withdraw(lambda _: True):
            self._route(prompt)
