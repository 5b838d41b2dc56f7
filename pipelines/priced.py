"""Derives what every call of a ledger costs and avoids once more, from its tokens and the prices beside it (beside.py)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import polars as pl
from msgspec.structs import replace

from pipelines.money import Price, cost_pusd, pusd_to_usd_str
from pipelines.types import Usage
from pipelines.violation import Violation, say

_TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
_MONEY = ("cost_usd", "avoided_usd")
_busy_us = (pl.col("finished_at") - pl.col("started_at")).dt.total_microseconds()
_NAMED = ("price_id", "price_as_of", "lane", "cost_basis", *_TOKENS, *_MONEY)


def check(costs: pl.LazyFrame, prices: Sequence[Price]) -> Iterator[Violation]:
    """Answered calls that do not cost what their tokens cost at the price that they name, or avoided what no price comes to.

    What a provider told itself (`reported`) is taken as it is; an upper bound is not below the tokens that are known.
    """
    answered = costs.filter((pl.col("outcome") == "ok") & (pl.col("price_id") != ""))
    time_us = pl.when(pl.col("cost_basis") == "amortised").then(_busy_us).otherwise(0).alias("us")
    alike = answered.group_by(*_NAMED, "avoided_cause", time_us).agg(pl.col("row").min()).select(_Call._fields)
    book = _Book(prices)
    rows, wrong = alike.collect(engine="streaming"), []
    for values in rows.iter_rows():
        call = _Call._make(values)
        if text := book.problem(call):
            wrong.append((call.row, text))
    found = pl.LazyFrame(wrong, schema={"row": pl.Int64, "text": pl.String}, orient="row")
    yield from say(found, lambda row, text: f"has a call that {text}")


class _Call(NamedTuple):
    """What calls have in common that must cost the same, and the first row that has one."""

    row: int
    price_id: str
    price_as_of: date
    lane: str
    cost_basis: str
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: Decimal
    avoided_usd: Decimal
    avoided_cause: str | None
    us: int


class _Book:
    """The recorded prices by name and day."""

    def __init__(self, prices: Sequence[Price]) -> None:
        self._named: dict[tuple[str, date], list[Price]] = defaultdict(list)
        for price in prices:
            self._named[price.price_id, price.as_of].append(price)
        self._cloud = [price for price in prices if price.basis == "billed"]

    def problem(self, call: _Call) -> str:
        """What is wrong with a call's money; empty when nothing is."""
        usage = Usage(
            call.input_tokens,
            call.cached_input_tokens,
            call.cache_write_tokens,
            call.output_tokens,
            call.reasoning_tokens,
        )
        cost, avoided = int(call.cost_usd.scaleb(12)), int(call.avoided_usd.scaleb(12))
        named = self._named.get((call.price_id, call.price_as_of))
        if named is None:
            return f"names the price {call.price_id} of {call.price_as_of}, which is not beside it"
        spans = [span for price in named for span in _spans(price, usage, call.lane == "provider_batch", call.us)]
        least, most = min(low for low, _ in spans), max(high for _, high in spans)
        wrong = {
            "reported": False,
            "upper_bound": cost < least,
        }.get(call.cost_basis, not any(low <= cost <= high for low, high in spans))  # fmt: skip
        if wrong:
            due = pusd_to_usd_str(least) + ("" if least == most else f" to {pusd_to_usd_str(most)}")
            return f"costs {pusd_to_usd_str(cost)}, but its tokens come to {due} at {call.price_id}"
        if call.avoided_cause in ("local", "provider_batch") and not self._is_worth(usage, cost + avoided):
            return f"avoided {pusd_to_usd_str(avoided)}, which its tokens come to at no price of the cloud"
        return ""

    def _is_worth(self, usage: Usage, pusd: int) -> bool:
        """Whether it is what a cloud would have taken, at once or in a batch."""
        spans = (span for each in self._cloud for batch in (False, True) for span in _spans(each, usage, batch, 0))
        return any(low <= pusd <= high for low, high in spans)


def _spans(price: Price, usage: Usage, batch: bool, busy_us: int) -> Iterator[tuple[int, int]]:
    """From and to: the ledger does not keep which service tier answered, which part of the cache was written for an hour, what was
    heard, spoken or drawn, nor which share of its time a local server gave."""
    others = [
        replace(usage, long_cache_tokens=usage.cache_write_tokens),
        replace(usage, heard_tokens=usage.input_tokens, spoken_tokens=usage.output_tokens),
        replace(usage, heard_tokens=usage.input_tokens, drawn_tokens=usage.output_tokens),
    ]
    for service in (None, *(price.by_service or ())):
        found = [cost_pusd(price, usage, batch=batch, service=service)]
        found += [cost_pusd(price, each, batch=batch, busy_us=busy_us, service=service) for each in others]
        yield min(found), max(found)
