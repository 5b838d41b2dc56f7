"""How long the lanes of a route need for its followers: seconds in, seconds out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.planning.patience import MARGIN_S, needed_s, presses
from pipelines.planning.snapshot import TargetView

ROUTES = {"both": ("gpu", "mini"), "home": ("gpu",), "away": ("mini",), "none": ("gone",)}


def targets(**mini: object) -> dict[str, TargetView]:
    """A slow local lane, and a cloud of eight slots."""
    cloud: dict[str, object] = {"rows_per_s": 10.0, "latency_s": 0.5, "spans": 5, **mini}
    return {
        "gpu": TargetView("gpu", "local", True, 2, rows_per_s=0.5, latency_s=4.0, spans=5),
        "mini": TargetView("mini", "cloud", slots=8, **{"up": True, **cloud}),  # type: ignore[arg-type]
    }


@pytest.mark.parametrize(
    ("rows", "mini", "expected_s"),
    [
        ({}, {}, 0),
        ({"none": 50}, {}, 0),
        ({"home": 10}, {}, 1.4 * 20 + 4 * 4 + 1),
        ({"away": 100}, {}, 1.4 * 10 + 4 * 0.5 + 1),
        ({"both": 100}, {}, 1.4 * 10 + 4 * 0.5 + 1),
        ({"both": 10}, {"up": False}, 1.4 * 20 + 4 * 4 + 1),
        ({"away": 100}, {"up": False}, 1.4 * 10 + 4 * 0.5 + 1),
        ({"away": 100}, {"limit_rows_per_s": 2.0}, 1.4 * 50 + 4 * 0.5 + 1),
        ({"away": 100}, {"rows_per_s": 0.0, "spans": 0}, 1.4 * 75 + 4 * 6 + 1),
        ({"home": 10, "away": 100}, {}, 1.4 * 20 + 4 * 4 + 1 + 1.4 * 10 + 4 * 0.5 + 1),
        ({"home": 0, "away": 100}, {}, 1.4 * 10 + 4 * 0.5 + 1),
    ],
    ids=["nobody", "no such target", "one slow lane", "one quick lane", "the quicker of two", "one is down", "all are down",
         "limits", "never measured", "two routes", "a route that nobody waits on"],
)  # fmt: skip
def test_seconds_by_route(rows: dict[str, int], mini: dict[str, object], expected_s: float) -> None:
    assert needed_s(rows, ROUTES, targets(**mini)) == pytest.approx(expected_s)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0, 1e4), st.floats(0.1, 1e4))
def test_more_rows_or_tighter_limits_never_need_less(rows: int, more: int, rate: float, limit: float) -> None:
    wide, tight = targets(rows_per_s=rate), targets(rows_per_s=rate, limit_rows_per_s=limit)
    assert needed_s({"away": rows}, ROUTES, wide) < needed_s({"away": rows + more}, ROUTES, wide)
    slower, quicker = (
        targets(rows_per_s=1.0, limit_rows_per_s=limit),
        targets(rows_per_s=1.0, limit_rows_per_s=2 * limit),
    )
    assert needed_s({"away": rows}, ROUTES, tight) > 0
    assert needed_s({"away": rows}, ROUTES, slower) >= needed_s({"away": rows}, ROUTES, quicker)


def test_it_presses_when_the_time_left_is_no_more_than_what_is_needed() -> None:
    assert presses(20.0, 20.0) and presses(20.0 + MARGIN_S, 20.0) and not presses(20.1 + MARGIN_S, 20.0)
