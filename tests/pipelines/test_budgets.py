"""What a scope says, and when it is told of."""

from __future__ import annotations

from decimal import Decimal

import pytest

from pipelines import budgets
from pipelines.budgets import Event, Scope
from pipelines.settings import parse_settings


def test_texts_of_redis_become_a_scope_and_garbage_allows_nothing() -> None:
    assert budgets.read("day:x", "unlimited", "5", None) == Scope("day:x", None, 5, 0)
    assert budgets.read("day:x", "100", None, "7") == Scope("day:x", 100, 0, 7)
    assert budgets.read("day:x", "\x1b[31m", "many", "") == Scope("day:x", 0, 0, 0)
    assert budgets.read("day:x", "unlimited", "many", "7") == Scope("day:x", 0, 0, 7)
    assert budgets.read("day:x", "much", "5", "7") == Scope("day:x", 0, 5, 7)


def test_who_a_scope_belongs_to() -> None:
    assert (Scope("client:acme:day:2026-01-01", 1).client, Scope("run:r-1", 1).run_id) == ("acme", "r-1")
    assert (Scope("day:2026-01-01", 1).client, Scope("day:2026-01-01", 1).run_id) == (None, None)


@pytest.mark.parametrize(
    ("limit", "spent", "at", "due"),
    [(100, 79, 0.8, False), (100, 80, 0.8, True), (100, 300, 1.0, True), (None, 10**9, 0.0, False), (0, 0, 0.8, False),
     (100, 0, 0.0, False), (100, 1, 0.0, True)],
)  # fmt: skip
def test_an_alert_is_due_from_its_share_on(limit: int | None, spent: int, at: float, due: bool) -> None:
    assert budgets.is_due(Scope("day:x", limit, spent), at) is due


def test_a_client_is_told_at_its_own_share() -> None:
    settings = parse_settings({"budget": {"alert_at": 0.9}, "clients": {"acme": {"budget": {"alert_at": 0.3}}}})
    assert budgets.alert_at(settings, Scope("client:acme:day:x", 1)) == 0.3
    assert budgets.alert_at(settings, Scope("client:other:day:x", 1)) == 0.9
    assert budgets.alert_at(settings, Scope("run:r", 1)) == 0.9


def test_every_shared_scope_is_counted_and_may_be_limited() -> None:
    settings = parse_settings({"budget": {"monthly_usd": 2}, "clients": {"acme": {"budget": {"daily_usd": 1}}}})
    assert budgets.shared(settings, "x", "2026-03-01") == {"day:2026-03-01": None, "month:2026-03": 2_000_000_000}
    counted = budgets.scopes(settings, "acme", "20260301-000000-abcdef", 5, "2026-03-01")
    assert counted["client:acme:day:2026-03-01"] == 1_000_000_000
    assert counted["client:acme:month:2026-03"] is None and counted["run:20260301-000000-abcdef"] == 5
    assert [budgets.problem_of(settings, name) for name in counted] == [""] * 5


@pytest.mark.parametrize(
    "name",
    ["", "day", "day:", "day:2026-13-01", "month:2026", "client:acme", "client:acme:week:1", "client:x:day:2026-03-01",
     "client:acme:day:x", "run:../x", "hour:1", "cutoff:2026-03"],
)  # fmt: skip
def test_a_scope_in_which_nothing_counts_is_refused(name: str) -> None:
    assert budgets.problem_of(parse_settings({"clients": {"acme": {}}}), name)


def test_words_and_json_are_exact() -> None:
    scope = Scope("run:r-1", 2_000_000_000, 1_500_000_001, 3)
    assert budgets.alert_text(scope) == "budget run:r-1: $1.500000001 of $2.00 is spent (75%)"
    said = Event("budget_alert", "2026-01-01", scope, 1_000_000, "m").as_json()
    assert (said["spent_usd"], said["limit_usd"], said["reserved_usd"], said["run_id"]) == (
        "1.500000001", "2.00", "0.000000003", "r-1",
    )  # fmt: skip
    assert scope.share == Decimal(1_500_000_001) / 2_000_000_000
