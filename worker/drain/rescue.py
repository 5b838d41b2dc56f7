"""The last responsible moment of a call: one at a server of one's own that may well end after its run's deadline is given up for
the cloud, as late as the cloud can still be in time, where that may answer it and every budget has room. What leaves for the
cloud before it was begun is plan's matter.
"""

from __future__ import annotations

import asyncio
import logging
import math
from bisect import bisect_right, insort
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from heapq import heapify, heapreplace
from itertools import chain
from typing import Any, NamedTuple

from pipelines.money import pusd_to_nusd_ceil
from pipelines.planning.capacity import EVEN, GUESSED_TOKENS_PER_S, LONG, SLOW_LATENCY_S
from pipelines.types import Failure
from worker.backends.exchange import Response
from worker.context import Context
from worker.drain.asking import Asking
from worker.drain.lane import Lane
from worker.drain.running import Prompt, Running
from worker.money import budget
from worker.money.ledger import Ledger
from worker.queue import RedisError

log = logging.getLogger("spillway.rescue")

LOOK_S = 0.2
RISK = 0.1
"""Of a call that it ends too late, from which on it is bought instead."""
LATENCIES = 1.75
"""Few calls of the cloud take longer than so many times the average."""
HAND_OVER_S = 0.3
KEPT_GROUPS, KEPT_CALLS = 256, 256
TOO_LATE = Failure("late", "too_late", "given up for the cloud, so that its row is in time")


class Durations:
    """How long the last calls of a group took; `usual_s` while none has ended."""

    def __init__(self, usual_s: float = 0.0) -> None:
        self._last: deque[float] = deque()
        self._sorted: list[float] = []
        self._sum_s, self._usual_s = 0.0, usual_s

    def add(self, seconds: float) -> None:
        self._last.append(seconds)
        self._sum_s += seconds
        insort(self._sorted, seconds)
        if len(self._last) > KEPT_CALLS:
            self._sum_s -= (oldest := self._last.popleft())
            del self._sorted[bisect_right(self._sorted, oldest) - 1]

    @property
    def mean_s(self) -> float:
        return max(0.0, self._sum_s) / len(self._last) if self._last else self._usual_s

    def risk(self, had_s: float, left_s: float) -> float:
        """That a call which has run for so long needs more than is left, of those that took longer than it has had; one more may
        take three times as long as any did, or as is usual where none has ended."""
        longer = len(self._sorted) - bisect_right(self._sorted, had_s)
        late = len(self._sorted) - bisect_right(self._sorted, had_s + left_s)
        longest_s = max(had_s, self._sorted[-1] if self._sorted else self._usual_s)
        return (late + (EVEN if LONG * longest_s > had_s + left_s else 0.0)) / (longer + 1)


class Speed(NamedTuple):
    """Of a cloud: seconds until it may be asked again, seconds of a call, and rows a second."""

    pause_s: float
    latency_s: float
    rows_per_s: float

    def needs_s(self, rows: int) -> float:
        """For so many, handed over now."""
        return self.pause_s + LATENCIES * self.latency_s + rows / self.rows_per_s + HAND_OVER_S

    def can(self, left_s: float) -> int:
        """Rows that it answers in the time that is left."""
        return max(0, int((left_s - self.pause_s - self.latency_s) * self.rows_per_s))


def waits_too_long(queue: Iterable[tuple[Durations, float]], free_s: Iterable[float]) -> list[int]:
    """Places of what waits, each with how long it has, that would hardly end in time behind those before it; `free_s`: until each
    slot is free."""
    slots, found = [*free_s] or [0.0], []
    heapify(slots)
    for place, (took, left_s) in enumerate(queue):
        if took.risk(0.0, left_s - slots[0]) > RISK:
            found.append(place)
        else:
            heapreplace(slots, slots[0] + took.mean_s)
    return found


class Call(NamedTuple):
    """One in flight."""

    task: asyncio.Task[Response | Failure]
    given_up: asyncio.Future[None]
    began_s: float


class Room(NamedTuple):
    """What one look may still take, all batches together: money by budget scope, None without a limit; and by cloud target the
    rows that it has taken or that wait there."""

    nusd: dict[str, int | None]
    rows: dict[str, int]

    def has(self, scopes: Iterable[str], nusd: int) -> bool:
        left = (self.nusd.get(scope, 0) for scope in scopes)
        return not nusd or all(each is None or nusd <= each for each in left)

    def take(self, scopes: Iterable[str], nusd: int) -> None:
        self.nusd.update({scope: left - nusd for scope in scopes if (left := self.nusd.get(scope)) is not None})


class Rescue:
    """The local calls of one process whose run has a deadline."""

    def __init__(
        self,
        context: Context,
        lanes: Mapping[str, Lane],
        running: Mapping[str, Running],
        route: Callable[[Prompt], None],
        asking: Asking,
        ledger: Ledger,
    ) -> None:
        """`route` finds a lane for a prompt."""
        self._context, self._lanes, self._running, self._route = context, lanes, running, route
        self._asking, self._ledger = asking, ledger
        self._calls: dict[Prompt, Call] = {}
        self._left: dict[Prompt, asyncio.Task[Response | Failure]] = {}
        self._took: dict[str, Durations] = {}

    async def call(self, prompt: Prompt, call: Coroutine[Any, Any, Response | Failure]) -> Response | Failure:
        """What comes of a call, or that it was given up."""
        if prompt.lane != "local" or prompt.batch.run.deadline_ms is None:
            return await call
        task, given_up = asyncio.ensure_future(call), asyncio.get_running_loop().create_future()
        one = self._calls[prompt] = Call(task, given_up, _now_s())
        try:
            await asyncio.wait([task, given_up], return_when=asyncio.FIRST_COMPLETED)
            if one.task.done():
                return one.task.result()
            self._left[prompt] = one.task
            return TOO_LATE
        finally:
            given_up.cancel()
            del self._calls[prompt]
            if prompt not in self._left:
                one.task.cancel()

    async def ended(self, prompt: Prompt) -> None:
        """The server is at it all the same: nothing tells it to stop, and until it has, it has no room for another call."""
        if (task := self._left.pop(prompt, None)) is not None:
            await asyncio.wait([task])

    def took(self, prompt: Prompt, seconds: float) -> None:
        """An answer came."""
        if prompt.lane == "local":
            took = self._took.pop(prompt.batch.head.group, None) or Durations()
            took.add(seconds)
            self._took[prompt.batch.head.group] = took  # the latest last
            if len(self._took) > KEPT_GROUPS:
                del self._took[next(iter(self._took))]

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except (RedisError, OSError) as error:
                log.warning("budgets: %s; nothing is given up for the cloud", error)

    async def look(self) -> None:
        """Gives up what is at its last moment and would hardly be in time."""
        if not (due := [running for running in self._running.values() if self._is_due(running)]):
            return
        clock, redis, keys = self._context.clock, self._context.redis, self._context.keys
        names = {name for running in due for name in running.run.wanted_scopes(clock)}
        room = Room(await budget.room_nusd(redis, keys, sorted(names)), {})
        for cloud in chain.from_iterable(map(self._clouds, due)):
            if cloud.name not in room.rows:
                room.rows[cloud.name] = cloud.pending
                for prompt in cloud.ready:  # whose money is not reserved yet
                    room.take(prompt.batch.run.wanted_scopes(clock), self._nusd(cloud, prompt) or 0)
        late = [prompt for prompt in self._late(set(due)) if not prompt.batch.stopping]
        rows = Counter(prompt.batch.run.id for prompt in late)
        leaving = {prompt for prompt in late if self._leaves(prompt, rows[prompt.batch.run.id], room)}
        for prompt in leaving & self._calls.keys():
            prompt.late = True
            self._calls[prompt].given_up.set_result(None)
        for lane in self._lanes.values():
            for prompt in lane.withdraw(leaving.__contains__) if lane.name not in room.rows else ():
                prompt.late = True
                self._route(prompt)

    def _is_due(self, running: Running) -> bool:
        """Some cloud can just be in time, should it have to take all that is open."""
        movable = running.lane == "local" and running.lanes == "any" and not running.stopping
        if not movable or running.run.deadline_ms is None:
            return False
        mine = sum(each.open for each in self._running.values() if each.run is running.run and each.lane == "local")
        left_s = self._left_s(running)
        clouds = self._clouds(running)
        return any(left_s <= self._speed(cloud, running).needs_s(mine + cloud.pending) for cloud in clouds)

    def _late(self, due: set[Running]) -> list[Prompt]:
        """What is in flight and would hardly end in time; and what has not begun yet and would begin so late, the last first."""
        late = [
            prompt
            for prompt, call in self._calls.items()
            if prompt.batch in due
            and self._took_of(prompt).risk(_now_s() - call.began_s, self._left_s(prompt.batch)) > RISK
        ]
        names = {name for each in due for name in self._context.targets.route_targets(each.head.route, "local")}
        for lane in (self._lanes[name] for name in sorted(names)):
            waiting = list(lane.ready)
            queue = ((self._took_of(prompt), self._left_s(prompt.batch)) for prompt in waiting)
            places = waits_too_long(queue, self._free_s(lane))
            late += [waiting[place] for place in reversed(places) if waiting[place].batch in due]
        return late

    def _free_s(self, lane: Lane) -> list[float]:
        """Until each slot that the lane uses is free, when calls take as long as their like did; of a call without a deadline nobody
        keeps when it began."""
        known = [
            max(0.0, self._took_of(prompt).mean_s - (_now_s() - call.began_s))
            for prompt, call in self._calls.items()
            if prompt.target == lane.name
        ]
        return known + [lane.latency_s / 2] * (max(1, lane.in_use) - len(known))

    def _took_of(self, prompt: Prompt) -> Durations:
        head = prompt.batch.head
        return self._took.get(head.group) or Durations(head.work / head.rows / GUESSED_TOKENS_PER_S)

    def _leaves(self, prompt: Prompt, rows: int, room: Room) -> bool:
        """Whether it is given up for the first cloud that can take it, with so many rows, now; those before that one are passed."""
        left_s = self._left_s(prompt.batch)
        clouds = [cloud for cloud in self._clouds(prompt.batch) if cloud.name in room.rows]
        for place, cloud in enumerate(clouds):
            if self._can_take(cloud, prompt, left_s, room):
                if left_s > self._speed(cloud, prompt.batch).needs_s(rows + cloud.pending):
                    return False
                room.rows[cloud.name] += 1
                room.take(prompt.batch.run.wanted_scopes(self._context.clock), self._nusd(cloud, prompt) or 0)
                prompt.passed |= {each.name for each in clouds[:place]}
                return True
        return False

    def _can_take(self, cloud: Lane, prompt: Prompt, left_s: float, room: Room) -> bool:
        """Whether a cloud can answer one more in time, and may."""
        can = self._speed(cloud, prompt.batch).can(left_s)
        if prompt.late or cloud.name in prompt.given_up or can <= room.rows[cloud.name]:
            return False
        scopes, nusd = prompt.batch.run.wanted_scopes(self._context.clock), self._nusd(cloud, prompt)
        return nusd is not None and room.has(scopes, nusd) and self._asking.may(cloud.name, prompt)

    def _nusd(self, cloud: Lane, prompt: Prompt) -> int | None:
        """The most that it can cost there; None where nobody knows."""
        bound = self._ledger.bound_pusd(cloud.name, prompt.item)
        return pusd_to_nusd_ceil(bound) if isinstance(bound, int) else None

    def _left_s(self, running: Running) -> float:
        due_ms = running.run.deadline_ms
        return math.inf if due_ms is None else (due_ms - self._context.clock.now_ms()) / 1000

    def _clouds(self, running: Running) -> list[Lane]:
        """Those that are up, the first first."""
        names = self._context.targets.route_targets(running.head.route, "cloud")
        return [self._lanes[name] for name in names if self._lanes[name].up]

    def _speed(self, cloud: Lane, running: Running) -> Speed:
        """Of a cloud for this process: its share is that of the local slots that it has."""
        latency_s, head = cloud.latency_s or SLOW_LATENCY_S, running.head
        row_s = max(latency_s / cloud.cap, self._context.targets.limits_s(cloud.name, head) / head.rows)
        local = [self._lanes[name].slots for name in self._context.targets.route_targets(head.route, "local")]
        mine = max(1, sum(slots.granted for slots in local))
        share = mine / (mine + sum(slots.others for slots in local))
        return Speed(max(0, cloud.paused_ms - self._context.clock.now_ms()) / 1000, latency_s, share / row_s)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
