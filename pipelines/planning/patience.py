"""How long followers may wait for another run's answers before their own deadline: what their lanes would need to answer them.

Errs to the early side; who is asked then is pipelines/follow.py's matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.planning.capacity import buy_s
from pipelines.planning.snapshot import TargetView

MARGIN_S = 5.0
"""Until a follower that is to be asked is on its lane: its row is read again, cut into a batch and given its turn."""
LAST_SHARE = 0.25
"""The last part of a deadline in which nobody waits for another run."""


def needed_s(rows: Mapping[str, int], routes: Mapping[str, Sequence[str]], targets: Mapping[str, TargetView]) -> float:
    """Seconds for so many rows of each route, with the margin by which plan() buys in time: at the one target of the route that is
    soonest done with them all, of those that are up if any is, and the routes one after another. A target of which nothing is
    measured is believed to take six seconds for a call."""
    return sum(_route_s(count, routes.get(route, ()), targets) for route, count in rows.items() if count > 0)


def possible_s(
    rows: Mapping[str, int], routes: Mapping[str, Sequence[str]], targets: Mapping[str, TargetView]
) -> float:
    """The fewest seconds for so many rows of each route: at the rate of a local server that is measured, else at a target's limit."""
    return sum(
        min((count / _most_per_s(targets[name]) for name in routes.get(route, ()) if name in targets), default=0.0)
        for route, count in rows.items()
        if count > 0
    )


def _most_per_s(target: TargetView) -> float:
    measured = target.lane == "local" and target.spans > 0 and target.rows_per_s > 0
    return target.rows_per_s if measured else target.limit_rows_per_s


def presses(left_s: float, needed: float) -> bool:
    """Whether who needs so many seconds must begin now."""
    return left_s <= needed + MARGIN_S


def _route_s(rows: int, names: Sequence[str], targets: Mapping[str, TargetView]) -> float:
    able = [targets[name] for name in names if name in targets]
    able = [target for target in able if target.up] or able
    return min((buy_s(target, rows) for target in able), default=0.0)
