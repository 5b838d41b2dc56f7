"""Books a call that belongs to no run (`spillway targets check`): one ledger file with one row of purpose `probe`."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

from pipelines import paths
from pipelines.money import pusd_to_usd
from pipelines.settings import Settings
from pipelines.types import Completion, Failure, Item
from worker.clock import Clock
from worker.money.ledger import Ledger
from worker.targets import Targets

INPUT_TOKENS = 64
"""More than the few words of a probe have."""


class Probe:
    """One call: whether it may be made, and what it came to."""

    def __init__(self, settings: Settings, name: str, body: bytes, max_tokens: int) -> None:
        self._settings, self._name = settings, name
        self._ledger = Ledger(settings, Targets(settings, Clock()))
        bound = self._ledger.bound_pusd(name, Item(0, body, INPUT_TOKENS, max_tokens))
        self.refused = bound.message if isinstance(bound, Failure) else ""
        self._bound_pusd = 0 if isinstance(bound, Failure) else bound
        self._started_us = time.time_ns() // 1000

    def book(self, outcome: Completion | Failure, seconds: float) -> Decimal:
        """Writes the row; returns what the call cost, in dollars. Raises StoreError."""
        import pyarrow as pa

        from pipelines import schemas
        from worker.store import Store

        target, called = self._settings.targets[self._name], uuid4().hex[:12]
        charge = self._ledger.charge(self._name, outcome, seconds, self._bound_pusd, "")
        started = datetime.fromtimestamp(self._started_us / 1e6, UTC)
        usage = charge.usage
        row = {
            "call_id": f"probe.{called}:0:1", "purpose": "probe", "client": "default", "attempt": 1, "lane": target.lane,
            "target": self._name, "provider": target.provider or target.kind, "model": charge.model or target.model,
            "route": "", "outcome": charge.outcome, "http_status": charge.http_status, "error_code": charge.error_code,
            "input_tokens": usage.input_tokens, "cached_input_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens, "output_tokens": usage.output_tokens,
            "reasoning_tokens": usage.reasoning_tokens, "price_id": charge.price_id,
            "price_as_of": date.fromisoformat(charge.price_as_of), "cost_usd": pusd_to_usd(charge.cost_pusd),
            "cost_basis": charge.cost_basis, "avoided_usd": Decimal(0), "started_at": self._started_us,
            "finished_at": self._started_us + round(seconds * 1e6),
        }  # fmt: skip
        table = pa.Table.from_pylist([row], schema=schemas.COSTS)
        Store(self._settings.spillway.data).write_table(
            paths.costs_part(started.date().isoformat(), "probe", called), table
        )
        return pusd_to_usd(charge.cost_pusd)
