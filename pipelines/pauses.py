"""Which reuse is paused: as workers write it down, and as the audits alone tell it. Values only; audit.py says when to pause."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import numpy as np

from pipelines import wire
from pipelines.audit import SMALL_SHARE, Tally, pause_name, verdict

WINDOW = timedelta(days=7)
"""What a route is judged by, and how long it is paused."""


def pause(until_ms: int, excess_low: float, message: str) -> bytes:
    """A pause as it stands in Redis under its name (audit.pause_name)."""
    return wire.dump({"until_ms": until_ms, "excess_low": excess_low, "message": message})


def paused(raw: Mapping[str, bytes | str], allowed: Mapping[str, float], now_ms: int) -> dict[str, str]:
    """The pauses that hold now and what is said of each; `allowed` is each route's limit: one that was raised since lets it go on."""
    limits = {pause_name(route, grounds): most for route, most in allowed.items() for grounds in SMALL_SHARE}
    found = {}
    for name, value in sorted(raw.items()):
        said = wire.load_object(value)
        try:
            until_ms, low = int(said["until_ms"]), float(said["excess_low"])
        except (ValueError, TypeError, KeyError, OverflowError):
            continue
        if until_ms > now_ms and low > limits.get(name, 0.0):
            found[name] = str(said.get("message", ""))
    return found


class Judged(NamedTuple):
    """A run that ended on this day, when its last audit was answered, and what its audits said."""

    day: date
    at: datetime
    tally: Tally


def standing(runs: Iterable[Judged], now: datetime, most: float | None) -> str:
    """audit.verdict of what holds now, told from the runs of a route: it is judged when one of them ends, by what ended on that day
    and in the WINDOW before; what that condemns is paused for as long, whatever ends meanwhile."""
    ended = sorted(runs)
    sums = np.cumsum([(0, 0, 0, 0), *(run.tally for run in ended)], axis=0)
    verdicts = ["undecided"]
    for at, run in enumerate(ended, 1):
        if max(run.at, datetime.combine(run.day, time(), UTC)) > now - WINDOW:
            begin = bisect_left(ended, run.day - WINDOW, key=lambda each: each.day)
            wrong, audited, twice_wrong, twice = (sums[at] - sums[begin]).tolist()
            verdicts.append(verdict(wrong, audited, twice_wrong, twice, most))
    return "paused" if "paused" in verdicts else verdicts[-1]
