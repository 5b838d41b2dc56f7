"""Wall-clock time as Redis has it, so that hosts whose clocks differ write comparable times."""

from __future__ import annotations

import time

from pipelines import days
from worker.queue import Redis, redis_now_us


class Clock:
    """This process' monotonic clock, set by Redis TIME."""

    def __init__(self) -> None:
        self._offset_us = time.time_ns() // 1000 - time.monotonic_ns() // 1000

    async def set(self, redis: Redis) -> None:
        """Measures the offset; a round trip counts half."""
        before = time.monotonic_ns() // 1000
        now = await redis_now_us(redis)
        after = time.monotonic_ns() // 1000
        self._offset_us = now - (before + after) // 2

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""
        return time.monotonic_ns() // 1000 + self._offset_us

    def now_ms(self) -> int:
        return self.now_us() // 1000

    def date(self, timezone: str) -> str:
        """Today in a time zone, YYYY-MM-DD."""
        return days.day(self.now_ms(), timezone)
