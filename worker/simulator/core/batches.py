"""Provider batches without a vendor's shape: lines, a life cycle that is a function of time, and their bill.

Nothing runs in the background: whoever asks for a batch, or for the bill, first books what has been finished by now.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from worker.simulator.core.answers import Ask, digest, input_tokens
from worker.simulator.core.faults import PROBLEMS, BatchRule, Problem, unknown_model
from worker.simulator.core.generate import Answer, charge, compose, overflow
from worker.simulator.core.http import Reply
from worker.simulator.core.server import Server, unix_s

State = Literal["validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"]

OPEN: frozenset[State] = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
FINALIZING_SHARE = 0.05
LATE = 1.5
"""A `late_create` takes so many times as long as its connection stays open."""


class Line(msgspec.Struct, frozen=True):
    """One request of a batch, or why it is none; `about` is the vendor's own."""

    custom_id: str
    ask: Ask | Problem
    about: Any = None


class Timing(msgspec.Struct, frozen=True):
    """When a batch's life turns, in seconds of the loop's clock."""

    created_s: float
    starts_s: float
    worked_s: float
    done_s: float
    expires_s: float
    cancel_takes_s: float


class Job:
    """One batch. `results` holds, by rank, what became of the lines that are finished; `order` maps rank to line."""

    def __init__(
        self,
        identity: str,
        lines: Sequence[Line],
        timing: Timing,
        rule: BatchRule | None,
        key: str,
        about: Mapping[str, Any],
    ) -> None:
        self.id, self.lines, self.timing, self.key, self.about = identity, tuple(lines), timing, key, dict(about)
        self.kind = rule.kind if rule else ""
        self.share = rule.share if rule else 0.0
        self.silent_s = rule.late_s if rule and rule.kind == "late_create" else 0.0
        self.created_unix_s = unix_s()
        self.cancelled_s: float | None = None
        self.order = list(range(len(self.lines)))
        self.results: list[Answer | Problem] = []

    def state(self, now_s: float) -> State:
        """The state in OpenAI's words; other vendors translate it."""
        timing = self.timing
        if self.kind in ("fail", "token_limit"):
            return "validating" if now_s < timing.starts_s else "failed"
        if self._is_cancelled():
            assert self.cancelled_s is not None
            return "cancelling" if now_s < self.cancelled_s + timing.cancel_takes_s else "cancelled"
        if now_s >= min(timing.done_s, timing.expires_s):
            return "completed" if timing.done_s <= timing.expires_s else "expired"
        if self.cancelled_s is not None:
            return "cancelling"
        if now_s < timing.starts_s or (self.kind == "stuck" and math.isinf(timing.worked_s)):
            return "validating" if now_s < timing.starts_s else "in_progress"
        return "in_progress" if now_s < timing.worked_s else "finalizing"

    def finished(self, now_s: float) -> int:
        """How many lines are done by now."""
        timing = self.timing
        if self.kind in ("fail", "token_limit"):
            return 0
        at_s = min(now_s, timing.expires_s, self.cancelled_s if self._is_cancelled() and self.cancelled_s else math.inf)
        if at_s < timing.starts_s:
            return 0
        if at_s >= timing.worked_s:
            return len(self.lines)
        return math.floor(len(self.lines) * (at_s - timing.starts_s) / (timing.worked_s - timing.starts_s) + 1e-6)

    def told(self, reply: Reply) -> Reply:
        """What whoever asked for it hears."""
        if self.kind == "late_create":
            return Reply(ending="hang", spread_s=self.silent_s)
        return Reply(ending="close") if self.kind == "lost_create" else reply

    def unix_s(self, loop_s: float) -> int:
        """A moment of the loop's clock as a time on the wire."""
        return int(self.created_unix_s + loop_s - self.timing.created_s)

    def named(self, rank: int) -> Line:
        """The line that a result says it belongs to."""
        return self.lines[self.order[(rank + 1) % len(self.results) if self.kind == "swapped_keys" else rank]]

    def _is_cancelled(self) -> bool:
        return self.cancelled_s is not None and self.kind != "late_cancel"


class Desk:
    """All batches of one server, the newest last."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.asked = 0
        self._late: list[Job] = []
        self.jobs: dict[str, Job] = {}
        self.files: dict[str, Any] = {}

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def create(
        self, lines: Sequence[Line], *, prefix: str, key: str, about: Mapping[str, Any], invalid: bool = False
    ) -> Job | Problem:
        """A new batch, or why there is none; an `invalid` one fails at validation."""
        self.asked += 1
        number = self.asked
        rule = next((each for each in self._server.config.batch_faults if each.at in (None, number)), None)
        if rule is not None and rule.kind in PROBLEMS:
            return PROBLEMS[rule.kind]
        if invalid or self._is_over_cap(lines):
            rule = BatchRule(kind="fail" if invalid else "token_limit")
        identity = f"{prefix}{digest(f'{self._server.seed}:{number}:{unix_s()}').hex()}"
        late_s = LATE * rule.late_s if rule is not None and rule.kind == "late_create" else 0.0
        job = Job(identity, lines, self._timing(number, rule, self.now_s() + late_s), rule, key, about)
        random.Random(f"{self._server.seed}:{number}").shuffle(job.order)
        self._late.append(job)
        self._make()
        return job

    def get(self, identity: str) -> Job | None:
        """A batch with everything booked that it has finished by now."""
        self._make()
        job = self.jobs.get(identity)
        if job is not None:
            self._book(job)
        return job

    def cancel(self, job: Job) -> None:
        """Asks a batch to stop; what is finished stays and is billed."""
        if job.cancelled_s is None and job.state(self.now_s()) in OPEN:
            job.cancelled_s = self.now_s()

    def settle(self) -> None:
        """Books what all batches have finished by now."""
        self._make()
        for job in self.jobs.values():
            self._book(job)

    def _make(self) -> None:
        """The batches whose time has come are there from now on."""
        for job in [job for job in self._late if job.timing.created_s <= self.now_s()]:
            self._late.remove(job)
            job.created_unix_s = unix_s()
            self.jobs[job.id] = job

    def _is_over_cap(self, lines: Sequence[Line]) -> bool:
        cap = self._server.config.batch_enqueued_tokens
        if cap is None:
            return False
        waiting = [job for job in self.jobs.values() if job.state(self.now_s()) in OPEN]
        return self._tokens(lines) + sum(self._tokens(job.lines) for job in waiting) > cap

    def _tokens(self, lines: Sequence[Line]) -> int:
        return sum(input_tokens(self._server.config, line.ask) for line in lines if isinstance(line.ask, Ask))

    def _timing(self, number: int, rule: BatchRule | None, created_s: float) -> Timing:
        config = self._server.config
        draw = (
            random.Random(f"{self._server.seed}:batch:{number}").gauss(0.0, config.batch_sigma)
            if config.batch_sigma
            else 0.0
        )
        latency_s = config.batch_latency_s * math.exp(draw)
        starts_s, expires_s = created_s + config.batch_validate_s, created_s + config.batch_window_s
        kind = rule.kind if rule else ""
        if kind == "stuck":
            latency_s = math.inf
        elif kind == "expire" and rule is not None:
            latency_s = max(0.0, expires_s - starts_s) / max(rule.share, 1e-9)
        worked_s = starts_s + latency_s
        return Timing(
            created_s, starts_s, worked_s, worked_s + latency_s * FINALIZING_SHARE, expires_s, config.batch_cancel_s
        )  # fmt: skip

    def _book(self, job: Job) -> None:
        server, account = self._server, self._server.account
        for rank in range(len(job.results), job.finished(self.now_s())):
            line = job.lines[job.order[rank]]
            result = self._result(job, line, rank)
            job.results.append(result)
            account.calls += 1
            if isinstance(result, Problem) or not isinstance(line.ask, Ask):
                server.bill.refuse(server.name, "batch_error")
                continue
            charge(server, result, key=job.key, call=line.custom_id, prompt_hash=digest(line.ask.prompt).hex(),
                   outcome="batch", delivered=True, batch=job.id)  # fmt: skip

    def _result(self, job: Job, line: Line, rank: int) -> Answer | Problem:
        if isinstance(line.ask, Problem):
            return line.ask
        config = self._server.config
        point = digest(f"{self._server.seed}:{job.id}:{line.custom_id}")[0] / 256
        share = {"errors": 1.0, "some_errors": job.share}.get(job.kind, config.batch_error_rate)
        if point < share:
            return PROBLEMS["500"]
        if not (config.any_model or line.ask.model in config.served):
            return unknown_model(line.ask.model)
        if (problem := overflow(config, line.ask, input_tokens(config, line.ask))) is not None:
            return problem
        return compose(self._server, line.ask, f"{job.id}:{rank}")


def desk(server: Server) -> Desk:
    """The server's batches."""
    found = server.notes.get("desk")
    if not isinstance(found, Desk):
        found = server.notes["desk"] = Desk(server)
    return found
