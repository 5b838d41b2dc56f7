"""Which reuse is paused: as workers write it down, and as the audits alone tell it. Values only; audit.py says when to pause."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines import schemas, wire
from pipelines.audit import AUDITED, GROUNDS, MOST_FALSE, Tally, condemned, excess, pause_name, verdict

WINDOW = timedelta(days=7)
"""What a route is judged by, and how long it is paused."""
PAUSED = {"proof": "reuse by proof is paused", "canonical": "reuse by anything but exact keys is paused"}
READ = ""
"""Stands among the pauses in Redis when those that the audits tell are there as well: a Redis that has forgotten them lacks it."""
COLUMNS = ["route", "link_kind", "part", "agrees", "at"]
"""Of an audits' file, what tells the pauses."""

Subject = tuple[str, str]
"""A route and what its reuses rest on (audit.GROUNDS)."""


class Pause(NamedTuple):
    """Until when, by how much its reuses disagreed too often at least, and what people are told."""

    until_ms: int
    excess_low: float
    message: str


def say(subject: Subject, tally: Tally, most: float, until_ms: int) -> Pause:
    """The pause of what was condemned."""
    (route, grounds), found = subject, excess(*tally)
    until = datetime.fromtimestamp(until_ms / 1000, UTC).date()
    message = (
        f"route {route}: {PAUSED[grounds]} until {until}: {tally[0]} of {tally[1]} audited reuses "
        f"disagree, {tally[2]} of {tally[3]} prompts with themselves; the excess is {found.low:.1%} to {found.high:.1%}, "
        f"allowed is {most:.1%} (max_false_reuse)"
    )
    return Pause(until_ms, found.low, message)


def pause(until_ms: int, excess_low: float, message: str) -> bytes:
    """A pause as it stands in Redis under its name (audit.pause_name)."""
    return wire.dump({"until_ms": until_ms, "excess_low": excess_low, "message": message})


def paused(raw: Mapping[str, bytes | str], allowed: Mapping[str, float], now_ms: int) -> dict[str, str]:
    """The pauses that hold now and what is said of each; `allowed` is each route's limit: one that was raised since lets it go on."""
    limits = {pause_name(route, grounds): most for route, most in allowed.items() for grounds in AUDITED}
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


def standing(runs: Iterable[Judged], now: datetime, most: float) -> str:
    """audit.verdict of what holds now, told from the runs of a route: it is judged when one of them ends, by what ended on that day
    and in the WINDOW before; what that condemns is paused for as long, whatever ends meanwhile."""
    verdicts = ["undecided", *(verdict(*tally, most) for _, tally in _judged(runs, now))]
    return "paused" if "paused" in verdicts else verdicts[-1]


def _judged(runs: Iterable[Judged], now: datetime) -> Iterator[tuple[datetime, Tally]]:
    """By the runs that ended in the last WINDOW: until when what they condemned is paused, and by which tally."""
    ended = sorted(runs)
    sums = np.cumsum([(0, 0, 0, 0), *(run.tally for run in ended)], axis=0)
    for at, run in enumerate(ended, 1):
        until = max(run.at, datetime.combine(run.day, time(), UTC)) + WINDOW
        if until > now:
            begin = bisect_left(ended, run.day - WINDOW, key=lambda each: each.day)
            wrong, audited, twice_wrong, twice = (sums[at] - sums[begin]).tolist()
            yield until, (wrong, audited, twice_wrong, twice)


Said = tuple[str, str, str, bool, datetime]
"""What one audit said: COLUMNS."""


def said(table: pa.Table) -> list[Said]:
    """What a file of audits says; nothing where it is of another shape than ours."""
    if any(
        name not in table.column_names or table.schema.field(name).type != schemas.AUDITS.field(name).type
        for name in COLUMNS
    ):
        return []
    return list(zip(*(table[name].to_pylist() for name in COLUMNS), strict=True))


def days(now: datetime) -> list[date]:
    """The days on which runs ended whose audits tell what is paused now."""
    return [(now - timedelta(days=back)).date() for back in range(2 * WINDOW.days + 1)]


def of_audits(
    runs: Iterable[tuple[date, Iterable[Said]]], allowed: Mapping[str, float], now: datetime
) -> dict[str, Pause]:
    """The pauses that hold now, by name, as the audits of runs tell them that ended on these days. A route that `allowed` lacks is
    judged as well: its records outlive the configuration, or the search for servers, that named it."""
    judged: dict[Subject, list[Judged]] = defaultdict(list)
    for day, audits in runs:
        counts: dict[Subject, Counter[tuple[str, bool]]] = defaultdict(Counter)
        last = datetime.combine(day, time(), UTC)
        for route, kind, part, agrees, at in audits:
            counts[route, GROUNDS.get(kind, "proof")][part, agrees] += 1
            last = max(last, at or last)
        for subject, count in counts.items():
            judged[subject].append(Judged(day, last, tally(count)))
    found = {}
    for (route, grounds), ended in judged.items():
        most = allowed.get(route, MOST_FALSE)
        for until, counted in _judged(ended, now):
            if condemned(*counted, most):
                told = say((route, grounds), counted, most, int(until.timestamp() * 1000))
                found[pause_name(route, grounds)] = told
    return found


def tally(counts: Mapping[tuple[str, bool], int]) -> Tally:
    """From how many audits of each part (reuse, baseline) agreed, and how many did not."""
    reuse, twice = ((counts.get((part, False), 0), counts.get((part, True), 0)) for part in ("reuse", "baseline"))
    return reuse[0], sum(reuse), twice[0], sum(twice)
