"""What calls mean for their target in this process: trusted, paused, or down until a look finds it up (schedule/watch.py looks on).
What they mean for a prompt is drain.py's matter."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from pipelines.types import Failure
from worker.context import Context
from worker.drain.lane import Lane
from worker.targets import BREAKER_MS, CLOSED_MS

DOWN_AFTER = 5
"""Failures in a row, and as many as calls are in flight, after which a target counts as down."""
LONG_S = 60.0
"""A wait that a server names and that is longer makes its target count as down, so that others answer meanwhile."""


class Standing:
    """All targets, as the calls of this process find them. `reroute` takes the queued prompts of one elsewhere."""

    def __init__(self, context: Context, lanes: Mapping[str, Lane], reroute: Callable[[str], None]) -> None:
        self._context, self._lanes, self._reroute = context, lanes, reroute
        self.failures = Counter[str]()
        """Failures since a call succeeded, by target; a breaker that opened in between does not end the row."""

    def heard(self) -> None:
        """What the others have said of targets is known now; queued prompts leave one that went down."""
        for name, lane in self._lanes.items():
            lane.cap = self._context.targets.cap(name)
            paused_ms = int(self._context.targets.states.get(name, {}).get("paused_ms") or 0)
            if paused_ms > lane.paused_ms:
                lane.paused_ms = paused_ms
                lane.limit((paused_ms - self._context.targets.clock.now_ms()) / 1000)
            was, lane.up = lane.up, self._context.targets.is_up(name)
            if lane.up and not was:
                lane.tried()
            if was and not lane.up:
                self._reroute(name)

    async def ask(self, names: Iterable[str]) -> None:
        """Where all of these are down, as far as is known here: whoever rang knows better."""
        if not any(self._lanes[name].up for name in names):
            self._context.targets.learn(await self._context.redis.hgetall(self._context.keys.targets))
            self.heard()

    def healthy(self, name: str) -> None:
        self.failures[name] = 0
        self._lanes[name].trusted()
        self._context.targets.answered(name)

    def unhealthy(self, name: str, failure: Failure) -> int:
        """How many failures in a row this makes."""
        self.failures[name] += 1
        self._lanes[name].refused += failure.kind == "overload" or failure.code in ("stalled", "timeout")
        if self._lanes[name].trial or self.failures[name] >= max(DOWN_AFTER, self._lanes[name].in_use):
            self.broken(name, failure)
        return self.failures[name]

    def asked_to_wait(self, name: str, failure: Failure, seconds: float) -> None:
        """Nobody calls the target for so long."""
        if seconds > LONG_S:
            self.broken(name, failure, min(int(seconds * 1000), CLOSED_MS))
        else:
            self._pause(name, seconds)

    def _pause(self, name: str, seconds: float) -> None:
        """Other workers hear of it with the next heartbeat and ask for leave."""
        lane = self._lanes[name]
        lane.limit(seconds)
        until_ms = self._context.targets.clock.now_ms() + int(seconds * 1000)
        if until_ms > lane.paused_ms:
            lane.paused_ms = until_ms
            self._context.targets.say(name, {"paused_ms": until_ms})
            self._spawn(lane.rates.pause(seconds))

    def broken(self, name: str, failure: Failure, for_ms: int = BREAKER_MS) -> None:
        """Opens the breaker: nobody calls the target until a look finds it up, then a few calls until one succeeds."""
        if self._lanes[name].up:
            self._context.targets.open_breaker(name, f"{failure.code}: {failure.message}", for_ms)
            self._down(name)

    def closed(self, name: str, failure: Failure) -> None:
        """Keys, funds, a model that nobody knows: only a person helps. A server of one's own may load it yet, and is looked at."""
        if failure.kind == "model" and self._context.settings.targets[name].lane == "local":
            self.broken(name, failure)
            return
        self._context.targets.close(name, failure.message)
        self._down(name)

    def _down(self, name: str) -> None:
        self._lanes[name].up = False
        self._reroute(name)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._context.background.add(task)
        task.add_done_callback(self._context.background.discard)
