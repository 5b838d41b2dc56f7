"""Integer pico-dollars (1e-12 USD): what a call costs, and at most may cost; owner of genai-prices, no float anywhere.

Prices come, in this order, from the target itself, from [prices], for local targets from their energy, from
genai-prices. What has no price is refused (`Unknown`), never free. It books nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pipelines.types import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

    from pipelines.sections import Prices, Target

PUSD_PER_USD = 10**12
PUSD_PER_NUSD = 10**3
_TOKENS_PER_MTOK = 10**6
_MICROSECONDS_PER_HOUR = 3_600_000_000
_EXACT = Context(prec=80)
_INPUT_MARGIN_TENTHS = 11  # our count of the input may be a tenth too low
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
}

_NEVER_DEARER = frozenset({"auto", "default", "standard", "standard_only", "flex", "batch"})

CostBasis = Literal["billed", "amortised"]


class Rates(msgspec.Struct, frozen=True, gc=False):
    """Pico-dollars per million tokens (so that every price with 12 decimals is exact), from more than `above_tokens`
    input tokens on."""

    input: int
    cached_input: int
    cache_write: int
    output: int
    reasoning: int
    above_tokens: int = -1
    long_cache_write: int = 0  # for an hour's cache; 0: as cache_write


class Price(msgspec.Struct, frozen=True):
    """The price of a target at one moment; `price_id` says where it comes from, `as_of` for which day it was found."""

    price_id: str
    as_of: date
    basis: CostBasis
    tiers: tuple[Rates, ...]
    batch_tiers: tuple[Rates, ...]
    request_pusd: int = 0
    energy_pusd_per_hour: int = 0
    by_service: Mapping[str, tuple[Rates, ...]] | None = None
    """Rates of other service tiers (priority, flex, …); None: the price holds whatever the tier."""


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """No price: the target is refused with this message, which holds the line to add to spillway.toml."""

    message: str


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


def cost_pusd(price: Price, usage: Usage, *, batch: bool = False, busy_us: int = 0, service: str | None = None) -> int:
    """What one call costs, rounded up to the pico-dollar. `busy_us` is the call's share of its local server's time:
    wall time divided by the calls in flight; `service` the tier that answered, as the provider says."""
    rates = _tier(price.batch_tiers if batch else _of_service(price, service), usage.input_tokens)
    cached = min(usage.cached_input_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    long = min(usage.long_cache_tokens, written)
    reasoned = min(usage.reasoning_tokens, usage.output_tokens)
    total = (
        (usage.input_tokens - cached - written) * rates.input
        + cached * rates.cached_input
        + (written - long) * rates.cache_write
        + long * (rates.long_cache_write or rates.cache_write)
        + (usage.output_tokens - reasoned) * rates.output
        + reasoned * rates.reasoning
    )
    energy = _ceil(price.energy_pusd_per_hour * busy_us, _MICROSECONDS_PER_HOUR)
    return _ceil(total, _TOKENS_PER_MTOK) + price.request_pusd + energy


def worst_case_pusd(
    price: Price,
    input_tokens: int,
    max_output_tokens: int,
    *,
    batch: bool = False,
    long_cache: bool = False,
    service: str | None = None,
) -> int:
    """What is reserved before a call: the input and a tenth more at its dearest rate, and the longest answer. Only a
    call that asks for it can write to an hour's cache (`long_cache`) or be served by a dearer tier (`service`)."""
    tenths = input_tokens * _INPUT_MARGIN_TENTHS
    rates = price.batch_tiers if batch else (*price.tiers, *_of_service(price, service))
    tiers = [each for each in rates if each.above_tokens * 10 < tenths]
    dearest = [
        tenths * max(each.input, each.cached_input, each.cache_write, each.long_cache_write if long_cache else 0)
        + 10 * max_output_tokens * max(each.output, each.reasoning)
        for each in tiers or price.tiers[:1]
    ]
    return _ceil(max(dearest), 10 * _TOKENS_PER_MTOK) + price.request_pusd


def is_priced(price: Price, service: str | None) -> bool:
    """Whether it is known what a call costs that asks for this service tier; what is never dearer need not be."""
    return price.by_service is None or service is None or service in _NEVER_DEARER or service in price.by_service


def _of_service(price: Price, service: str | None) -> tuple[Rates, ...]:
    return (price.by_service or {}).get(service or "", price.tiers)


def usd_to_pusd(usd: Decimal | str | int) -> int:
    """Exact up to 12 decimals, rounded up beyond. Floats are refused: they are not what was written."""
    if isinstance(usd, (float, bool)):
        raise TypeError(f"money is a decimal, a string or a whole number, not the {type(usd).__name__} {usd!r}")
    return _to_int(Decimal(usd), 12, ROUND_CEILING)


def usd_to_nusd(usd: Decimal | str | int) -> int:
    """A limit in nano-dollars, rounded down, so that the wall never stands further out than was asked for."""
    return _to_int(Decimal(usd), 9, ROUND_FLOOR)


def pusd_to_usd(pusd: int) -> Decimal:
    """The same integer with its point set, as Parquet's decimal(38, 12) holds it."""
    return Decimal(pusd).scaleb(-12, _EXACT)


def pusd_to_usd_str(pusd: int) -> str:
    """Plain decimal text without needless zeros: 0.00015, 12.50, 0.00."""
    whole, rest = divmod(abs(pusd), PUSD_PER_USD)
    decimals = f"{rest:012d}".rstrip("0").ljust(2, "0")
    return f"{'-' if pusd < 0 else ''}{whole}.{decimals}"


def pusd_to_nusd_ceil(pusd: int) -> int:
    return _ceil(pusd, PUSD_PER_NUSD)


# --- where prices come from


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
    batch = {key: None if value is None else _EXACT.multiply(value, share) for key, value in values.items()}
    return Price(price_id, as_of, "billed", (_rates(values.get),), (_rates(batch.get),))


def _energy(target: Target, as_of: date) -> Price:
    free = (Rates(0, 0, 0, 0, 0),)
    if not target.watts or target.usd_per_kwh is None:
        return Price("local:free", as_of, "amortised", free, free)
    per_hour = _to_int(_EXACT.multiply(target.watts, target.usd_per_kwh), 9, ROUND_CEILING)  # W x USD/kWh: 1e-3 USD/h
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
        request_pusd=_to_int(per_thousand, 9, ROUND_CEILING) if isinstance(per_thousand, Decimal) else 0,
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
        return next((_to_int(value, 12, ROUND_CEILING) for value in values if value is not None), 0)

    return Rates(
        input=rate("input"),
        cached_input=rate("cached_input", "input"),
        cache_write=rate("cache_write", "input"),
        output=rate("output"),
        reasoning=rate("reasoning", "output"),
        above_tokens=above_tokens,
        long_cache_write=rate("long_cache_write"),
    )


def _tier(tiers: tuple[Rates, ...], input_tokens: int) -> Rates:
    if len(tiers) == 1:
        return tiers[0]
    return next(each for each in reversed(tiers) if input_tokens > each.above_tokens)


def _to_int(value: Decimal, decimals: int, rounding: str) -> int:
    return int(value.scaleb(decimals, _EXACT).to_integral_value(rounding, _EXACT))


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


@functools.cache
def _version() -> str:
    from importlib.metadata import version

    return version("genai-prices")
