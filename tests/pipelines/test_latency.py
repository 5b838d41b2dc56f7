"""How long orders take: the lane's and the plan's one reckoning."""

from __future__ import annotations

import pytest

from pipelines.latency import latency

USUAL = (3_600.0, 21_600.0)


@pytest.mark.parametrize(
    ("seconds", "half_s", "late_s"),
    [
        ([], *USUAL),
        ([60.0], 60.0, 3 * 60.0),
        ([60.0] * 11 + [600.0], 60.0, 60.0 * (1 + 2 / 12)),
        ([60.0] * 8 + [600.0] * 4, 60.0, 600.0 * (1 + 2 / 12)),
        ([-300.0], *USUAL),  # five minutes say nothing of an hour
        ([-7_200.0], 7_200.0, 3 * 7_200.0),
        ([60.0, -300.0], 300.0, 2 * 300.0),  # no more than half
        ([60.0, -300.0, -300.0], 300.0, 300.0 * (1 + 2 / 3)),  # most of them took longer
        ([-1.0, 60.0, 60.0], 60.0, 60.0 * (1 + 2 / 3)),
    ],
)
def test_what_came_back_and_what_was_taken_back(seconds: list[float], half_s: float, late_s: float) -> None:
    assert latency(seconds, *USUAL) == pytest.approx((half_s, late_s))
