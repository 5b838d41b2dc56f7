"""What schedulers have learned of targets, as Redis keeps it for the next run."""

from __future__ import annotations

import asyncio
import math
from typing import TypeVar

import msgspec

from pipelines.pace import Kept
from worker.context import Context

T = TypeVar("T")

ASK_S = 10.0
"""Schedulers keep what they learned as often (worker/schedule/estimates.py)."""


def field_of(context: Context, what: str, name: str) -> str:
    """Another model of the same server has another speed."""
    return f"{what}:{name} {context.settings.targets[name].model}"


def read(raw: bytes | None, kind: type[T]) -> T | None:
    """None for what no scheduler wrote."""
    try:
        return msgspec.json.decode(raw, type=kind) if raw else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


async def prefill_weights(context: Context) -> dict[str, float]:
    """By local target: what an input token weighs beside an output token, where that was measured."""
    local = [name for name, target in context.settings.targets.items() if target.lane == "local"]
    if not local:
        return {}
    raw = await context.redis.hmget(context.keys.learned, [field_of(context, "speed", name) for name in local])
    kept = ((name, read(value, Kept)) for name, value in zip(local, raw, strict=True))
    return {name: speed.mix.prefill for name, speed in kept if speed is not None and speed.mix.oo}


class PrefillWeights:
    """The same for who needs them with every part of a run: asked for once in a while."""

    def __init__(self, context: Context) -> None:
        self._context, self._asked_s = context, -math.inf
        self._known: dict[str, float] = {}

    async def now(self) -> dict[str, float]:
        """As they were ASK_S ago, or later."""
        if (now_s := asyncio.get_running_loop().time()) - self._asked_s >= ASK_S:
            self._known, self._asked_s = await prefill_weights(self._context), now_s
        return self._known
