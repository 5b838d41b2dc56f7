"""Shares: charged when rung, given back as far as it came back unanswered."""

from __future__ import annotations

import pytest

from worker.schedule.shares import Shares


def test_what_comes_back_unanswered_was_not_served() -> None:
    """A target dies with a batch of `a` rung and one of `b` half answered."""
    shares = Shares()
    shares.levels(["a", "b"])
    shares.rung("one", "a", 100.0, 1.0)
    shares.rung("two", "b", 100.0, 2.0)
    shares.seen("two", 0.5)
    assert shares.levels(["a", "b"]) == {"a": 100.0, "b": 50.0}
    for batch in ("one", "two", "another's"):
        shares.came_back(batch)
    assert shares.levels(["a", "b"]) == pytest.approx({"a": 0.0, "b": 25.0})
    shares.came_back("one")
    assert shares.levels(["a", "b"])["a"] == 0.0, "once"


def test_what_has_ended_stays_charged_and_is_forgotten() -> None:
    shares = Shares()
    shares.levels(["a", "b"])
    shares.rung("one", "a", 100.0, 1.0)
    shares.keep(["other"])
    shares.came_back("one")
    assert shares.levels(["a", "b"]) == {"a": 100.0, "b": 0.0}


def test_what_was_charged_by_a_guess_is_worth_no_more_than_what_is_charged_by_answers() -> None:
    """Answers are a tenth as long as was guessed: the client with two batches by the guess is one batch ahead, not eleven."""
    shares = Shares()
    shares.levels(["a", "b"])
    for batch, client in (("one", "a"), ("two", "b"), ("three", "a")):
        shares.rung(batch, client, 3200.0, 1.0)
    shares.measured(0.1)
    shares.measured(0.1)
    assert shares.levels(["a", "b", "new"]) == pytest.approx({"a": 640.0, "b": 320.0, "new": 320.0})
    shares.came_back("three")
    assert shares.levels(["a", "b"])["a"] == pytest.approx(320.0)
