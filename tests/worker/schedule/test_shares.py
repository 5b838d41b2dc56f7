"""Shares: charged when rung, given back as far as it came back unanswered."""

from __future__ import annotations

import pytest

from pipelines.planning.snapshot import BatchView, RunView, Snapshot, TargetView
from worker.schedule.shares import Shares


def test_what_comes_back_unanswered_was_not_served() -> None:
    """A target dies with a batch of `a` rung and one of `b` half answered."""
    shares = Shares()
    shares.levels("local", ["a", "b"])
    shares.rung("one", "local", "a", 100.0, 1.0)
    shares.rung("two", "local", "b", 100.0, 2.0)
    shares.seen("two", 0.5)
    assert shares.levels("local", ["a", "b"]) == {"a": 100.0, "b": 50.0}
    for batch in ("one", "two", "another's"):
        shares.came_back(batch)
    assert shares.levels("local", ["a", "b"]) == pytest.approx({"a": 0.0, "b": 25.0})
    shares.came_back("one")
    assert shares.levels("local", ["a", "b"])["a"] == 0.0, "once"


def test_what_has_ended_stays_charged_and_is_forgotten() -> None:
    shares = Shares()
    shares.levels("local", ["a", "b"])
    shares.rung("one", "local", "a", 100.0, 1.0)
    shares.keep(["other"])
    shares.came_back("one")
    assert shares.levels("local", ["a", "b"]) == {"a": 100.0, "b": 0.0}


def test_what_was_charged_by_a_guess_is_worth_no_more_than_what_is_charged_by_answers() -> None:
    """Answers are a tenth as long as was guessed: the client with two batches by the guess is one batch ahead, not eleven."""
    shares = Shares()
    shares.levels("local", ["a", "b"])
    for batch, client in (("one", "a"), ("two", "b"), ("three", "a")):
        shares.rung(batch, "local", client, 3200.0, 1.0)
    shares.measured(0.1)
    shares.measured(0.1)
    assert shares.levels("local", ["a", "b", "new"]) == pytest.approx({"a": 640.0, "b": 320.0, "new": 320.0})
    shares.came_back("three")
    assert shares.levels("local", ["a", "b"])["a"] == pytest.approx(320.0)


def test_the_cloud_is_charged_apart_and_a_batch_api_to_nobody() -> None:
    shares = Shares()
    for lane in ("local", "cloud"):
        shares.levels(lane, ["a", "b"])
    for batch, lane in (("one", "cloud"), ("two", "local"), ("three", "provider_batch")):
        shares.rung(batch, lane, "a", 100.0, 2.0)
    waiting = (BatchView("four", "cloudy", 1, 10.0),)
    mini = TargetView("mini", "cloud", True, 8)
    runs = tuple(RunView(client, client, 0, None, waiting) for client in ("a", "b"))
    told = shares.told(Snapshot(0, {"mini": mini}, {"cloudy": ("mini",)}, runs))
    assert told.served == told.bought == {"a": 50.0, "b": 0.0}
    for batch in ("one", "three"):
        shares.came_back(batch)
    assert shares.levels("cloud", ["a", "b"]) == {"a": 0.0, "b": 0.0}
    assert shares.levels("local", ["a", "b"]) == {"a": 50.0, "b": 0.0}


def test_who_only_uses_the_local_lane_saves_nothing_up_in_the_cloud() -> None:
    shares, mini = Shares(), TargetView("mini", "cloud", True, 8)
    gpu = TargetView("gpu", "local", True, 4)
    waiting = {route: (BatchView(route, route, 1, 10.0),) for route in ("small", "cloudy")}

    def told(other: str) -> Snapshot:
        runs = tuple(RunView(c, c, 0, None, waiting[route]) for c, route in (("buyer", "cloudy"), ("other", other)))
        routes = {"small": ("gpu", "mini"), "cloudy": ("mini",)}
        return shares.told(Snapshot(0, {"gpu": gpu, "mini": mini}, routes, runs))

    assert told("small").bought == {"buyer": 0.0}
    shares.rung("one", "cloud", "buyer", 100.0, 1.0)
    assert told("small").bought == {"buyer": 100.0}
    assert told("cloudy").bought == {"buyer": 100.0, "other": 100.0}
