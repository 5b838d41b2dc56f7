"""Journals become rows: idempotent, lost calls at their bound, money exact."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines import schemas
from pipelines.journal import fold
from pipelines.settle import Facts, Journal, money, tables
from pipelines.types import BatchHead, Called, Done, Entry, Intent, Late, Usage

HEAD = BatchHead("r.0.0.0", "r", "small", 0, 2, 10, 10, 11.0, 0, 100)
TARGETS = {"mini": Facts("cloud", "openai", "gpt-4o-mini"), "gpu": Facts("local", "lmstudio", "qwen")}


def intent(call: str, row: int = 0, target: str = "mini", bound: int = 1000) -> Intent:
    return Intent(call, row, 1, target, 1_700_000_000_000_000, bound)


def called(call: str, cost: int = 600, outcome: str = "ok") -> Called:
    usage = Usage(input_tokens=4, output_tokens=2)
    return Called(
        call, outcome, 200, None, usage, cost, "billed", None, "p", "2026-01-01", 0, None, 1_700_000_001_000_000
    )


def done(row: int, call: str | None, status: str = "ok") -> Done:
    return Done(row, status, call, 1, "yes", None, "stop", None, None, None, 200, b"{}", 1, 2)


def both(*entries: Entry) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    results, costs, _ = tables([Journal(HEAD, "acme", entries, {0: "id-0"})], TARGETS)
    assert results.schema.equals(schemas.PART) and costs.schema.equals(schemas.COSTS)
    return results.to_pylist(), costs.to_pylist()


def test_an_answer_costs_what_its_call_cost() -> None:
    results, costs = both(intent("c1"), called("c1"), done(0, "c1"))
    assert [r["cost_usd"] for r in results] == [Decimal("0.000000000600")]
    assert costs[0]["cost_usd"] == Decimal("0.000000000600")
    assert (costs[0]["custom_id"], costs[0]["client"], costs[0]["provider"]) == ("id-0", "acme", "openai")
    assert results[0]["model"] == "gpt-4o-mini" and results[0]["response"] == "{}"


def test_sent_and_never_heard_of_is_lost_at_its_bound() -> None:
    results, costs = both(intent("c1"), intent("c2"), called("c2"), done(0, "c2"))
    assert [(c["call_id"], c["outcome"], c["cost_basis"]) for c in costs] == [
        ("c1", "lost", "upper_bound"),
        ("c2", "ok", "billed"),
    ]
    assert results[0]["cost_usd"] == Decimal("0.000000001600")


def test_a_lost_call_to_a_target_that_is_gone_has_the_date_of_the_call() -> None:
    _, costs = both(intent("c1", target="gone"))
    assert (costs[0]["outcome"], costs[0]["price_id"], costs[0]["price_as_of"]) == ("lost", "", date(2023, 11, 14))


def test_a_lost_call_that_is_settled_days_later_has_no_price_of_today() -> None:
    for today, dated in (("2024-01-01", date(2023, 11, 14)), ("2023-10-01", date(2023, 10, 1))):
        facts = {"mini": Facts("cloud", "openai", "m", "p", today)}
        costs = tables([Journal(HEAD, "acme", (intent("c1"),))], facts)[1].to_pylist()
        assert (costs[0]["price_id"], costs[0]["price_as_of"]) == ("p", dated)


def test_saying_it_twice_changes_nothing() -> None:
    once = (intent("c1"), called("c1"), done(0, "c1"))
    assert both(*once) == both(*once, *once)


def test_a_late_call_is_in_the_ledger_and_never_a_result() -> None:
    results, costs = both(intent("c1"), Late(called("c1", 700)), intent("c2"), called("c2"), done(0, "c2"))
    assert [(c["call_id"], c["purpose"], c["outcome"]) for c in costs] == [("c1", "late", "ok"), ("c2", "answer", "ok")]
    assert results[0]["cost_usd"] == Decimal("0.000000000600"), "late money is the run's, not the row's"


def test_the_first_end_of_a_row_stands() -> None:
    results, _ = both(intent("c1"), called("c1"), done(0, "c1"), done(0, None, "failed"))
    assert [r["status"] for r in results] == ["ok"]


def test_attempts_and_losses_are_known_from_the_journal() -> None:
    state = fold([intent("c1"), intent("c2"), called("c2"), intent("c3", row=1)])
    assert (state.attempts(0), state.attempts(1)) == (2, 1)
    assert [each.call for each in state.lost()] == ["c1", "c3"]


@given(st.lists(st.integers(-(2**62), 2**62), max_size=20))
def test_money_is_the_same_integer(pusd: list[int]) -> None:
    expected = pa.array([Decimal(each).scaleb(-12) for each in pusd], schemas.MONEY)
    assert money(pusd).equals(expected)
