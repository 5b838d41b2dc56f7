"""Where prices come from, in this order: the target itself, [prices], for local targets their energy, genai-prices, which
only this file knows. What has no price is refused (`Unknown`), never free."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any

from pipelines.money import EXACT, Price, Rates, Unknown, to_int

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

    from pipelines.config.sections import Prices, Target

_PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "openrouter": "openrouter",
    "cerebras": "cerebras",
}
_PRICE_KEYS = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
    "long_cache_write": "cache_write_1h_mtok",
    "heard": "input_audio_mtok",
    "spoken": "output_audio_mtok",
    "drawn": "output_image_mtok",
}


def price_of(target: Target, prices: Mapping[str, Prices], at: datetime, *, name: str = "") -> Price | Unknown:
    """The price of `target` at `at`; ask again when time passes, some prices change with the date or the hour."""
    at = at.astimezone(UTC)
    if target.input_usd_per_mtok is not None and target.output_usd_per_mtok is not None:
        return _stated(f"config:targets.{name or target.model}", target, target.price_as_of or at.date())
    if target.lane == "local":
        return _energy(target, at.date())
    for key in (f"{target.provider or target.kind}/{target.model}", target.model):
        if (stated := prices.get(key)) is not None:
            return _stated(f"config:prices.{key}", stated, stated.as_of or at.date())
    return _listed(target, at) or Unknown(
        f"no price is known for {target.model!r} of target {name or target.model!r}; add under [prices]: "
        f"{json.dumps(target.model)} = {{ input_usd_per_mtok = …, output_usd_per_mtok = … }}"
    )


def _stated(price_id: str, stated: Target | Prices, as_of: date) -> Price:
    """A price of the configuration; a cached or written token without a price of its own is an input token."""
    assert stated.input_usd_per_mtok is not None and stated.output_usd_per_mtok is not None
    values = {
        "input": stated.input_usd_per_mtok,
        "cached_input": stated.cached_input_usd_per_mtok,
        "cache_write": stated.cache_write_usd_per_mtok,
        "output": stated.output_usd_per_mtok,
    }
    share = 1 - (stated.batch_discount or Decimal(0))
    batch = {key: None if value is None else EXACT.multiply(value, share) for key, value in values.items()}
    return Price(price_id, as_of, "billed", (_rates(values.get),), (_rates(batch.get),))


def _energy(target: Target, as_of: date) -> Price:
    free = (Rates(0, 0, 0, 0, 0),)
    if not target.watts or target.usd_per_kwh is None:
        return Price("local:free", as_of, "amortised", free, free)
    per_hour = to_int(EXACT.multiply(target.watts, target.usd_per_kwh), 9, ROUND_CEILING)  # W x USD/kWh: 1e-3 USD/h
    label = f"local:{target.watts}W@{target.usd_per_kwh}USD/kWh"
    return Price(label, as_of, "amortised", free, free, energy_pusd_per_hour=per_hour)


def _listed(target: Target, at: datetime) -> Price | None:
    found = _find(target.provider, target.kind, target.base_url or "", target.model)
    if found is None:
        return None
    provider, model = found
    standard, batch = model.get_prices(at), model.get_prices(at, {"processing": "batch"})
    if standard.input_mtok is None or standard.output_mtok is None:
        return None
    per_thousand = standard.requests_kcount
    return Price(
        price_id=f"genai-prices-{_version()}:{provider.id}/{model.id}",
        as_of=at.date(),
        basis="billed",
        tiers=_list_tiers(standard),
        batch_tiers=_list_tiers(batch),
        request_pusd=to_int(per_thousand, 9, ROUND_CEILING) if isinstance(per_thousand, Decimal) else 0,
        by_service={
            service: _list_tiers(model.get_prices(at, {"service_tier": service})) for service in _services(model, at)
        },
    )


def _services(model: ModelInfo, at: datetime) -> set[str]:
    """The service tiers that the price list knows of a model at that time."""
    return {
        variant.when["service_tier"]
        for variant in model.price_variants or ()
        if variant.when.keys() == {"service_tier"} and (variant.constraint is None or variant.constraint.active(at))
    }


@functools.lru_cache(maxsize=1024)
def _find(provider: str | None, kind: str, base_url: str, model: str) -> tuple[Provider, ModelInfo] | None:
    """The vendor is the configured one, else the one whose address it is, else the one that `kind` names."""
    from genai_prices.data_snapshot import get_snapshot

    name, snapshot = model, get_snapshot()
    if kind == "huggingface" and provider is None:
        name, _, host = model.partition(":")
        provider = f"huggingface_{host}"
    for vendor, address in ((provider, None),) if provider else ((None, base_url), (_PROVIDERS.get(kind), None)):
        if vendor is None and address is None:
            continue
        try:
            # The vendor is looked up first: with neither an id nor a known address the library would guess one.
            found = snapshot.find_provider(None, vendor, address)
            return snapshot.find_provider_model(name, found, None, None)
        except LookupError:
            continue
    return None


def _list_tiers(price: ModelPrice) -> tuple[Rates, ...]:
    from genai_prices.types import TieredPrices

    values: dict[str, Any] = {field: getattr(price, key, None) for field, key in _PRICE_KEYS.items()}
    starts = {tier.start for each in values.values() if isinstance(each, TieredPrices) for tier in each.tiers}

    def value_above(start: int, field: str) -> Decimal | None:
        each = values.get(field)
        if not isinstance(each, TieredPrices):
            return each
        reached = [tier.price for tier in each.tiers if tier.start <= start]
        return reached[-1] if reached else each.base

    return tuple(_rates(functools.partial(value_above, start), start) for start in (-1, *sorted(starts)))


def _rates(value_of: Callable[[str], Decimal | None], above_tokens: int = -1) -> Rates:
    def rate(*fields: str) -> int:
        values: Iterable[Decimal | None] = (value_of(field) for field in fields)
        return next((to_int(value, 12, ROUND_CEILING) for value in values if value is not None), 0)

    return Rates(
        input=rate("input"),
        cached_input=rate("cached_input", "input"),
        cache_write=rate("cache_write", "input"),
        output=rate("output"),
        reasoning=rate("reasoning", "output"),
        above_tokens=above_tokens,
        long_cache_write=rate("long_cache_write"),
        heard=rate("heard"),
        spoken=rate("spoken"),
        drawn=rate("drawn"),
    )


@functools.cache
def _version() -> str:
    from importlib.metadata import version

    return version("genai-prices")
