"""The last responsible moment of a call: one at a server of one's own that may well end after its run's deadline is given up for
the cloud, as late as the cloud can still be in time, where that may answer it and every budget has room. What leaves for the
cloud before it was begun is plan's matter.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple

from pipelines.capacity import EVEN, GUESSED_TOKENS_PER_S, LONG, SLOW_LATENCY_S
from pipelines.money import pusd_to_nusd_ceil
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
    """How long the last calls of a group took."""

    def __init__(self) -> None:
        self._last: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, seconds: float) -> None:
        self._last.append(seconds)
        insort(self._sorted, seconds)
        if len(self._last) > KEPT_CALLS:
            del self._sorted[bisect_right(self._sorted, self._last.popleft()) - 1]

    def risk(self, had_s: float, left_s: float, usual_s: float) -> float:
        """That a call which has run for so long needs more than is left, of those that took longer than it has had; one more may
        take three times as long as any did, or as is usual where none has ended."""
        longer = len(self._sorted) - bisect_right(self._sorted, had_s)
        late = len(self._sorted) - bisect_right(self._sorted, had_s + left_s)
        longest_s = max(had_s, self._sorted[-1] if self._sorted else usual_s)
        return (late + (EVEN if LONG * longest_s > had_s + left_s else 0.0)) / (longer + 1)


class Call(NamedTuple):
    """One in flight."""

    task: asyncio.Task[Response | Failure]
    given_up: asyncio.Future[None]
    began_s: float


class Speed(NamedTuple):
    """Of a cloud: seconds until it may be asked again, seconds of a call, and rows a second."""

    pause_s: float
    latency_s: float
    rate: float


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
        for cloud in filter(None, map(self._cloud, due)):
            if cloud.name not in room.rows:
                room.rows[cloud.name] = cloud.pending
                for prompt in cloud.ready:  # whose money is not reserved yet
                    room.take(prompt.batch.run.wanted_scopes(clock), self._nusd(cloud, prompt) or 0)
        for running in due:
            up = self._cloud(running)
            if up is not None and up.name in room.rows and not running.stopping:
                self._give_up(running, up, room)

    def _is_due(self, running: Running) -> bool:
        """The cloud can just be in time."""
        movable = running.lane == "local" and running.lanes == "any" and not running.stopping
        if not movable or running.run.deadline_ms is None or (cloud := self._cloud(running)) is None:
            return False
        speed = self._speed(cloud, running)
        mine = sum(each.open for each in self._running.values() if each.run is running.run and each.lane == "local")
        needed_s = speed.pause_s + LATENCIES * speed.latency_s + (mine + cloud.pending) / speed.rate + HAND_OVER_S
        return self._left_s(running) <= needed_s

    def _give_up(self, running: Running, cloud: Lane, room: Room) -> None:
        """What is in flight; and what has not begun yet and would begin so late, the last first."""
        left_s, took = self._left_s(running), self._took.get(running.head.group) or Durations()
        usual_s = running.head.work / running.head.rows / GUESSED_TOKENS_PER_S
        for prompt, call in self._calls.items():
            risky = prompt.batch is running and took.risk(_now_s() - call.began_s, left_s, usual_s) > RISK
            if risky and self._takes(cloud, prompt, left_s, room):
                prompt.late = True
                call.given_up.set_result(None)
        for name in self._context.targets.route_targets(running.head.route, "local"):
            lane = self._lanes[name]
            leaving = {
                prompt
                for prompt, wait_s in reversed([*zip(lane.ready, self._turns_s(lane, usual_s), strict=False)])
                if prompt.batch is running
                and took.risk(0.0, left_s - wait_s, usual_s) > RISK
                and self._takes(cloud, prompt, left_s, room)
            }
            for prompt in lane.withdraw(leaving.__contains__):
                prompt.late = True
                self._route(prompt)

    def _turns_s(self, lane: Lane, usual_s: float) -> Iterator[float]:
        """Until each that waits has a slot, when calls take as long as they did or is usual."""
        now_s, call_s = _now_s(), lane.latency_s or usual_s
        known = [call.began_s for prompt, call in self._calls.items() if prompt.target == lane.name]
        began = sorted(known + [now_s - call_s / 2] * (max(1, lane.in_use) - len(known)))
        return (max(0.0, each + call_s - now_s) + turn * call_s for turn in count() for each in began)

    def _takes(self, cloud: Lane, prompt: Prompt, left_s: float, room: Room) -> bool:
        """Whether the cloud can answer one more in time, and may; room is taken then."""
        speed = self._speed(cloud, prompt.batch)
        can = int((left_s - speed.pause_s - speed.latency_s) * speed.rate)
        if prompt.late or cloud.name in prompt.given_up or can <= room.rows[cloud.name]:
            return False
        scopes, nusd = prompt.batch.run.wanted_scopes(self._context.clock), self._nusd(cloud, prompt)
        if nusd is None or not room.has(scopes, nusd) or not self._asking.may(cloud.name, prompt):
            return False
        room.rows[cloud.name] += 1
        room.take(scopes, nusd)
        return True

    def _nusd(self, cloud: Lane, prompt: Prompt) -> int | None:
        """The most that it can cost there; None where nobody knows."""
        bound = self._ledger.bound_pusd(cloud.name, prompt.item)
        return pusd_to_nusd_ceil(bound) if isinstance(bound, int) else None

    def _left_s(self, running: Running) -> float:
        return ((running.run.deadline_ms or 0) - self._context.clock.now_ms()) / 1000

    def _cloud(self, running: Running) -> Lane | None:
        names = self._context.targets.route_targets(running.head.route, "cloud")
        return next((self._lanes[name] for name in names if self._lanes[name].up), None)

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
