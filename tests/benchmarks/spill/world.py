"""The simulated world: a local server under processor sharing, a cloud with a rate, a batch API; rows, not tokens, in flight.

It shows plan() (or a rival) what the scheduler would see, with the product's own pace and lengths, and applies the moves.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, pairwise

import numpy as np

from pipelines.batch import Asked, pack
from pipelines.learn import Learned, Length, outputs
from pipelines.pace import Answered, Pace
from pipelines.planning.capacity import GUESSED_TOKENS_PER_S, SLOW_LATENCY_S
from pipelines.planning.snapshot import BatchTarget, BatchView, Move, Recall, RunView, Snapshot, TargetView
from pipelines.types import Item
from tests.benchmarks.spill.bounds import SPREAD_90
from tests.benchmarks.spill.jobs import INPUT_USD, OUTPUT_USD, Job
from worker.drain.lane import LATEST
from worker.drain.rescue import LOOK_S, RISK, Durations, Speed, waits_too_long
from worker.prepare.ahead import ahead_rows
from worker.prepare.prepare import CHUNK_ROWS, FIRST_ROWS

Policy = Callable[[Snapshot], Iterable[Move]]

LEAST_TICK_S = 0.25
"""The product looks every quarter of a second; here that often only while the local queue is empty."""
LOT_ROWS = 1000
CLOUD_SPREAD = 0.5


@dataclass
class Batch:
    id: str
    rows: list[int]
    inputs: float
    guess: float
    group: str
    left: set[int] = field(default_factory=set)
    lane: str = ""
    sent_ms: int = 0
    view: BatchView | None = None


@dataclass
class Lot:
    """What one order gave to the batch API; all of it is answered after `whole_s`, unless it is back before."""

    batches: list[Batch]
    sent_s: float
    whole_s: float
    back_s: float
    recalled: bool = False


@dataclass
class Outcome:
    usd: float = 0.0
    late_rows: int = 0
    local_idle_s: float = 0.0
    end_s: float = 0.0
    rows: dict[str, int] = field(default_factory=lambda: {"local": 0, "cloud": 0, "provider_batch": 0})


class World:
    """One job under one policy, from its first second to its deadline."""

    def __init__(self, job: Job, policy: Policy, *, ordered: bool = True, rows_per_s: float | None = None) -> None:
        """`rows_per_s`: what prepare knows of the local lane when it cuts batches; None: its true rate."""
        self.job, self.policy, self.ordered, self.rows_per_s = job, policy, ordered, rows_per_s
        self.scenario = job.scenario
        self.random = np.random.default_rng(job.scenario.seed + 1000)
        self.now = 0.0
        self.outcome = Outcome()
        self.pace = {name: Answered() for name in ("gpu", "mini")}
        self.speeds = Pace()
        self.lengths: dict[str, Length] = {}
        chunks = list(self._cut())
        self.batches = {batch.id: batch for chunk in chunks for batch in chunk}
        self.of_row = {row: batch for batch in self.batches.values() for row in batch.rows}
        self.unprepared = deque(chunks)
        self.waiting: list[Batch] = []
        self.lots: list[Lot] = []
        self.learned_s = -1e9
        # local
        self.virtual = 0.0
        self.running: list[tuple[float, int, float]] = []
        self.queue: deque[int] = deque()
        self.local_up = True
        self.took: dict[str, Durations] = {}
        self.given_up: set[int] = set()
        self.looked = 0.0
        # cloud
        self.calls: list[tuple[float, int, float]] = []
        self.ready: deque[int] = deque()
        self.next_start = 0.0
        self.ended = 0
        self.bell = 0.0

    # -- the job as prepare would cut it ---------------------------------------------------------------------------

    def _cut(self) -> Iterator[list[Batch]]:
        """Chunk by chunk."""
        job = self.job
        asked = [
            Asked(
                Item(row, b"", int(job.inputs[row]), 0), "small", bytes([65 + int(job.group[row])]), int(job.guess[row])
            )
            for row in range(len(job.work))
        ]
        if not self.ordered:
            asked = [Asked(Item(one.item.row, b"", 0, 0), one.route, b"", one.output_tokens) for one in asked]
        rate = self.scenario.speed * len(job.work) / float(job.work.sum())
        rate = rate if self.rows_per_s is None else self.rows_per_s
        numbers = count()
        edges = [0, *range(FIRST_ROWS, len(asked), CHUNK_ROWS), len(asked)]
        for first, end in pairwise(edges):
            found = []
            for _, batch in pack(asked[first:end], {"small": rate}, job.deadline_s):
                rows = [one.item.row for one in batch]
                inputs, guess = float(job.inputs[rows].sum()), sum(one.output_tokens for one in batch)
                found.append(Batch(f"b{next(numbers):05}", rows, inputs, guess, str(job.group[rows[0]]), set(rows)))
            yield found

    def _prepare(self, rows_per_s: float) -> None:
        """As worker/prepare/prepare.py does: in the source's order, while less than the high-water mark is held."""
        held = sum(len(batch.left) for batch in self.waiting)
        held += len(self.queue) + len(self.running) + len(self.ready) + len(self.calls)
        more = False
        while self.unprepared and held < ahead_rows(rows_per_s, True):
            chunk, more = self.unprepared.popleft(), True
            self.waiting += chunk
            held += sum(len(batch.rows) for batch in chunk)
        if more:
            self._sort()

    # -- events ----------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        total, next_tick = len(self.job.work), 0.0
        while self.ended < total and self.now < self.job.deadline_s:
            if self.now >= next_tick:
                self._tick()
                next_tick = self.now + self.scenario.tick_s
            self._start_local()
            self._start_cloud()
            if self._advance(min(next_tick, self.job.deadline_s)):
                next_tick = self.now
        self.outcome.late_rows = total - self.ended
        self.outcome.end_s = self.now
        return self.outcome  # what is not back from a provider is not paid

    def _advance(self, until: float) -> bool:
        """To the next event or so far; true when a batch has ended: the scheduler's bell."""
        n = len(self.running)
        each = self.scenario.throughput / (n + self.scenario.half)
        times = [until]
        if n:
            times.append(self.now + (self.running[0][0] - self.virtual) / each)
        if self.calls:
            times.append(self.calls[0][0])
        if self.ready and len(self.calls) < self.scenario.cloud_slots and self.next_start > self.now:
            times.append(self.next_start)
        times.extend(lot.back_s for lot in self.lots)
        times.extend(edge for edge in self._edges() if edge > self.now)
        if look := self._is_due():
            times.append(self.looked + LOOK_S)
        then = max(self.now, min(times))
        passed, self.now = then - self.now, then
        self.virtual += passed * each if n else 0.0
        if n:
            self._busy("gpu", n, passed)
        elif self.local_up and self.waiting:
            self.outcome.local_idle_s += passed
        if self.calls:
            self._busy("mini", len(self.calls), passed)
        rung = self._local_state() or (self.local_up and not self.queue and bool(self.waiting) and then >= self.bell)
        if rung:
            self.bell = then + LEAST_TICK_S
        while self.running and self.running[0][0] <= self.virtual + 1e-9:
            _, row, began = heapq.heappop(self.running)
            rung |= self._end(row, "gpu", began)
        if look and self.now >= self.looked + LOOK_S - 1e-9:
            self._rescue()
        while self.calls and self.calls[0][0] <= self.now + 1e-9:
            _, row, began = heapq.heappop(self.calls)
            self.outcome.usd += float(self.job.usd[row])
            rung |= self._end(row, "mini", began)
        for lot in [lot for lot in self.lots if lot.back_s <= self.now + 1e-9]:
            self.lots.remove(lot)
            rung = True
            self._back(lot)
        return rung

    def _edges(self) -> list[float]:
        deadline = self.job.deadline_s
        edges = [0.4 * deadline, (0.4 + self.scenario.crash) * deadline] if self.scenario.crash else []
        return edges + [edge for window in self._refusals() for edge in window]

    def _refusals(self) -> list[tuple[float, float]]:
        each, deadline = self.scenario.refusals / 3, self.job.deadline_s
        return [(start * deadline, (start + each) * deadline) for start in (0.3, 0.6, 0.85)] if each else []

    def _local_state(self) -> bool:
        deadline, crash = self.job.deadline_s, self.scenario.crash
        up = not (crash and 0.4 * deadline <= self.now < (0.4 + crash) * deadline)
        was, self.local_up = self.local_up, up
        if was and not up:  # what was in flight is lost, and waits again with what was rung
            rows = [row for _, row, _ in self.running] + list(self.queue)
            self.running, self.queue = [], deque()
            for batch in {self.of_row[row].id: self.of_row[row] for row in rows}.values():
                batch.lane = ""
                self.waiting.append(batch)
            self._sort()
        return was != up

    def _start_local(self) -> None:
        while self.local_up and self.queue and len(self.running) < self.scenario.slots:
            row = self.queue.popleft()
            heapq.heappush(self.running, (self.virtual + float(self.job.work[row]), row, self.now))

    def _start_cloud(self) -> None:
        refused = next((end for start, end in self._refusals() if start <= self.now < end), None)
        if refused is not None:
            self.next_start = max(self.next_start, refused)
        while self.ready and len(self.calls) < self.scenario.cloud_slots and self.next_start <= self.now + 1e-9:
            row = self.ready.popleft()
            latency = self.scenario.cloud_latency_s * float(np.exp(CLOUD_SPREAD * self.random.standard_normal()))
            heapq.heappush(self.calls, (self.now + latency, row, self.now))
            self.next_start = max(self.next_start, self.now) + 1 / self.scenario.cloud_rows_per_s

    # -- local calls that would be late are given up for the cloud, as worker/drain/rescue.py does it ---------------

    def _is_due(self) -> bool:
        mine = len(self.running) + len(self.queue)
        return mine > 0 and self._left_s() <= self._cloud_speed().needs_s(mine + len(self.ready))

    def _rescue(self) -> None:
        self.looked, left_s = self.now, self._left_s()
        flying = [(row, began) for _, row, began in self.running if row not in self.given_up]
        late = [row for row, began in flying if self._took(row).risk(self.now - began, left_s) > RISK]
        free_s = [max(0.0, self._took(row).mean_s - (self.now - began)) for _, row, began in self.running]
        places = waits_too_long(((self._took(row), left_s) for row in self.queue), free_s)
        queued = [self.queue[place] for place in reversed(places)]
        cloud = self._cloud_speed()
        if left_s > cloud.needs_s(len(late) + len(queued) + len(self.ready)):
            return
        leaving = (late + queued)[: max(0, cloud.can(left_s) - len(self.ready))]
        self.given_up.update(set(late).intersection(leaving))
        self.queue = deque(row for row in self.queue if row not in leaving)
        self.ready.extend(leaving)

    def _took(self, row: int) -> Durations:
        if (group := self.of_row[row].group) not in self.took:
            view = self._view(self.of_row[row])
            self.took[group] = Durations(view.work / view.rows / GUESSED_TOKENS_PER_S)
        return self.took[group]

    def _left_s(self) -> float:
        return self.job.deadline_s - self.now

    def _cloud_speed(self) -> Speed:
        latency_s = self.pace["mini"].latency_s or SLOW_LATENCY_S
        return Speed(0.0, latency_s, min(self.scenario.cloud_slots / latency_s, self.scenario.cloud_rows_per_s))

    def _end(self, row: int, target: str, began: float) -> bool:
        batch, seconds = self.of_row[row], self.now - began
        if target == "gpu" and row in self.given_up:
            return False  # its slot is free now, and its answer is the cloud's
        if target == "gpu":
            self._took(row).add(seconds)
        self.ended += 1
        self.outcome.rows["local" if target == "gpu" else "cloud"] += 1
        self._count(target, row, seconds)
        batch.left.discard(row)
        if batch.left:
            return False
        self._learn(batch)
        return True

    def _busy(self, target: str, calls: int, seconds: float) -> None:
        was = self.pace[target]
        self.pace[target] = was._replace(busy_s=was.busy_s + seconds, in_flight=calls if seconds else was.in_flight)

    def _count(self, target: str, row: int, seconds: float) -> None:
        was = self.pace[target]
        self.pace[target] = was._replace(
            rows=was.rows + 1,
            input_tokens=was.input_tokens + int(self.job.inputs[row]),
            output_tokens=was.output_tokens + int(self.job.outputs[row]),
            latency_s=was.latency_s + max(LATEST, 1 / (was.rows + 1)) * (seconds - was.latency_s),
            held_s=was.held_s + seconds,
        )

    def _learn(self, batch: Batch) -> None:
        if not self.given_up.isdisjoint(batch.rows):
            return  # the other lane has answered those
        tokens = self.job.outputs[batch.rows].astype(float)
        more = Length(len(batch.rows), batch.guess, float(tokens.sum()), float((tokens**2).sum()))
        self.lengths.setdefault(batch.group, Length()).add(more)

    def _back(self, lot: Lot) -> None:
        """A batch comes back answered, or, recalled, as it was (or with its part, where that is billed)."""
        for batch in lot.batches:
            batch.lane = ""
            done = list(batch.left)
            if lot.recalled:
                share = (self.now - lot.sent_s) / max(1e-9, lot.whole_s) if self.scenario.cancel_bills else 0.0
                done = [row for row in batch.left if self.random.random() < min(1.0, share)]
            for row in done:
                self.ended += 1
                self.outcome.rows["provider_batch"] += 1
                self.outcome.usd += self.scenario.batch_price * float(self.job.usd[row])
                batch.left.discard(row)
            if batch.left:
                self.waiting.append(batch)
            elif not lot.recalled:
                self._learn(batch)
        self._sort()

    # -- what the scheduler sees, and does -------------------------------------------------------------------------

    def _sort(self) -> None:
        if not self.ordered:
            self.waiting.sort(key=lambda batch: batch.rows[0])
            return
        self.waiting.sort(key=self._saved, reverse=True)

    def _saved(self, batch: Batch) -> float:
        tokens = outputs(self._learned, batch.group, batch.guess)
        return (INPUT_USD * batch.inputs + OUTPUT_USD * tokens) / (self._prefill * batch.inputs + tokens)

    def _view(self, batch: Batch) -> BatchView:
        tokens = outputs(self._learned, batch.group, batch.guess)
        share = len(batch.left) / len(batch.rows)
        read = share * self._prefill * batch.inputs
        work = read + share * tokens
        target = "mini" if batch.lane == "provider_batch" else ""
        return BatchView(
            batch.id,
            "small",
            len(batch.left),
            work,
            target=target,
            sent_ms=batch.sent_ms,
            read=read,
            group=batch.group,
            guessed=batch.group not in self._learned.lengths,
        )

    def _tick(self) -> None:
        gpu = self.speeds.note(self.now, "gpu", self.scenario.slots, [("w", self.pace["gpu"])])
        mini = self.speeds.note(self.now, "mini", self.scenario.cloud_slots, [("w", self.pace["mini"])])
        if self.now - self.learned_s >= self.scenario.relearn_s or self.lengths.keys() - self._learned.lengths.keys():
            self.learned_s = self.now
            self._learned, self._prefill = Learned(dict(self.lengths)), gpu.prefill
            self._sort()
            for batch in self.batches.values():
                batch.view = None
        self._prepare(gpu.rows_per_s + mini.rows_per_s)
        rung_ = [self._view(b) for b in self.batches.values() if b.lane == "local" and b.left]
        local, read = sum(view.work for view in rung_), sum(view.read for view in rung_)
        each = {view.id: view.work / view.rows for view in rung_}
        trying = frozenset(view.group for view in rung_)
        rung = {"gpu": len(self.queue) + len(self.running), "mini": len(self.ready) + len(self.calls)}
        targets = {
            "gpu": TargetView(
                "gpu",
                "local",
                self.local_up,
                self.scenario.slots,
                rung["gpu"],
                gpu.rate,
                gpu.rows_per_s,
                gpu.latency_s or 1.0,
                local,
                down_s=self._down_s(),
                spans=gpu.spans,
                rung_read=read,
                queued_work=sum(each[self.of_row[row].id] for row in self.queue),
            ),
            "mini": TargetView(
                "mini",
                "cloud",
                True,
                self.scenario.cloud_slots,
                rung["mini"],
                mini.rate,
                mini.rows_per_s,
                mini.latency_s or 1.0,
                limit_rows_per_s=self.scenario.cloud_rows_per_s,
                spans=mini.spans,
            ),
        }
        for batch in self.waiting:
            batch.view = batch.view or self._view(batch)
        sent = tuple(self._view(batch) for lot in self.lots for batch in lot.batches)
        ahead = local
        if self.unprepared and self.waiting:
            each = sum(b.view.work for b in self.waiting if b.view) / sum(len(b.left) for b in self.waiting)
            ahead += each * sum(len(batch.rows) for chunk in self.unprepared for batch in chunk)
        run = RunView(
            "run",
            "c",
            0,
            int(self.job.deadline_s * 1000),
            tuple(b.view for b in self.waiting if b.view),
            ahead,
            sent=sent,
            trying=trying,
            rung={"gpu": local},
        )
        batch_targets = {}
        if p90 := self.scenario.batch_p90_s:
            batch_targets["mini"] = BatchTarget(
                "mini",
                True,
                1_000_000,
                self.scenario.batch_median_s,
                p90,
                self.scenario.batch_price,
                self.scenario.cancel_s,
            )
        snapshot = Snapshot(
            int(self.now * 1000), targets, {"small": ("gpu", "mini")}, (run,), batch_targets=batch_targets
        )
        self._apply(self.policy(snapshot))

    def _down_s(self) -> float:
        return 0.0 if self.local_up else self.now - 0.4 * self.job.deadline_s

    def _apply(self, moves: Iterable[Move]) -> None:
        gone: set[str] = set()
        lot: list[Batch] = []
        for move in moves:
            batch = self.batches[move.batch]
            if isinstance(move, Recall):
                self._recall(batch)
                continue
            gone.add(batch.id)
            batch.lane = move.lane
            if move.lane == "provider_batch":
                batch.sent_ms = int(self.now * 1000)
                lot.append(batch)
            elif move.lane == "local":
                self.queue.extend(sorted(batch.left))
            else:
                self.ready.extend(sorted(batch.left))
        self.waiting = [batch for batch in self.waiting if batch.id not in gone]
        while lot:
            part: list[Batch] = []
            while lot and sum(len(b.left) for b in part) < LOT_ROWS:
                part.append(lot.pop())
            sigma = np.log(self.scenario.batch_tail) / SPREAD_90 if self.scenario.batch_luck else 0.0
            latency = self.scenario.batch_median_s * float(np.exp(sigma * self.random.standard_normal()))
            self.lots.append(Lot(part, self.now, latency, self.now + latency))

    def _recall(self, batch: Batch) -> None:
        for lot in self.lots:
            if batch in lot.batches and not lot.recalled:
                lot.recalled, lot.back_s = True, min(lot.back_s, self.now + self.scenario.cancel_s)
