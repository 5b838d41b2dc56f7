"""Service time: slots, a queue in order of arrival, and tokens shared by all that run at T·n/(n + h) per second.

Processor sharing is kept in virtual time, so an event costs O(log n). It knows nothing of HTTP or money.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import deque

import msgspec

from worker.simulator.core.config import ServerConfig

_EPSILON = 1e-9


class Load(msgspec.Struct):
    """What the engine has seen so far; times in seconds of the loop's clock."""

    running: int = 0
    max_running: int = 0
    max_queued: int = 0
    finished: int = 0
    abandoned: int = 0
    swaps: int = 0
    busy_slot_s: float = 0.0
    changed_s: float = 0.0

    def move(self, by: int, now_s: float) -> None:
        """Counts slots taken or given back, and the time they were held."""
        self.busy_slot_s += self.running * (now_s - self.changed_s)
        self.changed_s = now_s
        self.running += by
        self.max_running = max(self.max_running, self.running)

    def busy_until(self, now_s: float) -> float:
        return self.busy_slot_s + self.running * (now_s - self.changed_s)


class _Job:
    __slots__ = ("done", "end", "in_service", "latency_s", "model", "read_s", "timer", "work")

    def __init__(self, done: asyncio.Future[None], model: str, work: float, latency_s: float, read_s: float) -> None:
        self.done, self.model, self.work, self.latency_s, self.read_s = done, model, work, latency_s, read_s
        self.timer: asyncio.TimerHandle | None = None
        self.in_service = False
        self.end = 0.0


class Engine:
    """One model server's capacity."""

    def __init__(self, config: ServerConfig) -> None:
        self._loop = asyncio.get_running_loop()
        self.load = Load(changed_s=self._loop.time())
        self.loaded = config.model
        self.config = config
        self.queue: deque[_Job] = deque()
        self._heap: list[tuple[float, int, _Job]] = []
        self._order = itertools.count()
        self._virtual = 0.0
        self._at_s = self._loop.time()
        self._serving = 0
        self._read_until_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._swap: asyncio.TimerHandle | None = None

    @property
    def slots(self) -> int | None:
        return self.config.effective_slots or self.config.slots

    @property
    def is_full(self) -> bool:
        """True when another request would find neither a slot nor a place in the queue."""
        most = self.config.max_queue
        return most is not None and len(self.queue) >= most and not self._has_slot()

    def configure(self, config: ServerConfig) -> None:
        """New slots or speed, for what runs now as well."""
        self._advance()
        self.config = config
        self._admit()
        self._arm()

    async def serve(self, model: str, work: float, latency_s: float, read_s: float = 0.0) -> None:
        """Returns when `work` output-token equivalents are done, after `read_s` of a prompt's reading, one prompt at a time and
        beside all that is being written; cancelling gives the slot back."""
        if (
            not self.queue
            and self._has_slot()
            and self.loaded == model
            and not latency_s
            and not read_s
            and not (work and self.config.tokens_per_s)
        ):
            self.load.move(1, self._loop.time())
            self.load.move(-1, self._loop.time())
            self.load.finished += 1
            return
        job = _Job(self._loop.create_future(), model, work, latency_s, read_s)
        self.queue.append(job)
        self._admit()
        self.load.max_queued = max(self.load.max_queued, len(self.queue))
        try:
            await job.done
        except asyncio.CancelledError:
            self._abandon(job)
            raise

    def _has_slot(self) -> bool:
        return self.slots is None or self.load.running < self.slots

    def _admit(self) -> None:
        while self.queue and self._has_slot() and self._swap is None:
            if self.queue[0].model != self.loaded:
                self._start_swap(self.queue[0].model)
                return
            job = self.queue.popleft()
            self.load.move(1, self._loop.time())
            wait_s = job.latency_s + self._reads(job)
            if wait_s > 0:
                job.timer = self._loop.call_later(wait_s, self._start, job)
            else:
                self._start(job)

    def _reads(self, job: _Job) -> float:
        """Seconds until its prompt has been read, after those that came before it."""
        if not job.read_s:
            return 0.0
        now_s = self._loop.time()
        self._read_until_s = max(now_s, self._read_until_s) + job.read_s
        return self._read_until_s - now_s

    def _start_swap(self, model: str) -> None:
        """One model at a time: the running ones end first, then the other is loaded."""
        if self.load.running:
            return
        self.load.swaps += 1
        self._swap = self._loop.call_later(self.config.swap_ms / 1000, self._swapped, model)

    def _swapped(self, model: str) -> None:
        self._swap, self.loaded = None, model
        self._admit()

    def _start(self, job: _Job) -> None:
        job.timer = None
        if not self.config.tokens_per_s or job.work <= 0:
            self._finish(job)
            return
        self._advance()
        job.end, job.in_service = self._virtual + job.work, True
        self._serving += 1
        heapq.heappush(self._heap, (job.end, next(self._order), job))
        self._arm()

    def _rate(self) -> float:
        """Work per second of each job in service."""
        config = self.config
        rate = (config.tokens_per_s or 1.0) / (self._serving + config.half_at)
        return min(rate, config.tokens_per_s_cap / self._serving) if config.tokens_per_s_cap else rate

    def _advance(self) -> None:
        now_s = self._loop.time()
        if self._serving:
            self._virtual += (now_s - self._at_s) * self._rate()
        self._at_s = now_s

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._heap and not self._heap[0][2].in_service:
            heapq.heappop(self._heap)
        if self._heap:
            wait_s = max(0.0, (self._heap[0][0] - self._virtual) / self._rate())
            # Timers count whole milliseconds: rounding up spares a spin until the last one has passed.
            self._timer = self._loop.call_later(math.ceil(wait_s * 1000) / 1000, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._advance()
        while self._heap and (not self._heap[0][2].in_service or self._heap[0][0] <= self._virtual + _EPSILON):
            job = heapq.heappop(self._heap)[2]
            if job.in_service:
                job.in_service = False
                self._serving -= 1
                self._finish(job)
        self._arm()

    def _finish(self, job: _Job) -> None:
        self.load.move(-1, self._loop.time())
        self.load.finished += 1
        if not job.done.done():
            job.done.set_result(None)
        self._admit()

    def _abandon(self, job: _Job) -> None:
        if job in self.queue:
            self.queue.remove(job)
        elif job.timer is not None or job.in_service:
            if job.timer is not None:
                job.timer.cancel()
            if job.in_service:
                self._advance()
                job.in_service = False
                self._serving -= 1
                self._arm()
            self.load.move(-1, self._loop.time())
        else:
            return  # it ended in the same turn as the cancellation
        self.load.abandoned += 1
        self._admit()
