"""One stand-in server while it runs: its configuration, capacity, faults, limits and figures."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from worker.simulator.core.bill import Account, Bill
from worker.simulator.core.config import ServerConfig, change
from worker.simulator.core.engine import Engine
from worker.simulator.core.faults import Faults
from worker.simulator.core.http import Listener
from worker.simulator.core.limits import Limits, PrefixCache
from worker.simulator.core.meter import Meter

HISTORY = 600


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One interval of a server's life; `busy_slots` is the mean over it."""

    t_s: float
    busy_slots: float
    queued: int
    requests: int


class Server:
    """What the personalities and the control port share."""

    def __init__(self, name: str, config: ServerConfig, seed: int, bill: Bill) -> None:
        self.name, self.config, self.bill = name, config, bill
        self.seed = f"{seed}:{name}"
        self.started_s = self._now()
        self.listener: Listener | None = None
        self.is_down = False
        self.down_mode = config.down_mode
        self._build()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _build(self) -> None:
        config = self.config
        self.notes: dict[str, Any] = {}  # what personalities keep with a server: files, batches
        self.engine = Engine(config)
        self.meter = Meter(config)
        self.limits = Limits(config, self._now())
        self.prefixes = PrefixCache()
        self.in_flight = 0
        self.max_in_flight = 0
        self.requests = 0
        self.history: deque[Sample] = deque(maxlen=HISTORY)
        self._sampled = (self._now(), 0.0, 0)
        self._choose_faults()

    def _choose_faults(self) -> None:
        config = self.config
        self.faults = Faults(self.seed, config.faults, config.fault_rates, by_prompt=config.fault_by == "prompt")
        self._random = random.Random(self.seed)

    @property
    def account(self) -> Account:
        return self.bill.account(self.name)

    @property
    def uptime_s(self) -> float:
        return self._now() - self.started_s

    def arrive(self) -> int:
        """Counts a generation request and gives its number, from 1."""
        self.requests += 1
        self.account.calls += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return self.requests

    def latency_s(self, output_tokens: int) -> float:
        """Time to answer that does not depend on load."""
        config = self.config
        base_ms = config.latency_ms
        if base_ms and config.latency_sigma:
            base_ms *= math.exp(self._random.gauss(0.0, config.latency_sigma))
        return (base_ms + output_tokens * config.token_ms) / 1000

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Changes the configuration of a running server. Raises ConfigError."""
        before = self.config
        self.config = change(self.name, before, changes)
        self.engine.configure(self.config)
        self.meter.config = self.config
        if changes.keys() & {"rpm", "tpm", "burst_s"}:
            self.limits = Limits(self.config, self._now())
        if changes.keys() & {"faults", "fault_rates", "fault_by"}:
            self._choose_faults()
        if "down_mode" in changes:
            self.down_mode = self.config.down_mode

    async def set_down(self, down: bool) -> None:
        """A server that is down loses what it was doing: those calls are neither answered nor billed."""
        self.is_down = down
        if self.listener is None:
            return
        if down and self.down_mode == "refuse":
            self.listener.shut()
        else:
            await self.listener.open()
            for connection in list(self.listener.connections) if down else []:
                connection.drop()

    async def forget(self) -> None:
        """Figures and faults as at the start; requests in flight end without a trace."""
        for connection in list(self.listener.connections) if self.listener else []:
            connection.drop()
        await asyncio.sleep(0.01)  # the dropped ones still count themselves out
        self._build()

    def sample(self) -> None:
        """Adds the time since the last sample to the history."""
        now_s = self._now()
        at_s, busy_s, requests = self._sampled
        busy_now_s = self.engine.load.busy_until(now_s)
        if now_s > at_s:
            mean = (busy_now_s - busy_s) / (now_s - at_s)
            passed = Sample(
                round(now_s - self.started_s, 3), round(mean, 3), len(self.engine.queue), self.requests - requests
            )
            self.history.append(passed)
            self._sampled = (now_s, busy_now_s, self.requests)

    def figures(self) -> dict[str, Any]:
        """What GET /status tells of this server."""
        load, config = self.engine.load, self.config
        recent = [sample for sample in self.history if sample.t_s > self.uptime_s - 10]
        seconds = max(
            1e-9, self.uptime_s - (self.history[-len(recent) - 1].t_s if len(self.history) > len(recent) else 0)
        )
        return {
            "personality": config.personality,
            "model": self.engine.loaded,
            "down": self.is_down,
            "slots": self.engine.slots,
            "uptime_s": round(self.uptime_s, 3),
            "requests": self.requests,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "busy_slots": load.running,
            "max_busy_slots": load.max_running,
            "queued": len(self.engine.queue),
            "max_queued": load.max_queued,
            "busy_slot_s": round(load.busy_until(self._now()), 3),
            "finished": load.finished,
            "abandoned": load.abandoned,
            "model_swaps": load.swaps,
            "requests_per_s": round(sum(sample.requests for sample in recent) / seconds, 2) if recent else 0.0,
            "outcomes": dict(self.account.outcomes),
            "history": [msgspec.to_builtins(sample) for sample in self.history],
        }


def unix_s() -> float:
    """The wall clock, for times on the wire and on the bill."""
    return time.time()
