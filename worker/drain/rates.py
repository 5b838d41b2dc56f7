"""Requests and tokens per minute of a target, and its pauses, across all workers; taken in blocks."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines import wire
from worker.queue import Scripts


class Rates:
    """The shared token bucket of one target."""

    def __init__(self, scripts: Scripts, keys: wire.Keys, target: str, rpm: int | None, tpm: int | None) -> None:
        self._scripts, self._key = scripts, keys.rate(target)
        self._rpm, self._tpm = rpm or 0, tpm or 0
        self.limited = bool(rpm or tpm)

    async def admit(self, tokens: Sequence[int]) -> tuple[int, float]:
        """How many of the waiting calls (their tokens, in order) may go now, and seconds until the next. One that is larger than
        a whole minute's tokens takes a whole minute."""
        admitted, wait_ms = await self._scripts.rate(keys=[self._key], args=[self._rpm, self._tpm, 0, *tokens])
        return int(admitted), int(wait_ms) / 1000

    async def pause(self, seconds: float) -> None:
        """Stops the target for everybody, e.g. for a Retry-After."""
        await self._scripts.rate(keys=[self._key], args=[self._rpm, self._tpm, int(seconds * 1000)])
