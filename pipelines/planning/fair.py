"""Who is next among clients, and how much of a lane each will get: weighted fair shares of the work done, by class.

A higher class goes first as long as it has work; inside a class the client that was served least for its weight. Times and
deadlines give nobody a larger share.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from pipelines.config.sections import Client

RANKS = {"high": 0, "normal": 1, "background": 2}
NORMAL = RANKS["normal"]


def standings(clients: Mapping[str, Client]) -> tuple[dict[str, float], dict[str, int]]:
    """Weight and class of each client, as `in_turn` and plan take them."""
    weights = {name: client.weight for name, client in clients.items()}
    return weights, {name: RANKS[client.priority] for name, client in clients.items()}


class Served:
    """Work served to each client for its weight. Who comes anew, or comes back, starts level with the others: time away is
    not saved up; and who was ahead stays ahead, so that a pause sheds nothing."""

    def __init__(self) -> None:
        self._levels: dict[str, float] = {}
        self._floor = 0.0

    def levels(self, active: Iterable[str]) -> dict[str, float]:
        """By client, of those that have work; others are remembered while they are ahead."""
        names = set(active)
        self._floor = floor = min((self._levels[name] for name in names if name in self._levels), default=0.0)
        self._levels = {name: level for name, level in self._levels.items() if name in names or level > floor}
        for name in names:
            self._levels[name] = max(self._levels.get(name, floor), floor)
        return dict(self._levels)

    def add(self, client: str, work: float, weight: float) -> None:
        self._levels[client] = self._levels.get(client, self._floor) + work / weight


T = TypeVar("T")


def in_turn(
    lines: Mapping[str, Iterator[tuple[float, T]]], levels: Mapping[str, float], weights: Mapping[str, float],
    ranks: Mapping[str, int],
) -> Iterator[T]:  # fmt: skip
    """Things with their work, each client's in its order: of the highest class, of it who was served least for its weight, of
    these who stands first; who has no level is level with the lowest. A line is asked for the next only when its turn has come."""
    floor = min(levels.values(), default=0.0)
    turns = [(ranks.get(name, NORMAL), levels.get(name, floor), place, name) for place, name in enumerate(lines)]
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


class Vessels:
    """How much of some work each client gets: higher classes all that they want; inside the class for which it does not suffice it
    is water, poured into vessels that were filled to their levels. Sorted once, for any amounts of work."""

    def __init__(self, claims: Mapping[str, Claim]) -> None:
        self._claims, self._edges, full = claims, dict[int, list[Edge]](), 0.0
        for rank in sorted({claim.rank for claim in claims.values()}):
            self._edges[rank] = _poured([claim for claim in claims.values() if claim.rank == rank], full)
            full = self._edges[rank][-1].work

    def share(self, client: str, work: float) -> float:
        """Of so much work that client's."""
        claim = self._claims[client]
        edges = self._edges[claim.rank]
        low = edges[max(0, bisect_right(edges, work, key=lambda edge: edge.work) - 1)]
        level = low.level + max(0.0, work - low.work) / low.width if low.width > 0 else low.level
        return min(claim.wants, max(0.0, (level - claim.level) * claim.weight))


class Edge(NamedTuple):
    """Where a vessel begins or is full: how much was poured when the water stands at that level, and how wide it is from there."""

    work: float
    level: float
    width: float


def _poured(claims: list[Claim], work: float) -> list[Edge]:
    """From the lowest level on, after so much work for higher classes."""
    changes = [(claim.level, claim.weight) for claim in claims]
    changes += [(claim.level + claim.wants / claim.weight, -claim.weight) for claim in claims]
    edges, width, before = list[Edge](), 0.0, min(changes)[0]
    for level, wider in sorted(changes, key=lambda change: (change[0], -change[1])):
        work, width, before = work + width * (level - before), max(0.0, width + wider), level
        edges.append(Edge(work, level, width))
    return edges
