"""Integer pico-dollars (1e-12 USD): what a call costs at a price, and at most may cost; no float anywhere. It books
nothing, and knows no price (prices.py does)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Literal

import msgspec

from pipelines.types import Usage

PUSD_PER_USD = 10**12
PUSD_PER_NUSD = 10**3
_TOKENS_PER_MTOK = 10**6
_MICROSECONDS_PER_HOUR = 3_600_000_000
EXACT = Context(prec=80)
_INPUT_MARGIN_TENTHS = 11  # our count of the input may be a tenth too low
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
    heard: int = 0  # input that is sound; 0: as input
    spoken: int = 0  # output that is sound; 0: as output
    drawn: int = 0  # output that is images; 0: as output


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


def cost_pusd(
    price: Price,
    usage: Usage,
    *,
    batch: bool = False,
    busy_us: int = 0,
    service: str | None = None,
    calls: int = 1,
) -> int:
    """What one call costs, rounded up to the pico-dollar. `busy_us` is the call's share of its local server's time:
    wall time divided by the calls in flight; `service` the tier that answered, as the provider says. `calls`: `usage` is that of
    so many alike, each of which pays its fee, at the rates of a prompt of their mean length."""
    tiers = price.batch_tiers if batch else _of_service(price, service)
    rates = _tier(tiers, _ceil(usage.input_tokens, max(1, calls)))
    heard = min(usage.heard_tokens, usage.input_tokens) if rates.heard else 0  # never the cheaper for being cached
    cached = min(usage.cached_input_tokens, usage.input_tokens - heard)
    written = min(usage.cache_write_tokens, usage.input_tokens - heard - cached)
    long = min(usage.long_cache_tokens, written)
    spoken = min(usage.spoken_tokens, usage.output_tokens) if rates.spoken else 0
    drawn = min(usage.drawn_tokens, usage.output_tokens - spoken) if rates.drawn else 0
    reasoned = min(usage.reasoning_tokens, usage.output_tokens - spoken - drawn)
    total = (
        (usage.input_tokens - heard - cached - written) * rates.input
        + heard * rates.heard
        + spoken * rates.spoken
        + drawn * rates.drawn
        + cached * rates.cached_input
        + (written - long) * rates.cache_write
        + long * (rates.long_cache_write or rates.cache_write)
        + (usage.output_tokens - spoken - drawn - reasoned) * rates.output
        + reasoned * rates.reasoning
    )
    energy = _ceil(price.energy_pusd_per_hour * busy_us, _MICROSECONDS_PER_HOUR)
    return _ceil(total, _TOKENS_PER_MTOK) + calls * price.request_pusd + energy


def worst_case_pusd(
    price: Price,
    input_tokens: int,
    max_output_tokens: int,
    *,
    batch: bool = False,
    long_cache: bool = False,
    sound: bool = False,
    service: str | None = None,
) -> int:
    """What is reserved before a call: the input and a tenth more at its dearest rate, and the longest answer. Only a
    call that asks for it can write to an hour's cache (`long_cache`), hear or speak (`sound`), or be served by a dearer tier
    (`service`); a model that draws may always."""
    tenths = input_tokens * _INPUT_MARGIN_TENTHS
    rates = price.batch_tiers if batch else (*price.tiers, *_of_service(price, service))
    tiers = [each for each in rates if each.above_tokens * 10 < tenths]
    dearest = [
        tenths
        * max(
            each.input,
            each.cached_input,
            each.cache_write,
            each.long_cache_write if long_cache else 0,
            each.heard if sound else 0,
        )
        + 10 * max_output_tokens * max(each.output, each.reasoning, each.drawn, each.spoken if sound else 0)
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
    return to_int(Decimal(usd), 12, ROUND_CEILING)


def usd_to_nusd(usd: Decimal | str | int) -> int:
    """A limit in nano-dollars, rounded down, so that the wall never stands further out than was asked for."""
    return to_int(Decimal(usd), 9, ROUND_FLOOR)


def pusd_to_usd(pusd: int) -> Decimal:
    """The same integer with its point set, as Parquet's decimal(38, 12) holds it."""
    return Decimal(pusd).scaleb(-12, EXACT)


def pusd_to_usd_str(pusd: int) -> str:
    """Plain decimal text without needless zeros: 0.00015, 12.50, 0.00."""
    whole, rest = divmod(abs(pusd), PUSD_PER_USD)
    decimals = f"{rest:012d}".rstrip("0").ljust(2, "0")
    return f"{'-' if pusd < 0 else ''}{whole}.{decimals}"


def pusd_to_nusd_ceil(pusd: int) -> int:
    return _ceil(pusd, PUSD_PER_NUSD)


def _tier(tiers: tuple[Rates, ...], input_tokens: int) -> Rates:
    if len(tiers) == 1:
        return tiers[0]
    return next(each for each in reversed(tiers) if input_tokens > each.above_tokens)


def to_int(value: Decimal, decimals: int, rounding: str) -> int:
    """A decimal with its point moved so far to the right."""
    return int(value.scaleb(decimals, EXACT).to_integral_value(rounding, EXACT))


def _ceil(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)
