"""Watches targets: is it up, what does it run, how many at once; beside the scheduler, once per Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from worker.context import Context
from worker.queue import RedisError

log = logging.getLogger("spillway.watch")

LOOK_EVERY_S = 5.0
DOWN_EVERY_S = 0.5
"""Of one that is down: its slots are idle until it is found up."""
FAILS_TO_DOWN = 2


class Watch:
    """Probes each target at its own pace, in the one process that holds its lease; what it finds is shared through Redis."""

    def __init__(self, context: Context, stopping: asyncio.Event) -> None:
        self._context, self._stopping = context, stopping
        self._fails: dict[str, int] = {}
        self._waiting: dict[str, int] = {}
        self._looked_ms: dict[str, int] = {}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:  # none goes on alone when this is begun anew
            for name in self._context.settings.targets:
                group.create_task(self._one(name))

    async def _one(self, name: str) -> None:
        due = 0.0
        while not self._stopping.is_set():
            now = asyncio.get_running_loop().time()
            try:
                if now >= due or not self._context.targets.is_up(name):
                    due = now + LOOK_EVERY_S
                    await self._probe(name)
            except (RedisError, OSError) as error:
                log.warning("watch %s: %s", name, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), DOWN_EVERY_S)

    async def _probe(self, name: str) -> None:
        """One look. A cloud target is believed until its calls fail; a local one is down after two silent looks in a row, and no look
        is silent while calls are answered: a server can be too busy with them to say that it is well."""
        context, target = self._context, self._context.settings.targets[name]
        state = context.targets.states.get(name, {})
        if target.lane == "cloud" and state.get("up", True):
            return
        if context.clock.now_ms() < state.get("until_ms", 0):
            return
        from worker.backends.discovery import (
            inspect,  # httpx comes with it, and a run without local targets asks nobody
        )

        status = await inspect(name, target)
        looked_ms, self._looked_ms[name] = self._looked_ms.get(name, 0), context.clock.now_ms()
        answers = context.targets.states.get(name, {}).get("answered_ms", 0) > looked_ms > 0
        self._fails[name] = 0 if status.up or answers else self._fails.get(name, 0) + 1
        waits = (state.get("waits") or 0) + bool(
            status.waiting and self._waiting.get(name)
        )  # from where another left it
        self._waiting[name] = status.waiting or 0
        if status.up:
            context.targets.say(name, {
                "up": True, "reason": "", "parallel": status.parallel, "context_tokens": status.context_tokens,
                "window_tokens": status.window_tokens, "model": status.loaded_model, "until_ms": 0, "closed": False,
                "waiting": self._waiting[name], "waits": waits,
            })  # fmt: skip
        elif self._fails[name] >= FAILS_TO_DOWN or not state:
            said = {"up": False, "reason": status.reason, "until_ms": 0}
            loads = {"failing_since": 0} if "loading" in status.reason else {}  # what it failed before is explained
            context.targets.say(name, {**said, **loads})
        await context.targets.publish(context.redis, context.keys)
