"""Wall-clock time as Redis has it, so that hosts whose clocks differ write comparable times."""

from __future__ import annotations

import time

from pipelines import days
from worker.queue import Redis, redis_now_us

DOUBT_US = 2_000
"""Less than this is no reason to set a clock that others' times were written by."""


class Clock:
    """This process' monotonic clock, set by Redis TIME."""

    def __init__(self) -> None:
        self._offset_us = time.time_ns() // 1000 - time.monotonic_ns() // 1000

    async def set(self, redis: Redis) -> None:
        """Measures the offset, where it is not already as exact as the round trip can tell: a machine that slept does not
        count its sleep, and clocks are put right."""
        before = time.monotonic_ns() // 1000
        now = await redis_now_us(redis)
        after = time.monotonic_ns() // 1000
        measured, doubt = now - (before + after) // 2, (after - before) // 2 + DOUBT_US
        if abs(measured - self._offset_us) > doubt:
            self._offset_us = measured

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return time.monotonic_ns() // 1000 + self._offset_us

    def now_ms(self) -> int:
        return self.now_us() // 1000

    def date(self, timezone: str) -> str:
        """Today in a time zone, YYYY-MM-DD."""
        return days.day(self.now_ms(), timezone)
