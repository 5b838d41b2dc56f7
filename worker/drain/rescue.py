"""The last responsible moment of a call: one at a server of one's own that may well end after its run's deadline is given up for
the cloud, as late as the cloud can still be in time. What leaves for the cloud before it was begun is plan's matter.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple

from pipelines.capacity import GUESSED_LATENCY_S
from pipelines.types import Failure
from worker.backends.exchange import Response
from worker.context import Context
from worker.drain.lane import Lane
from worker.drain.running import Prompt, Running

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
    given_up: asyncio.Event
    began_s: float


class Rescue:
    """The local calls of one process whose run has a deadline."""

    def __init__(
        self,
        context: Context,
        lanes: Mapping[str, Lane],
        running: Mapping[str, Running],
        route: Callable[[Prompt], None],
    ) -> None:
        """`route` finds a lane for a prompt."""
        self._context, self._lanes, self._running, self._route = context, lanes, running, route
        self._calls: dict[Prompt, Call] = {}
        self._left: dict[Prompt, asyncio.Task[Response | Failure]] = {}
        self._took: dict[str, Durations] = {}

    async def call(self, prompt: Prompt, call: Coroutine[Any, Any, Response | Failure]) -> Response | Failure:
        """What comes of a call, or that it was given up."""
        if prompt.lane != "local" or prompt.batch.run.deadline_ms is None:
            return await call
        one = self._calls[prompt] = Call(asyncio.ensure_future(call), asyncio.Event(), _now_s())
        given_up = asyncio.ensure_future(one.given_up.wait())
        try:
            await asyncio.wait([one.task, given_up], return_when=asyncio.FIRST_COMPLETED)
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
            for running in list(self._running.values()):
                if running.lane == "local" and running.lanes == "any" and not running.stopping:
                    self._look(running)

    def _look(self, running: Running) -> None:
        """Gives up what is at its last moment and would hardly be in time."""
        cloud = self._cloud(running)
        if cloud is None or running.run.deadline_ms is None:
            return
        left_s = (running.run.deadline_ms - self._context.clock.now_ms()) / 1000
        latency_s, rate = self._speed(cloud)
        mine = sum(each.open for each in self._running.values() if each.run is running.run and each.lane == "local")
        if left_s > LATENCIES * latency_s + (mine + cloud.pending) / rate + HAND_OVER_S:
            return
        room = int((left_s - latency_s) * rate) - cloud.pending
        took = self._took.get(running.head.group) or Durations()
        for prompt, call in self._calls.items():
            if room > 0 and prompt.batch is running and took.risk(_now_s() - call.began_s, left_s) > RISK:
                room, prompt.late = room - 1, True
                call.given_up.set()
        self._leave(running, took, left_s, room)

    def _cloud(self, running: Running) -> Lane | None:
        names = self._context.targets.route_targets(running.head.route, "cloud")
        return next((self._lanes[name] for name in names if self._lanes[name].up), None)

    def _speed(self, cloud: Lane) -> tuple[float, float]:
        """The seconds of a call, and rows a second."""
        latency_s, rpm = cloud.latency_s or GUESSED_LATENCY_S, self._context.settings.targets[cloud.name].rpm
        return latency_s, min(cloud.cap / latency_s, rpm / 60 if rpm else math.inf)

    def _leave(self, running: Running, took: Durations, left_s: float, room: int) -> None:
        """What has not begun yet, and would begin so late; as much as the cloud has room for, the last first."""
        for name in self._context.targets.route_targets(running.head.route, "local"):
            lane = self._lanes[name]
            each_s = lane.latency_s / max(1, lane.in_use)
            waits_s = {prompt: (place + 1) * each_s for place, prompt in enumerate(lane.ready)}
            late = [
                prompt
                for prompt, wait_s in waits_s.items()
                if prompt.batch is running and took.risk(0.0, left_s - wait_s) > RISK
            ]
            leaving = set(late[-room:] if room > 0 else ())
            for prompt in lane.withdraw(leaving.__contains__):
                prompt.late = True
                self._route(prompt)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
