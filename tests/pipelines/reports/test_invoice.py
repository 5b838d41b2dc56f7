"""An invoice's usage is the ledger to the pico-dollar; what is rounded is said and happens once."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import reports
from pipelines.config.sections import Client
from pipelines.days import month_span
from pipelines.money import pusd_to_usd
from pipelines.reports import invoice
from pipelines.reports.shared.frames import narrow
from pipelines.reports.shared.terms import Terms
from tests.support_frames import call, costs_frame, duplicate, result, results_frame

CLOUD = {"lane": "cloud", "model": "gpt"}


def lines(calls: list[dict[str, Any]], rows: list[dict[str, Any]] | None = None, **plan: Any) -> list[dict[str, Any]]:
    terms = Terms("acme", "2026-03", "UTC", Client(**plan))
    return invoice.build(results_frame(rows or []), costs_frame(calls), [], terms).collect().to_dicts()


def items(made: list[dict[str, Any]]) -> dict[str, Decimal]:
    return {line["item"]: line["amount_usd"] for line in made if line["item"] != "usage"}


def test_at_cost_every_call_is_billed_whatever_became_of_it() -> None:
    made = lines(
        [
            call(0, 0, cost_usd=Decimal("0.5")),
            call(1, 0, cost_usd=Decimal("1.25"), outcome="lost", **CLOUD),
            call(2, 0, cost_usd=Decimal("0.25"), purpose="audit", **CLOUD),
        ]
    )
    assert [(line["item"], line["lane"], line["model"], line["calls"], line["amount_usd"]) for line in made] == [
        ("usage", "cloud", "gpt", 2, Decimal("1.5")), ("usage", "local", "qwen", 1, Decimal("0.5")),
        ("total", None, None, 3, Decimal(2)),
    ]  # fmt: skip
    assert (made[-1]["input_tokens"], made[-1]["output_tokens"], made[-1]["due_usd"]) == (300, 30, Decimal("2.00"))


def test_cost_plus_a_markup() -> None:
    made = lines([call(0, 0, cost_usd=Decimal("1.000000000003"), **CLOUD)], markup=Decimal("0.2"))
    assert items(made) == {"markup 20 %": Decimal("0.200000000001"), "total": Decimal("1.200000000004")}
    assert made[-1]["due_usd"] == Decimal("1.20")


def test_cost_plus_a_share_of_what_was_avoided() -> None:
    calls = [
        call(0, 0, avoided_usd=Decimal(3), avoided_cause="local"),
        call(1, 1, cost_usd=Decimal(1), **CLOUD),
        call(2, 1, avoided_usd=Decimal(100), purpose="audit"),  # nobody asked for it
    ]
    rows = [result(0), result(1), duplicate(2, 0, avoided_usd=Decimal(2)), duplicate(3, 0, avoided_usd=Decimal(5))]
    made = lines(calls, rows, share_of_savings=Decimal("0.15"))
    assert items(made) == {"2 answers reused": 0, "15 % of avoided": Decimal("1.5"), "total": Decimal("2.5")}
    assert made[-1]["avoided_usd"] == 10
    nothing = lines([call(0, 0, cost_usd=Decimal(1), avoided_usd=Decimal(-1))], share_of_savings=Decimal("0.5"))
    assert nothing[-1]["amount_usd"] == 1, "savings that were none are not paid back"


@pytest.mark.parametrize(
    ("free", "billed"),
    [(0, (3_000_000, 1_000_000)), (2_500_000, (500_000, 1_000_000)), (3_400_000, (0, 600_000)), (9_000_000, (0, 0))],
)
def test_tokens_of_answers_by_a_price_list_with_a_free_tier(free: int, billed: tuple[int, int]) -> None:
    answer = {"input_tokens": 1_500_000, "output_tokens": 500_000, "cost_usd": Decimal("0.7")}
    calls = [
        call(0, 0, **answer), call(1, 1, **answer, **CLOUD), call(2, 1, **{**answer, "outcome": "rejected"}),
        call(3, 1, **{**answer, "outcome": "lost"}), call(4, 1, **answer, purpose="audit"),
    ]  # fmt: skip
    made = lines(calls, price_per_mtokens_in=Decimal("0.5"), price_per_mtokens_out=Decimal(2), free_tokens=free)
    tokens = [(line["input_tokens"], line["output_tokens"]) for line in made if "of answers" in line["item"]]
    assert tokens == [(billed[0], None), (None, billed[1])]
    due = Fraction(billed[0], 2 * 10**6) + Fraction(2 * billed[1], 10**6)
    assert Fraction(made[-1]["amount_usd"]) == due and Fraction(made[-1]["due_usd"]) == due
    assert made[-1]["cost_usd"] == Decimal("3.5"), "the ledger is shown, the price list is billed"


@pytest.mark.parametrize(
    ("cost", "due"),
    [("0.005", "0.00"), ("0.015", "0.02"), ("0.025", "0.02"), ("0.025000000001", "0.03"), ("0.024999999999", "0.02")],
)
def test_the_cent_is_rounded_half_even_and_only_at_the_end(cost: str, due: str) -> None:
    parts = [Decimal("0.004"), Decimal(cost) - Decimal("0.004")]
    made = lines([call(n, n, cost_usd=part, model=f"m{n}") for n, part in enumerate(parts)])
    assert (made[-1]["amount_usd"], made[-1]["due_usd"]) == (Decimal(cost), Decimal(due))


@given(
    st.lists(st.tuples(st.integers(0, 10**31), st.sampled_from(["a", "b", "c"])), min_size=1, max_size=20),
    st.decimals("0", "5", places=4),
)
def test_totals_equal_the_ledger_to_the_pico_dollar(spent: list[tuple[int, str]], markup: Decimal) -> None:
    calls = [call(n, n, cost_usd=pusd_to_usd(pusd), model=model) for n, (pusd, model) in enumerate(spent)]
    made = lines(calls, markup=markup)
    ledger = Fraction(sum(pusd for pusd, _ in spent), 10**12)
    assert Fraction(made[-1]["cost_usd"]) == ledger == sum(Fraction(each["cost_usd"]) for each in made if each["lane"])
    assert Fraction(made[-1]["amount_usd"]) == sum(Fraction(line["amount_usd"]) for line in made[:-1])
    assert abs(Fraction(made[-1]["amount_usd"]) - ledger * (1 + Fraction(markup))) <= Fraction(1, 2 * 10**12)
    assert abs(Fraction(made[-1]["due_usd"]) - Fraction(made[-1]["amount_usd"])) <= Fraction(1, 200)


def test_a_month_is_that_of_the_zone() -> None:
    moments = ["2026-02-28T22:59:59", "2026-02-28T23:00:00", "2026-03-31T21:59:59", "2026-03-31T22:00:00"]
    at = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in moments]
    costs = costs_frame([call(n, n, started_at=when, cost_usd=Decimal(10**n)) for n, when in enumerate(at)])
    rows = results_frame([duplicate(n, 0, finished_at=when, avoided_usd=Decimal(10**n)) for n, when in enumerate(at)])
    since, until = month_span("2026-03", "Europe/Berlin")
    frames = narrow(rows, costs, since=since, until=until, timezone="Europe/Berlin")
    frame, _ = reports.billed("invoice", *frames, Terms("default", "2026-03", "Europe/Berlin"))
    assert frame.row(-1, named=True)["cost_usd"] == frame.row(-1, named=True)["avoided_usd"] == 110


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({}, "at cost"),
        ({"markup": "0.125"}, "cost plus 12.5 %"),
        ({"share_of_savings": "1"}, "cost plus 100 % of the avoided money"),
        (
            {"price_per_mtokens_in": "1.5", "price_per_mtokens_out": "6", "free_tokens": 1_000_000},
            "$1.5 in, $6 out a million tokens of answers, 1,000,000 tokens free",
        ),
    ],
)
def test_it_says_its_plan_and_its_rounding(plan: dict[str, Any], said: str) -> None:
    (section,) = invoice.statement(Terms("acme", "2026-03", "Europe/Berlin", Client(**plan)), Decimal("1.000000000001"))
    told = {row["term"]: row["value"] for row in section.rows}
    assert told["plan"] == said
    assert (told["client"], told["month"], told["time zone"]) == ("acme", "2026-03", "Europe/Berlin")
    assert told["total before rounding"] == "1.000000000001 US dollars"
    assert "half-even to the cent" in told["rounding"]


def test_an_empty_month_owes_nothing() -> None:
    (total,) = lines([], markup=Decimal("0.2"))[-1:]
    assert (total["item"], total["due_usd"], total["calls"]) == ("total", 0, 0)
    assert isinstance(invoice.build(results_frame([]), costs_frame([]), []).collect(), pl.DataFrame)
