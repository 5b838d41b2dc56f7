"""Who is next among clients, and how much of a lane each will get: weighted fair shares of the work done, by class.

A higher class goes first as long as it has work; inside a class the client that was served least for its weight. Times and
deadlines give nobody a larger share.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

RANKS = {"high": 0, "normal": 1, "background": 2}
NORMAL = RANKS["normal"]
HALVINGS = 40


class Served:
    """Work served to each client for its weight. Who comes anew, or comes back, starts level with the others: time away is
    not saved up; and who was ahead stays ahead, so that a pause sheds nothing."""

    def __init__(self) -> None:
        self._levels: dict[str, float] = {}

    def levels(self, active: Iterable[str]) -> dict[str, float]:
        """By client, of those that have work; others are remembered while they are ahead."""
        names = set(active)
        floor = min((self._levels[name] for name in names if name in self._levels), default=0.0)
        self._levels = {name: level for name, level in self._levels.items() if name in names or level > floor}
        for name in names:
            self._levels[name] = max(self._levels.get(name, floor), floor)
        return dict(self._levels)

    def add(self, client: str, work: float, weight: float) -> None:
        self._levels[client] = self._levels.get(client, 0.0) + work / weight


T = TypeVar("T")


def in_turn(
    lines: Mapping[str, Iterator[tuple[float, T]]], levels: Mapping[str, float], weights: Mapping[str, float],
    ranks: Mapping[str, int],
) -> Iterator[T]:  # fmt: skip
    """Things with their work, each client's in its order: of the highest class, of it who was served least for its weight, of
    these who stands first. A line is asked for the next only when its turn has come."""
    turns = [(ranks.get(name, NORMAL), levels.get(name, 0.0), place, name) for place, name in enumerate(lines)]
    heapq.heapify(turns)
    while turns:
        rank, level, place, name = heapq.heappop(turns)
        if (found := next(lines[name], None)) is not None:
            work, thing = found
            heapq.heappush(turns, (rank, level + work / weights.get(name, 1.0), place, name))
            yield thing


class Claim(NamedTuple):
    """Of a client: work served for its weight, work that it wants, weight and class."""

    level: float
    wants: float
    weight: float = 1.0
    rank: int = NORMAL


def fair_shares(claims: Mapping[str, Claim], work: float) -> dict[str, float]:
    """How much of that work each client gets: higher classes all that they want; inside the class for which it does not
    suffice it is water, poured into vessels that were filled to their levels."""
    got: dict[str, float] = {}
    for rank in sorted({claim.rank for claim in claims.values()}):
        mine = {name: claim for name, claim in claims.items() if claim.rank == rank}
        got |= _poured(mine, work)
        work = max(0.0, work - sum(got[name] for name in mine))
    return got


def _poured(claims: Mapping[str, Claim], work: float) -> dict[str, float]:
    low = min(claim.level for claim in claims.values())
    high = max(claim.level + claim.wants / claim.weight for claim in claims.values())
    if sum(claim.wants for claim in claims.values()) > work:
        for _ in range(HALVINGS):
            level = (low + high) / 2
            if sum(_filled(claim, level) for claim in claims.values()) < work:
                low = level
            else:
                high = level
    return {name: _filled(claim, high) for name, claim in claims.items()}


def _filled(claim: Claim, level: float) -> float:
    return min(claim.wants, max(0.0, (level - claim.level) * claim.weight))
