"""Requests and tokens per minute of a target, and its pauses, across all workers; taken in blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipelines import wire
from pipelines.config.sections import Target
from pipelines.types import Item
from worker.queue import Scripts


class Rates:
    """The shared token bucket of one target."""

    def __init__(
        self, scripts: Scripts, keys: wire.Keys, name: str, target: Target, told_rpm: Callable[[], int] = lambda: 0
    ) -> None:
        """`told_rpm`: requests a minute that hold beside the configured ones by now; 0: none."""
        self._scripts, self._key, self._target, self._told_rpm = scripts, keys.rate(name), target, told_rpm
        self._rpm, self._tpm = target.rpm or 0, target.tpm or 0
        self.limited = bool(self._rpm or self._tpm)

    async def admit(self, items: Sequence[Item]) -> tuple[int, float]:
        """How many of the waiting prompts, in their order, may be sent now, and seconds until the next. One that is larger than a
        whole minute's tokens takes a whole minute."""
        tokens = [self._target.charged_tokens(item.input_tokens, item.max_tokens) for item in items]
        rpm = min(filter(None, (self._rpm, self._told_rpm())), default=0)
        admitted, wait_ms = await self._scripts.rate(keys=[self._key], args=[rpm, self._tpm, 0, *tokens])
        return int(admitted), int(wait_ms) / 1000

    async def pause(self, seconds: float) -> None:
        """Stops the target for everybody, e.g. for a Retry-After."""
        await self._scripts.rate(keys=[self._key], args=[self._rpm, self._tpm, int(seconds * 1000)])
