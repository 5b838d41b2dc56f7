"""How many reuses are really asked, and what their agreement (agreement.py) says about a route; values only.

What rests on a proof by difference (edit, semantic) and what rests on a canonical key is audited, judged and paused each by itself:
the many of the one would hide the errors of the other. An exact key is no opinion.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from heapq import nsmallest
from math import sqrt
from typing import NamedTuple

GROUNDS = {"canonical": "canonical", "edit": "proof", "semantic": "proof"}
"""What a reuse rests on, by the kind of its link."""
AUDITED = tuple(dict.fromkeys(GROUNDS.values()))
"""The grounds that are audited, judged and paused, each by itself."""
MOST_OF_SPARED, MOST_OF_CANONICAL = 0.1, 0.02
"""The daily minimum never takes more than this share of a route's reuses of all kinds, and for canonical keys of those by canonical
keys: an audit is two calls, so audits cost less than a quarter of what reuses spare. Canonical keys are the same rules for everybody."""
LEAST_AUDITED = 30
"""Audited reuses of a route, on the same grounds, before anything is concluded; and the daily minimum."""
MOST_FALSE = 0.005
"""What a route allows (`max_false_reuse`) where nothing says otherwise: also one that this configuration does not name."""
Z95 = 1.959964


class Reuse(NamedTuple):
    """A row that another row's answer serves."""

    row: int
    leader_row: int
    leader_run: str | None
    route: str
    kind: str
    guard: str

    @property
    def grounds(self) -> str:
        """Raises KeyError for an exact copy."""
        return GROUNDS[self.kind]


def asked_rows(reused: Sequence[Reuse]) -> tuple[list[int], list[int]]:
    """Rows to ask, and rows to ask a second time: the followers, and to see how models disagree with themselves their leaders once
    more; the followers themselves if their leaders are of another run."""
    elsewhere = {each.row for each in reused if each.leader_run is not None}
    leaders = {each.leader_row for each in reused if each.leader_run is None}
    return sorted({each.row for each in reused} | leaders), sorted(elsewhere)


def pause_name(route: str, grounds: str) -> str:
    """What a pause is called, and the day's counters of what it is about."""
    return route if grounds == "proof" else f"{route} {grounds}"


Tally = tuple[int, int, int, int]
"""Reuses that disagree, reuses audited, prompts that disagree with themselves, prompts asked twice."""


class Interval(NamedTuple):
    """An estimate and its 95 % interval."""

    value: float
    low: float
    high: float


def due(reuses: int, spared: int, audited: int, share: float, grounds: str) -> int:
    """How many more of a route's reuses on these grounds to audit, after so many today: `share` of them and at least LEAST_AUDITED,
    but for that minimum not more than is worth it where `spared` rows of the route, exact copies too, were not asked."""
    if share <= 0:
        return 0
    most = MOST_OF_SPARED * spared if grounds == "proof" else MOST_OF_CANONICAL * reuses
    wanted = max(int(share * reuses), min(LEAST_AUDITED, int(most), reuses))
    return max(0, wanted - audited)


def chosen(run_id: str, reuses: Iterable[Reuse], count: int) -> list[Reuse]:
    """The same rows whenever it is asked: those whose hash is smallest."""
    return nsmallest(count, reuses, key=lambda reuse: _lot(run_id, reuse.row))


def _lot(run_id: str, row: int) -> bytes:
    return blake2b(f"{run_id}.{row}".encode(), digest_size=8, person=b"audit").digest()


def wilson(hits: int, trials: int) -> Interval:
    """The score interval of a share (E. B. Wilson, JASA 22, 1927): never outside 0 and 1, good for few trials."""
    if not trials:
        return Interval(0.0, 0.0, 1.0)
    share, z2 = hits / trials, Z95 * Z95
    middle = share + z2 / (2 * trials)
    spread = Z95 * sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    scale = 1 + z2 / trials
    return Interval(share, max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale))


def excess(wrong: int, audited: int, baseline_wrong: int, baseline: int) -> Interval:
    """How much more often reuses disagree than leaders disagree with themselves: the difference of two shares with the
    hybrid score interval (R. G. Newcombe, Statistics in Medicine 17:873-890, 1998, method 10)."""
    a, b = wilson(wrong, audited), wilson(baseline_wrong, baseline)
    value = a.value - b.value
    low = value - sqrt((a.value - a.low) ** 2 + (b.high - b.value) ** 2)
    high = value + sqrt((a.high - a.value) ** 2 + (b.value - b.low) ** 2)
    return Interval(value, low, high)


def condemned(wrong: int, audited: int, baseline_wrong: int, baseline: int, most: float) -> bool:
    """Whether even the good end of the interval is above what the route allows."""
    return audited >= LEAST_AUDITED and excess(wrong, audited, baseline_wrong, baseline).low > most


def verdict(wrong: int, audited: int, baseline_wrong: int, baseline: int, most: float) -> str:
    """What a report says of a route: paused, holds, or undecided where there is too little to say so."""
    if audited < LEAST_AUDITED or not baseline:
        return "undecided"
    return "paused" if condemned(wrong, audited, baseline_wrong, baseline, most) else "holds"
