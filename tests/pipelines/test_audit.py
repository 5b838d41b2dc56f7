"""What is audited, and the interval against published and hand-computed figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit import Reuse, asked_rows, chosen, condemned, due, excess, verdict, wilson


@pytest.mark.parametrize(
    ("reuses", "spared", "audited", "share", "expected"),
    [
        (9, 9, 0, 0.01, 0),
        (19, 19, 0, 0.01, 1),
        (19, 150, 0, 0.01, 15),
        (25, 300, 0, 0.01, 25),
        (40, 299, 0, 0.01, 29),
        (40, 300, 0, 0.01, 30),
        (40, 4_000, 0, 0.01, 30),
        (40, 4_000, 25, 0.01, 5),
        (2_900, 2_900, 0, 0.01, 30),
        (10_000, 10_000, 40, 0.01, 60),
        (40, 40, 0, 1.0, 40),
        (10_000, 10_000, 0, 0.0, 0),
        (10, 10, 30, 0.01, 0),
    ],
)
def test_a_share_and_a_minimum_that_small_runs_are_not_bothered_with(
    reuses: int, spared: int, audited: int, share: float, expected: int
) -> None:
    assert due(reuses, spared, audited, share, "proof") == expected


@pytest.mark.parametrize(("reuses", "expected"), [(49, 0), (50, 1), (1_000, 20), (1_500, 30), (2_000, 30), (5_000, 50)])
def test_canonical_keys_are_asked_less_often(reuses: int, expected: int) -> None:
    assert due(reuses, 10_000, 0, 0.01, "canonical") == expected
    assert due(reuses, 10_000, 0, 0.0, "canonical") == 0


@given(st.integers(0, 2_000), st.integers(0, 2_000), st.integers(0, 2_000))
def test_the_minimum_costs_less_than_a_quarter_of_what_is_spared(proofs: int, canonical: int, exact: int) -> None:
    spared = proofs + canonical + exact
    audits = due(proofs, spared, 0, 0.01, "proof") + due(canonical, spared, 0, 0.01, "canonical")
    assert 2 * audits < spared / 4 or not audits


def reuses(count: int) -> list[Reuse]:
    return [Reuse(row, row // 2, "other" if row % 3 == 0 else None, "small", "edit", "typo") for row in range(count)]


def test_the_lot_is_the_same_every_time_and_does_not_depend_on_order() -> None:
    first = chosen("run", reuses(100), 10)
    assert first == chosen("run", list(reversed(reuses(100))), 10) and len(first) == 10
    assert first != chosen("another", reuses(100), 10)
    assert chosen("run", reuses(100), 12)[:10] == first


def test_leaders_of_this_run_are_asked_beside_their_followers_and_others_followers_twice() -> None:
    assert asked_rows([Reuse(9, 4, None, "r", "edit", ""), Reuse(8, 4, None, "r", "edit", "")]) == ([4, 8, 9], [])
    assert asked_rows([Reuse(9, 4, "other", "r", "edit", ""), Reuse(5, 4, None, "r", "edit", "")]) == ([4, 5, 9], [9])


def test_wilson_and_newcombe_are_the_published_figures() -> None:
    """Newcombe 1998, table II, method 10: 56/70 - 48/80 is 0.0524 to 0.3339; 9/10 - 3/10 is 0.1705 to 0.8090."""
    low, high = excess(56, 70, 48, 80)[1:]
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    low, high = excess(9, 10, 3, 10)[1:]
    assert (low, high) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert wilson(81, 263)[1:] == pytest.approx((0.2553, 0.3662), abs=5e-5)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_the_interval_holds_its_value_and_a_few_audits_condemn_nobody(a: int, b: int, c: int, d: int) -> None:
    wrong, audited, baseline_wrong, baseline = min(a, b), max(a, b), min(c, d), max(c, d)
    found = excess(wrong, audited, baseline_wrong, baseline)
    assert -1.0 - 1e-9 <= found.low <= found.value + 1e-9 <= found.high + 2e-9 <= 1.0 + 3e-9
    if condemned(wrong, audited, baseline_wrong, baseline, 0.005):
        assert audited >= 30 and found.low > 0.005


def test_what_leaders_do_to_themselves_is_no_fault_of_reuse() -> None:
    assert condemned(20, 40, 0, 40, 0.005)
    assert not condemned(20, 40, 20, 40, 0.005)
    assert not condemned(1, 40, 0, 40, 0.005)


def test_too_little_says_nothing() -> None:
    assert verdict(500, 500, 0, 500, 0.005) == "paused"
    assert verdict(500, 500, 500, 500, 0.005) == verdict(500, 500, 0, 500, 1.0) == "holds"
    assert verdict(500, 500, 0, 0, 0.005) == verdict(29, 29, 0, 29, 0.005) == "undecided"
