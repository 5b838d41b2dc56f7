"""Keeps what befalls targets: a row under events/ when one goes down, comes back, is closed or has another model loaded.

One worker does it for all (a lease). What was told last stands beside the target's state in Redis, and an event's name is
made from what it tells, so a worker that dies between the two tells nothing twice. It decides nothing.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from pipelines import paths
from pipelines.errors import StoreError
from worker.context import Context

log = logging.getLogger("spillway.history")

LOOK_S = 1.0
HOLD_MS = 5_000
"""A target that comes and goes is down until it has stayed up for so long: a night of that is not ten thousand events."""
UP, DOWN, CLOSED = "up", "down", "closed"


class History:
    """What was seen of the targets, told once."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def step(self) -> None:
        await asyncio.sleep(LOOK_S)
        for name in self._context.settings.targets:
            await self._look(name, self._context.targets.states.get(name, {}))
        await self._context.targets.publish(self._context.redis, self._context.keys)

    async def _look(self, name: str, state: dict[str, Any]) -> None:
        now_ms, told = self._context.clock.now_ms(), state.get("told") or UP
        since_ms = state.get("changed_ms") or now_ms
        condition = CLOSED if state.get("closed") else UP if state.get("up", True) else DOWN
        if condition == CLOSED and state.get("cutoff"):
            condition = told  # the emergency cut-off has an event of its own
        if condition != told and (condition != UP or now_ms - since_ms >= HOLD_MS):
            message = f"target {name} is {condition}" + (f": {state['reason']}" if state.get("reason") else "")
            if await self._write(f"target_{condition}", name, since_ms, message):
                self._context.targets.say(name, {"told": condition})
        model, before = state.get("model"), state.get("told_model")
        if model and model != before:
            changed = f"target {name}: its server has loaded {model} instead of {before}"
            if not before or await self._write("target_model", name, now_ms, changed):
                self._context.targets.say(name, {"told_model": model})

    async def _write(self, kind: str, name: str, at_ms: int, message: str) -> bool:
        try:
            await asyncio.to_thread(write_event, self._context, kind, name, at_ms, message)
        except (StoreError, OSError) as error:
            log.error("event not written: %s", error)
            return False
        log.info("%s", message)
        return True


def write_event(context: Context, kind: str, target: str, at_ms: int, message: str) -> None:
    """One file with one row; the same event has the same name. Raises StoreError."""
    import pyarrow as pa

    from pipelines import schemas

    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    name = f"{kind}-{blake2b(f'{target} {at_ms}'.encode(), digest_size=8).hexdigest()}"
    row = {"event_id": name, "at": at, "kind": kind, "day": at.date(), "target": target, "message": message[:2000]}
    table = pa.Table.from_pylist([row], schema=schemas.EVENTS)
    context.store.write_table(paths.events_part(at.date().isoformat(), name), table)
