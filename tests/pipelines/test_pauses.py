"""A pause ends by time or by a higher limit, and what no worker wrote pauses nothing."""

from __future__ import annotations

from pipelines.pauses import pause, paused

ALLOWED = {"a": 0.005, "b": 0.5}


def test_a_pause_ends_by_time_or_by_a_higher_limit() -> None:
    names = ("a", "a canonical", "b", "b canonical", "gone")
    raw = {name: pause(100, 0.2, f"{name} is paused") for name in names}
    holding = {"a": "a is paused", "a canonical": "a canonical is paused", "gone": "gone is paused"}
    assert paused(raw, ALLOWED, 50) == holding, (
        "of a route that this configuration does not have the limit is not known"
    )
    assert paused(raw, ALLOWED, 100) == {}


def test_what_nobody_wrote_pauses_nothing() -> None:
    odd = ["[", "{}", b"\xff", '{"until_ms": "x", "excess_low": 1}', '{"until_ms": 1e999, "excess_low": 1}', "[1]"]
    assert paused({"a": "?"} | {str(at): value for at, value in enumerate(odd)}, ALLOWED, 50) == {}
    assert paused({"a": '{"until_ms": 100, "excess_low": 1}'}, ALLOWED, 50) == {"a": ""}
