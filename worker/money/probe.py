"""Buys and books a call that belongs to no run (`spillway targets check`): its worst case must fit into the shared budgets, and
the ledger gets a file with one row of purpose `probe`."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

from pipelines import beside, budgets, paths, wire
from pipelines.money import Price, pusd_to_nusd_ceil, pusd_to_usd
from pipelines.settings import Settings
from pipelines.types import Completion, Failure, Item
from worker.clock import Clock
from worker.money import budget
from worker.money.ledger import Ledger
from worker.queue import Redis, Scripts
from worker.targets import Targets

CLIENT = "default"
SENT = Failure("unknown", "lost", "sent, and nothing more was heard")
"""What the ledger says before the call is made: whoever is killed meanwhile leaves it at its upper bound."""
INPUT_TOKENS = 64
"""More than the few words of a probe have."""


class Probe:
    """One call: whether it may be made, and what it came to."""

    def __init__(self, settings: Settings, name: str, redis: Redis) -> None:
        self._settings, self._name, self._redis = settings, name, redis
        self._keys = wire.Keys(settings.spillway.prefix)
        self._bound_pusd = self._started_us = 0
        self._scopes: list[str] = []
        self._call = uuid4().hex[:12]

    async def admit(self, body: bytes, max_tokens: int) -> str:
        """Why the call may not be made; empty once its worst case is counted as spent."""
        clock, redis = Clock(), self._redis
        await clock.set(redis)
        targets = Targets(self._settings, clock)
        targets.learn(await redis.hgetall(self._keys.targets))
        if (state := targets.states.get(self._name, {})).get("cutoff"):
            return str(state.get("reason"))
        self._ledger, self._started_us = Ledger(self._settings, targets), clock.now_us()
        bound = self._ledger.bound_pusd(self._name, Item(0, body, INPUT_TOKENS, max_tokens))
        if isinstance(bound, Failure):
            return bound.message
        self._bound_pusd = bound
        return await self._take(clock.date(self._settings.spillway.timezone)) if bound else ""

    @property
    def price(self) -> Price | None:
        """What was reckoned with when it was admitted."""
        return self._ledger.price(self._name)

    async def _take(self, day: str) -> str:
        wanted = budgets.shared(self._settings, CLIENT, day)
        await budget.ensure(self._redis, self._keys, wanted)
        names = [self._keys.budget(name) for name in wanted]
        refused = await Scripts(self._redis).now("buy", names, [pusd_to_nusd_ceil(self._bound_pusd)])
        if refused:
            return f"the budget {list(wanted)[refused - 1]} has no room for this call; `spillway budget show` has it"
        self._scopes = names
        return ""

    async def settle(self, cost_pusd: int) -> None:
        """What was taken and not needed goes back."""
        pipe = self._redis.pipeline(transaction=True)
        for scope in self._scopes:
            pipe.hincrby(scope, "spent", pusd_to_nusd_ceil(cost_pusd) - pusd_to_nusd_ceil(self._bound_pusd))
        await pipe.execute()

    def book(self, outcome: Completion | Failure, seconds: float) -> int:
        """Writes the row, over an earlier one; returns what the call cost, in pico-dollars. Blocking. Raises StoreError."""
        import pyarrow as pa

        from pipelines import schemas
        from worker.store import Store

        target, called = self._settings.targets[self._name], self._call
        charge = self._ledger.charge(self._name, outcome, seconds, self._bound_pusd, "")
        started = datetime.fromtimestamp(self._started_us / 1e6, UTC)
        usage = charge.usage
        row = {
            "call_id": f"probe.{called}:0:1", "purpose": "probe", "client": CLIENT, "attempt": 1, "lane": target.lane,
            "target": self._name, "provider": target.provider or target.kind, "model": charge.model or target.model,
            "route": "", "outcome": charge.outcome, "http_status": charge.http_status, "error_code": charge.error_code,
            "input_tokens": usage.input_tokens, "cached_input_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens, "output_tokens": usage.output_tokens,
            "reasoning_tokens": usage.reasoning_tokens, "price_id": charge.price_id,
            "price_as_of": date.fromisoformat(charge.price_as_of), "cost_usd": pusd_to_usd(charge.cost_pusd),
            "cost_basis": charge.cost_basis, "avoided_usd": Decimal(0), "started_at": self._started_us,
            "finished_at": self._started_us + round(seconds * 1e6),
        }  # fmt: skip
        table = beside.noted(pa.Table.from_pylist([row], schema=schemas.COSTS), self._ledger.prices())
        Store(self._settings.spillway.data).write_table(
            paths.costs_part(started.date().isoformat(), "probe", called), table
        )
        return charge.cost_pusd
