"""How fast each target answers, all workers together, as their heartbeats tell; remembered while it is idle."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping

from worker.beat import Beat, TargetStats

RATE_WINDOW_S = 8.0
RATE_LEAST_S = 0.3


class Pace:
    """The last seconds of every worker's counters."""

    def __init__(self) -> None:
        self._history: dict[tuple[str, str], deque[tuple[float, TargetStats]]] = {}
        self._last_rate: dict[str, tuple[float, float]] = {}

    def of(self, name: str, beats: Mapping[str, Beat]) -> tuple[float, float, float]:
        """Work and rows per busy second of a target over the last seconds, all workers together, and its latency."""
        now = asyncio.get_running_loop().time()
        work = rows = 0.0
        latencies = []
        for owner, beat in beats.items():
            stats = beat.targets.get(name)
            if stats is None:
                continue
            history = self._history.setdefault((name, owner), deque())
            history.append((now, stats))
            while len(history) > 2 and history[1][0] < now - RATE_WINDOW_S:
                history.popleft()
            first = history[0][1]
            busy_s = stats.busy_s - first.busy_s
            if busy_s > RATE_LEAST_S:
                work, rows = work + (stats.work - first.work) / busy_s, rows + (stats.done - first.done) / busy_s
            if stats.latency_s:
                latencies.append(stats.latency_s)
        if rows:
            self._last_rate[name] = (work, rows)
        return (*self._last_rate.get(name, (0.0, 0.0)), sum(latencies) / len(latencies) if latencies else 0.0)
