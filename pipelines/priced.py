"""Derives what every call of a ledger costs and avoids once more, from its tokens and the prices beside it (beside.py)."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import msgspec
import polars as pl

from pipelines.money import Price, cost_pusd, pusd_to_usd_str, usd_to_pusd
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
    alike = answered.group_by(*_NAMED, "avoided_cause", time_us).agg(pl.col("row").min())
    book = _Book(prices)
    rows, wrong = alike.collect(engine="streaming"), []
    for values in rows.iter_rows(named=True):
        if text := book.problem(values):
            wrong.append((values["row"], text))
    found = pl.LazyFrame(wrong, schema={"row": pl.Int64, "text": pl.String}, orient="row")
    yield from say(found, lambda row, text: f"has a call that {text}")


class _Book:
    """The recorded prices by name and day."""

    def __init__(self, prices: Sequence[Price]) -> None:
        self._named: dict[tuple[str, date], list[Price]] = defaultdict(list)
        for price in prices:
            self._named[price.price_id, price.as_of].append(price)
        self._cloud = [price for price in prices if price.basis == "billed"]

    def problem(self, call: dict[str, Any]) -> str:
        """What is wrong with a call's money; empty when nothing is."""
        usage = Usage(*(call[name] for name in _TOKENS))
        cost, avoided = usd_to_pusd(call["cost_usd"]), usd_to_pusd(call["avoided_usd"])
        named = self._named.get((call["price_id"], call["price_as_of"]))
        if named is None:
            return f"names the price {call['price_id']} of {call['price_as_of']}, which is not beside it"
        spans = [span for price in named for span in _spans(price, usage, call["lane"] == "provider_batch", call["us"])]
        least, most = min(low for low, _ in spans), max(high for _, high in spans)
        wrong = {
            "reported": False,
            "upper_bound": cost < least,
        }.get(call["cost_basis"], not any(low <= cost <= high for low, high in spans))  # fmt: skip
        if wrong:
            due = pusd_to_usd_str(least) + ("" if least == most else f" to {pusd_to_usd_str(most)}")
            return f"costs {pusd_to_usd_str(cost)}, but its tokens come to {due} at {call['price_id']}"
        if call["avoided_cause"] == "local" and all(cost_pusd(each, usage) != cost + avoided for each in self._cloud):
            return f"avoided {pusd_to_usd_str(avoided)}, which its tokens come to at no price of the cloud"
        return ""


def _spans(price: Price, usage: Usage, batch: bool, busy_us: int) -> Iterator[tuple[int, int]]:
    """From and to: the ledger does not keep which service tier answered, which part of the cache was written for an hour, nor
    which share of its time a local server gave."""
    long = msgspec.structs.replace(usage, long_cache_tokens=usage.cache_write_tokens)
    for service in (None, *(price.by_service or {})):
        cost = functools.partial(cost_pusd, price, batch=batch, service=service)
        ends = (cost(usage), cost(usage, busy_us=busy_us), cost(long, busy_us=busy_us))
        yield min(ends), max(ends)
