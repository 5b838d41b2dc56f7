"""Lengths: sums that only grow, a guess that answers outweigh, bounded groups."""

from __future__ import annotations

import pytest

from pipelines.learn import GROUPS, Learned, Length, count, kind, outputs


def of(rows: int, expected: float, actual: float) -> Length:
    return Length(rows, rows * expected, rows * actual, rows * actual**2)


def test_answers_outweigh_the_guess() -> None:
    assert Length().longer() == 1.0
    assert 1.0 < of(1, 100, 300).longer() < 2.0, "one answer says little"
    assert of(4, 100, 300).longer() > 2.3, "a small batch says more than a guess"
    assert of(1000, 100, 300).longer() == pytest.approx(3.0, rel=0.02)
    assert of(4, 200, 20).longer() < 0.2, "a guess of ten times too much is no more than one answer either"
    learned = Learned({kind("local", "g"): of(1000, 100, 50)})
    assert outputs(learned, "local", "g", 200.0) == pytest.approx(100.0, rel=0.02)
    assert outputs(learned, "local", "other", 200.0) == 200.0
    assert learned.knows("g") and not learned.knows("other")


def test_each_lanes_model_writes_answers_of_its_own() -> None:
    """With 100 tokens here and 600 there, both were taken for 350: needless spills, and a price of half."""
    local, cloud = of(1000, 200, 100), of(1000, 200, 600)
    both = Learned({kind("local", "g"): local, kind("cloud", "g"): cloud})
    assert outputs(both, "local", "g", 200.0) == pytest.approx(100.0, rel=0.01)
    assert outputs(both, "cloud", "g", 200.0) == pytest.approx(600.0, rel=0.01)
    assert kind("provider_batch", "g") == kind("cloud", "g"), "the same model"
    for lane, known in (("local", cloud), ("cloud", local)):
        other = "cloud" if lane == "local" else "local"
        learned = Learned({kind(other, "g"): known})
        assert outputs(learned, lane, "g", 200.0) == outputs(learned, other, "g", 200.0), "better than a guess"
        assert learned.knows("g")
    first = Learned({kind("local", "g"): of(1, 200, 100), kind("cloud", "g"): cloud})
    assert 100 < outputs(first, "local", "g", 200.0) < 600, "one answer says little here too"


def test_sums_are_told_again_and_again_and_counted_once() -> None:
    before, now = of(10, 100, 50), of(30, 100, 50)
    assert now.since(before) == of(20, 100, 50)
    assert now.since(now) == Length()
    assert before.since(now) == before, "a worker that began anew"
    assert now.scaled(0.5) == of(15, 100, 50)


def test_one_answer_after_the_other() -> None:
    length = Length()
    for tokens in (10, 30):
        length.answer(tokens)
    assert (length.rows, length.output_tokens, length.squares) == (2, 40, 1000)


def test_groups_are_bounded() -> None:
    lengths: dict[str, Length] = {}
    for number in range(GROUPS + 5):
        count(lengths, f"g{number}", of(1, 1, 1))
    assert len(lengths) == GROUPS and "g0" not in lengths and f"g{GROUPS + 4}" in lengths
    count(lengths, f"g{GROUPS + 4}", of(2, 1, 1))
    assert lengths[f"g{GROUPS + 4}"] == of(3, 1, 1)
