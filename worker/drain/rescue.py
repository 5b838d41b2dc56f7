"""The last responsible moment of a call: one at a server of one's own that may well end after its run's deadline is given up for
the cloud, as late as the cloud can still be in time, where that may answer it and every budget has room. What leaves for the
cloud before it was begun is plan's matter.
"""

from __future__ import annotations

import asyncio
import logging
import math
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from pipelines.capacity import SLOW_LATENCY_S
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
KEPT_GROUPS, KEPT_CALLS, LEAST_CALLS = 256, 256, 8
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

    @property
    def mean_s(self) -> float:
        return sum(self._last) / len(self._last) if self._last else 0.0

    def risk(self, had_s: float, left_s: float) -> float:
        """That a call which has run for so long needs more than is left, of those that took longer than it has had; certain where
        hardly any did."""
        longer = len(self._sorted) - bisect_right(self._sorted, had_s)
        if longer < LEAST_CALLS:
            return 1.0
        return (len(self._sorted) - bisect_right(self._sorted, had_s + left_s)) / longer


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
        for running in due:
            clouds = [cloud for cloud in self._clouds(running) if cloud.name in room.rows]
            if clouds and not running.stopping:
                self._give_up(running, clouds, room)

    def _is_due(self, running: Running) -> bool:
        """Some cloud can just be in time."""
        movable = running.lane == "local" and running.lanes == "any" and not running.stopping
        if not movable or running.run.deadline_ms is None:
            return False
        left_s = self._left_s(running)
        return any(left_s <= self._needs_s(running, cloud) for cloud in self._clouds(running))

    def _needs_s(self, running: Running, cloud: Lane) -> float:
        latency_s, rate = self._speed(cloud)
        mine = sum(each.open for each in self._running.values() if each.run is running.run and each.lane == "local")
        return LATENCIES * latency_s + (mine + cloud.pending) / rate + HAND_OVER_S

    def _give_up(self, running: Running, clouds: Sequence[Lane], room: Room) -> None:
        """What is in flight; and what has not begun yet and would begin so late, the last first."""
        left_s, took = self._left_s(running), self._took.get(running.head.group) or Durations()
        for prompt, call in self._calls.items():
            risky = prompt.batch is running and took.risk(_now_s() - call.began_s, left_s) > RISK
            if risky and self._leaves(clouds, prompt, left_s, room):
                prompt.late = True
                call.given_up.set_result(None)
        for name in self._context.targets.route_targets(running.head.route, "local"):
            lane = self._lanes[name]
            each_s = lane.latency_s / max(1, lane.in_use)
            leaving = {
                prompt
                for place, prompt in reversed([*enumerate(lane.ready, 1)])
                if prompt.batch is running
                and took.risk(0.0, left_s - place * each_s) > RISK
                and self._leaves(clouds, prompt, left_s, room)
            }
            for prompt in lane.withdraw(leaving.__contains__):
                prompt.late = True
                self._route(prompt)

    def _leaves(self, clouds: Sequence[Lane], prompt: Prompt, left_s: float, room: Room) -> bool:
        """Whether it is given up for the first cloud that can take it, now; those before that one are passed."""
        for place, cloud in enumerate(clouds):
            if self._can_take(cloud, prompt, left_s, room):
                if left_s > self._needs_s(prompt.batch, cloud):
                    return False
                room.rows[cloud.name] += 1
                room.take(prompt.batch.run.wanted_scopes(self._context.clock), self._nusd(cloud, prompt) or 0)
                prompt.passed |= {each.name for each in clouds[:place]}
                return True
        return False

    def _can_take(self, cloud: Lane, prompt: Prompt, left_s: float, room: Room) -> bool:
        """Whether a cloud can answer one more in time, and may."""
        latency_s, rate = self._speed(cloud)
        if prompt.late or cloud.name in prompt.given_up or int((left_s - latency_s) * rate) <= room.rows[cloud.name]:
            return False
        scopes, nusd = prompt.batch.run.wanted_scopes(self._context.clock), self._nusd(cloud, prompt)
        return nusd is not None and room.has(scopes, nusd) and self._asking.may(cloud.name, prompt)

    def _nusd(self, cloud: Lane, prompt: Prompt) -> int | None:
        """The most that it can cost there; None where nobody knows."""
        bound = self._ledger.bound_pusd(cloud.name, prompt.item)
        return pusd_to_nusd_ceil(bound) if isinstance(bound, int) else None

    def _left_s(self, running: Running) -> float:
        return ((running.run.deadline_ms or 0) - self._context.clock.now_ms()) / 1000

    def _clouds(self, running: Running) -> list[Lane]:
        """Those that are up, the first first."""
        names = self._context.targets.route_targets(running.head.route, "cloud")
        return [self._lanes[name] for name in names if self._lanes[name].up]

    def _speed(self, cloud: Lane) -> tuple[float, float]:
        """The seconds of a call, and rows a second."""
        latency_s, rpm = cloud.latency_s or SLOW_LATENCY_S, self._context.settings.targets[cloud.name].rpm
        return latency_s, min(cloud.cap / latency_s, rpm / 60 if rpm else math.inf)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
