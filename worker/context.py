"""What every part of a worker process shares: settings, Redis, names, runs and targets."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from pipelines import budgets, wire
from pipelines.quality import compile_schema
from pipelines.settings import Settings
from pipelines.types import Called, Options
from worker.again import Again
from worker.clock import Clock
from worker.money import budget
from worker.queue import Redis, Scripts
from worker.targets import Targets

if TYPE_CHECKING:
    from worker.store import Store

log = logging.getLogger("spillway.worker")


PATIENT_S = 6 * 3600.0
"""Nine in ten providers' batches are back by then."""


class RunContext:
    """A run as a worker needs it while its batches are here."""

    def __init__(self, run_id: str, fields: dict[str, str], settings: Settings) -> None:
        self.id = run_id
        self.client = fields.get("client", "default")
        self.options: Options = wire.unpack_options(fields.get("options", "{}").encode())
        self.labels = self.options.labels
        self.schema: dict[str, Any] | None = json.loads(self.options.schema) if self.options.schema else None
        self.validator = compile_schema(self.options.schema) if self.options.schema else None
        self.checked = self.labels is not None or self.validator is not None
        deadline_s = self.options.deadline_s
        self.patient = not fields.get("tell") and (deadline_s is None or deadline_s >= PATIENT_S)
        """A provider's batch would have been in time, so what its prompts avoid in the cloud has the batch price."""
        self.keep_response = self.options.keep_response and settings.spillway.keep_response
        self.limit_nusd = int(fields["budget_nusd"]) if fields.get("budget_nusd") else None
        self.started_ms = fields.get("started_ms", "")
        self.created_ms = fields.get("created_ms", "")
        self.stopped = fields.get("cancel", "") not in ("", "0")
        self.deadline_ms = int(float(fields["deadline_ms"])) if fields.get("deadline_ms") else None
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._scopes: tuple[str, tuple[str, ...]] = ("", ())
        self._keys = wire.Keys(settings.spillway.prefix)

    def wanted_scopes(self, clock: Clock) -> dict[str, int | None]:
        day = clock.date(self._settings.spillway.timezone)
        return budgets.scopes(self._settings, self.client, self.id, self.limit_nusd, day)

    def scopes(self, clock: Clock) -> tuple[str, ...]:
        """Redis keys of every budget that a paid call of this run must fit into now."""
        day = clock.date(self._settings.spillway.timezone)
        if self._scopes[0] != day:
            self._scopes = (day, tuple(self._keys.budget(name) for name in self.wanted_scopes(clock)))
        return self._scopes[1]

    def count(self, **deltas: int) -> None:
        """Live counters for the display; exact figures come from Parquet at the end."""
        self.counts.update(deltas)

    def count_call(self, lane: str, called: Called) -> None:
        self.counts["calls"] += 1
        self.counts[f"{lane}_calls"] += 1
        self.counts["cloud_calls"] += lane == "provider_batch"  # in the cloud too
        self.counts["cost_pusd"] += called.cost_pusd
        self.counts["avoided_pusd"] += called.avoided_pusd

    def count_done(self, lane: str, status: str) -> None:
        self.counts[status] += 1
        self.counts[f"rows_{lane}"] += 1


class Context:
    """One per worker process."""

    def __init__(self, settings: Settings, redis: Redis, redis_url: str) -> None:
        self.settings, self.redis, self.redis_url = settings, redis, redis_url
        self.keys = wire.Keys(settings.spillway.prefix)
        self.scripts = Scripts(redis)
        self.again = Again(self)
        self.scripts.gate = self.again.gate
        self.clock = Clock()
        self.targets = Targets(settings, self.clock)
        self.owner = f"{socket.gethostname()}-{uuid4().hex[:10]}"
        self.background: set[asyncio.Task[Any]] = set()
        self._runs: dict[str, RunContext] = {}

    @cached_property
    def store(self) -> Store:
        from worker.store import Store

        return Store(self.settings.spillway.data)

    # -- runs --------------------------------------------------------------------------------------------------

    async def run(self, run_id: str, started_ms: str | None = None) -> RunContext:
        """What is known of a run; `started_ms` as just read tells whether it was resumed on other terms meanwhile."""
        found = self._runs.get(run_id)
        if found is None or (started_ms is not None and found.started_ms != started_ms):
            raw = await self.redis.hgetall(self.keys.run(run_id))
            fields = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in raw.items()}
            try:
                found = RunContext(run_id, fields, self.settings)
            except (ValueError, TypeError, RecursionError, msgspec.MsgspecError) as error:
                raise wire.Unreadable(f"run {run_id}: {error}") from None
            await budget.ensure(self.redis, self.keys, found.wanted_scopes(self.clock))
            quicker = self._runs.get(run_id)  # batches are claimed together, and what is counted has one place
            if quicker is not None and quicker.started_ms == found.started_ms:
                return quicker
            self._runs[run_id] = found
        return found

    def runs(self) -> list[RunContext]:
        return list(self._runs.values())

    def forget_run(self, run_id: str) -> None:
        self._runs.pop(run_id, None)
