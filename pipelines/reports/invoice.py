"""What a client owes for a month: cost plus a markup or a share of the savings, or its tokens by a price list.

The usage lines are the ledger's, so their sum is its sum to the pico-dollar. Each further line is rounded half-even to the
pico-dollar, the amount due half-even to the cent, once, at the end. Tokens are billed of answers alone: what was rejected,
lost or asked for an audit costs the client nothing by the price list, and a reused answer has no tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import reduce
from typing import Any

import polars as pl

from pipelines.reports.shared.frames import MONEY, dated, grouped, usd
from pipelines.reports.shared.sections import Section
from pipelines.reports.shared.terms import Terms

BY: tuple[str, ...] = ()
DIMENSIONS: tuple[str, ...] = ()
TOTALS: tuple[str, ...] = ()
TERMS = True

ROUNDING = "lines half-even to the pico-dollar (0.000000000001), the amount due half-even to the cent"

_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
_PICO, _CENT, _MILLION = Decimal("0.000000000001"), Decimal("0.01"), Decimal(10**6)
_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "item": pl.String, "lane": pl.String, "model": pl.String, "calls": pl.Int64, "input_tokens": pl.Int64,
    "output_tokens": pl.Int64, "cost_usd": MONEY, "avoided_usd": MONEY, "amount_usd": MONEY, "due_usd": MONEY,
}  # fmt: skip

Line = Mapping[str, Any]


def build(results: pl.LazyFrame, costs: pl.LazyFrame, by: list[str], terms: Terms = Terms()) -> pl.LazyFrame:  # noqa: B008
    results, costs = dated(results, costs)
    used = [*_usage(costs), *_reused(results)]
    by_price = terms.plan.price_per_mtokens_in is not None
    usage = [{**line, "amount_usd": Decimal(0) if by_price else line["cost_usd"]} for line in used]
    lines = [*usage, *(_by_price(costs, terms) if by_price else _on_cost(usage, terms))]
    amount = _sum(lines, "amount_usd")
    counts = {name: sum(line.get(name) or 0 for line in usage) for name in ("calls", "input_tokens", "output_tokens")}
    money = {name: _sum(usage, name) for name in ("cost_usd", "avoided_usd")}
    last = {"item": "total", **counts, **money, "amount_usd": amount, "due_usd": _EXACT.quantize(amount, _CENT)}
    return pl.DataFrame([{**dict.fromkeys(_COLUMNS), **line} for line in (*lines, last)], schema=_COLUMNS).lazy()


def statement(terms: Terms, total_usd: Decimal) -> list[Section]:
    """What an invoice says of itself; `total_usd` is its total before it is rounded."""
    said = {
        "client": terms.client, "month": terms.month, "time zone": terms.timezone, "plan": _plan(terms),
        "total before rounding": f"{total_usd:f} US dollars", "rounding": ROUNDING,
    }  # fmt: skip
    return [Section("terms", [{"term": term, "value": value} for term, value in said.items()])]


def _usage(costs: pl.LazyFrame) -> list[dict[str, Any]]:
    """Every call of the month, also late, lost and audit calls: the ledger by lane and model."""
    values = [
        pl.len().cast(pl.Int64).alias("calls"),
        pl.col("input_tokens").sum(),
        pl.col("output_tokens").sum(),
        usd("cost_usd").alias("cost_usd"),
        usd("avoided_usd", pl.col("purpose") == "answer").alias("avoided_usd"),
    ]
    lines = grouped(costs, ["lane", "model"], values).collect()
    return [{"item": "usage", **line} for line in lines.iter_rows(named=True)]


def _reused(results: pl.LazyFrame) -> list[dict[str, Any]]:
    """Duplicates made no call; what they avoided is in the results."""
    of = results.filter(pl.col("status") == "duplicate").select(
        pl.len().alias("rows"), usd("avoided_usd").alias("avoided")
    )
    rows, avoided = of.collect().row(0)
    return [{"item": f"{rows:,} answers reused", "cost_usd": Decimal(0), "avoided_usd": avoided}] if rows else []


def _on_cost(usage: list[dict[str, Any]], terms: Terms) -> Iterator[Line]:
    plan = terms.plan
    if plan.share_of_savings is not None:
        amount = _EXACT.multiply(max(_sum(usage, "avoided_usd"), Decimal(0)), plan.share_of_savings)
        yield {"item": f"{_percent(plan.share_of_savings)} of avoided", "amount_usd": _EXACT.quantize(amount, _PICO)}
    elif plan.markup:
        amount = _EXACT.multiply(_sum(usage, "cost_usd"), plan.markup)
        yield {"item": f"markup {_percent(plan.markup)}", "amount_usd": _EXACT.quantize(amount, _PICO)}


def _by_price(costs: pl.LazyFrame, terms: Terms) -> Iterator[Line]:
    answers = costs.filter((pl.col("purpose") == "answer") & (pl.col("outcome") == "ok"))
    tokens = answers.select(pl.col("input_tokens").sum(), pl.col("output_tokens").sum()).collect().row(0, named=True)
    free, plan = terms.plan.free_tokens, terms.plan
    for name, price in (("input_tokens", plan.price_per_mtokens_in), ("output_tokens", plan.price_per_mtokens_out)):
        assert price is not None, "the configuration has both or neither"
        given = min(free, tokens[name])
        free -= given
        billed = tokens[name] - given
        amount = _EXACT.divide(_EXACT.multiply(Decimal(billed), price), _MILLION)
        said = f"{name.replace('_', ' ')} of answers, {given:,} of {tokens[name]:,} free"
        yield {"item": said, name: billed, "amount_usd": _EXACT.quantize(amount, _PICO)}


def _sum(lines: list[Any], column: str) -> Decimal:
    """Exact beyond the 28 digits that Decimal adds by itself."""
    return reduce(_EXACT.add, (line[column] for line in lines), Decimal(0))


def _plan(terms: Terms) -> str:
    plan = terms.plan
    if plan.price_per_mtokens_in is not None:
        free = f", {plan.free_tokens:,} tokens free" if plan.free_tokens else ""
        return (
            f"${plan.price_per_mtokens_in:f} in, ${plan.price_per_mtokens_out:f} out a million tokens of answers{free}"
        )
    if plan.share_of_savings is not None:
        return f"cost plus {_percent(plan.share_of_savings)} of the avoided money"
    return f"cost plus {_percent(plan.markup)}" if plan.markup else "at cost"


def _percent(share: Decimal) -> str:
    return f"{(share * 100).normalize():f} %"
