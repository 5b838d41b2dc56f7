"""Worker-seconds of a server that is paid by time: from the first request, cold start included, until it has idled."""

from __future__ import annotations

import asyncio

from worker.simulator.core.config import ServerConfig, pusd_per_token


class Meter:
    """One worker that is up or down."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self._up_since_s: float | None = None
        self._busy = 0
        self._idle_since_s = 0.0
        self._counted_s = 0.0
        self.cold_starts = 0

    @property
    def is_up(self) -> bool:
        return self._up_since_s is not None and not self._has_idled(self._now())

    def start(self) -> float:
        """A request begins; gives the seconds that it waits for a cold worker."""
        now_s, wait_s = self._now(), 0.0
        if self._up_since_s is None or self._has_idled(now_s):
            self._close()
            self._up_since_s, wait_s = now_s, self.config.cold_start_ms / 1000
            self.cold_starts += 1
        else:
            wait_s = max(0.0, self._up_since_s + self.config.cold_start_ms / 1000 - now_s)
        self._busy += 1
        return wait_s

    def end(self) -> None:
        """A request has ended, however."""
        self._busy -= 1
        self._idle_since_s = self._now()

    def worker_s(self) -> float:
        """Seconds to be paid until now."""
        if self._up_since_s is None:
            return self._counted_s
        now_s = self._now()
        until_s = now_s if self._busy else min(now_s, self._idle_since_s + self.config.idle_s)
        return self._counted_s + until_s - self._up_since_s

    def cost_pusd(self) -> int:
        """The same in pico-dollars."""
        return round(self.worker_s() * pusd_per_token(self.config.usd_per_hour) * 1_000_000 / 3600)

    def _has_idled(self, now_s: float) -> bool:
        return not self._busy and now_s > self._idle_since_s + self.config.idle_s

    def _close(self) -> None:
        self._counted_s, self._up_since_s = self.worker_s(), None

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
