"""What calls cost and avoid: prices of targets, the worst case before a call, the charge after it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from functools import cached_property

import msgspec

from pipelines.media import surplus_tokens
from pipelines.money import Price, Unknown, cost_pusd, is_priced, pusd_to_nusd_ceil, worst_case_pusd
from pipelines.prices import price_of
from pipelines.settings import Settings
from pipelines.truth import DOUBT
from pipelines.types import Completion, Failure, Item, Usage
from worker.money.reported import key_of
from worker.targets import Targets

MINUTE_MS = 60_000
GATEWAYS = frozenset({502, 504, 524})
UNPAID = frozenset({"invalid", "context", "auth", "funds", "model", "rate", "overload"})


class Charge(msgspec.Struct, frozen=True, gc=False):
    """The money side of one call."""

    outcome: str
    http_status: int | None
    error_code: str | None
    usage: Usage
    cost_pusd: int
    cost_basis: str
    model: str | None
    price_id: str
    price_as_of: str
    avoided_pusd: int = 0
    avoided_cause: str | None = None


class Ledger:
    """Prices for one process, by Redis' clock; a target without a price is closed, never free."""

    def __init__(self, settings: Settings, targets: Targets) -> None:
        self._settings, self._targets = settings, targets
        self._prices: dict[str, Price | Unknown] = {}
        self._minute = -1
        self._spent_by_key: Counter[str] = Counter()
        self._refresh()

    def _refresh(self) -> None:
        """Once a minute: some prices change with the date or the hour."""
        minute = self._targets.clock.now_ms() // MINUTE_MS
        if minute == self._minute:
            return
        self._minute = minute
        at = datetime.fromtimestamp(minute * MINUTE_MS / 1000, UTC)
        for name, target in self._settings.targets.items():
            if target.key_variable and target.lane == "cloud":
                self._targets.close(name, f"the environment variable {target.key_variable} is not set")
            price = price_of(target, self._settings.prices, at, name=name)
            if isinstance(price, Unknown):
                self._targets.close(name, price.message)
            self._prices[name] = price

    def prices(self) -> list[Price]:
        """Of every target that has one, now."""
        self._refresh()
        return [price for price in self._prices.values() if isinstance(price, Price)]

    def price(self, name: str) -> Price | None:
        self._refresh()
        price = self._prices.get(name)
        return price if isinstance(price, Price) else None

    def bound_pusd(self, name: str, item: Item, *, batch: bool = False) -> int | Failure:
        """The most that a call can cost, which is reserved before it is sent; a Failure where nobody knows it, though
        another worker may think that the target is open. `batch`: as a line of a provider's batch."""
        self._refresh()
        price = self._prices[name]
        if isinstance(price, Unknown):
            return Failure("auth", "no_price", price.message)
        service = _service_of(item.body)
        if not is_priced(price, service):
            told = f"no price is known for service tier {service!r} of {price.price_id}; state one under [prices]"
            return Failure("invalid", "no_price", told)
        if b'"web_search_options"' in item.body and price.basis == "billed":
            told = (
                "no price is known for its web searches, which are paid beside the tokens; remove `web_search_options`"
            )
            return Failure("invalid", "no_price", told)
        target = self._settings.targets[name]
        reads = item.input_tokens + surplus_tokens(item.body, target.model, target.context_tokens)
        writes = item.max_tokens or target.max_output_tokens
        long = b'"1h"' in item.body
        sound = b'"input_audio"' in item.body or b'"audio"' in item.body
        return worst_case_pusd(price, reads, writes, batch=batch, long_cache=long, sound=sound, service=service)

    def batch_share(self, name: str) -> float:
        """The price of a line of a provider's batch as a share of the real-time price; 1 where nothing is cheaper."""
        price, one = self.price(name), Usage(input_tokens=1_000, output_tokens=1_000)
        full = cost_pusd(price, one) if price else 0
        return cost_pusd(price, one, batch=True) / full if price and full else 1.0

    def cloud_estimate_pusd(self, route: str, input_tokens: int, output_tokens: int, rows: int) -> int:
        """Expected price of a batch of so many rows at the route's cheapest cloud target; 0 when it has none."""
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        return self._cheapest_cloud(route, usage, calls=rows) or 0

    def estimate_pusd(self, route: str, lane: str, input_tokens: int, output_tokens: int, rows: int) -> int:
        """Expected price of a batch of so many rows at the first target of a route's lane."""
        names = self._targets.route_targets(route, lane)
        price, usage = self.price(names[0]) if names else None, Usage(input_tokens, output_tokens=output_tokens)
        return cost_pusd(price, usage, calls=rows) if price else 0

    def _cheapest_cloud(self, route: str, usage: Usage, *, wait: bool = False, calls: int = 1) -> int | None:
        """At the price of a provider's batch, where the target takes them and there is time to `wait`."""
        names = self._targets.route_targets(route, "cloud")
        found = [
            (price, wait and self._settings.targets[name].provider_batch)
            for name in names
            if (price := self.price(name))
        ]
        return min((cost_pusd(price, usage, batch=batch, calls=calls) for price, batch in found), default=None)

    @cached_property
    def _told_keys(self) -> dict[str, str | None]:
        """Known once a call was made: that process has its targets' backends loaded."""
        return {name: key_of(target) for name, target in self._settings.targets.items()}

    def note(self, name: str, cost_pusd: int) -> None:
        """Counts what a call has cost, where the provider of its key tells what all have spent with it (reported.py)."""
        if (key := self._told_keys.get(name)) is not None:
            self._spent_by_key[key] += pusd_to_nusd_ceil(cost_pusd)

    def spent_by_key(self) -> dict[str, int]:
        """Nano-dollars by key since this was last asked."""
        spent, self._spent_by_key = self._spent_by_key, Counter()
        return spent

    def charge(
        self,
        name: str,
        outcome: Completion | Failure,
        busy_s: float,
        bound_pusd: int,
        route: str,
        *,
        batch: bool = False,
        patient: bool = False,
    ) -> Charge:
        """What a call's outcome means in money. Nothing heard after sending: lost, at its upper bound. `batch`: it was a line
        of a provider's batch; `patient`: one would have been in time."""
        price = self.price(name)
        price_id, as_of = (price.price_id, price.as_of.isoformat()) if price else ("", "")
        if isinstance(outcome, Failure) and outcome.usage is None:
            worked_on = outcome.kind == "late" and bound_pusd > 0  # the answer is made all the same, and has a price
            lost = outcome.kind == "unknown" or worked_on or _is_behind_a_gateway(outcome)
            kind = "lost" if lost else "rejected" if outcome.kind in UNPAID else "error"
            cost, basis = (bound_pusd, "upper_bound") if lost else (0, "billed")
            return Charge(kind, outcome.http_status, outcome.code, Usage(), cost, basis, None, price_id, as_of)
        cost, basis = _paid(price, outcome, int(busy_s * 1e6), bound_pusd, batch=batch)
        if isinstance(outcome, Failure):
            status, code, usage = outcome.http_status, outcome.code, outcome.usage or Usage()
            return Charge("ok", status, code, usage, cost, basis, outcome.model, price_id, as_of)
        cause = "provider_batch" if batch else self._settings.targets[name].lane
        wait = patient and not batch
        cloud = self._cheapest_cloud(route, outcome.usage, wait=wait) if cause != "cloud" else None
        avoided = max(0, cloud - cost) if cloud is not None else 0
        return Charge(
            "ok", 200, None, outcome.usage, cost, basis, outcome.model, price_id, as_of, avoided,
            cause if avoided else None,
        )  # fmt: skip


def _paid(
    price: Price | None, outcome: Completion | Failure, busy_us: int, bound_pusd: int, *, batch: bool
) -> tuple[int, str]:
    """What an answer costs, also one that is no use, and how that is known."""
    if outcome.cost_reported_pusd is not None:
        return outcome.cost_reported_pusd, "reported"
    if price is None:
        return 0, "billed"
    usage = outcome.usage or Usage()
    cost = cost_pusd(price, usage, batch=batch, busy_us=busy_us, service=outcome.tier)
    if price.basis == "billed" and _is_unmetered(outcome):
        return max(cost, bound_pusd), "upper_bound"
    return cost, price.basis


def _service_of(body: bytes) -> str | None:
    """The service tier that a row asks for; None when it leaves that to the provider."""
    if b'"service_tier"' not in body:
        return None
    wanted = msgspec.json.decode(body, type=_Wanted).service_tier
    return None if wanted is None else wanted.lower()


class _Wanted(msgspec.Struct):
    service_tier: str | None = None


def _is_behind_a_gateway(failure: Failure) -> bool:
    """A server error that is not the vendor's own word: behind it an answer may have been made, and billed."""
    return failure.kind == "transient" and (failure.http_status in GATEWAYS or failure.code.startswith("http_"))


def _is_unmetered(outcome: Completion | Failure) -> bool:
    """An answer whose usage is missing or makes no sense: it was paid, and nobody says how much."""
    said = outcome.kind == DOUBT if isinstance(outcome, Failure) else bool(outcome.text or outcome.tool_calls)
    usage = outcome.usage or Usage()
    return said and not (usage.input_tokens and usage.output_tokens)
