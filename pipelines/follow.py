"""Which followers must be asked themselves because their leader has no answer for them; values in, rows out.

A follower waits for nothing: it is a link until its leader's end is known. Equal followers (exact, canonical) let one of
them take the leader's place, the others follow that one; whoever was linked by proof (edit, semantic) is asked alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NONE, OK, SHARED, FELL, CLOSED = range(5)
"""A row's own end: not known yet, answered, a failure that its exact copies share, any other failure, never asked."""
EXACT, CANONICAL, ALONE = range(3)
KINDS = {"exact": EXACT, "canonical": CANONICAL}
"""Link kinds; every other one is ALONE: what was proven against the leader is not proven against another follower."""
TRIES = 3
"""Members of one group of equal prompts that may fail before the rest shares their fate."""
SHARED_CODES = frozenset({"check_failed", "poison", "context_overflow", "context_length_exceeded"})
SHARED_STATUSES = frozenset({400, 413, 422})


class Links(NamedTuple):
    """Followers and their leaders; `run` numbers the leader's run, 0 is the followers' own."""

    run: NDArray[np.int32]
    leader: NDArray[np.int64]
    follower: NDArray[np.int64]
    kind: NDArray[np.uint8]


def ended(status: str, error_code: str | None, http_status: int | None, attempts: int) -> int:
    """How a row's own end counts for its followers."""
    if status == "ok":
        return OK
    if status in ("expired", "cancelled"):
        return FELL if attempts else CLOSED
    deterministic = status == "refused" or error_code in SHARED_CODES or http_status in SHARED_STATUSES
    return SHARED if deterministic else FELL


def due(links: Links, leaders: NDArray[np.uint8], followers: NDArray[np.uint8], asked: NDArray[np.bool_]) -> list[int]:
    """Rows to ask now, given how each link's leader and follower ended and which followers are being asked already."""
    lost = (leaders == FELL) | ((leaders == SHARED) & (links.kind != EXACT))
    if not lost.any():
        return []
    concerned = np.flatnonzero((leaders == FELL) | (leaders == SHARED))
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for at, run, leader in zip(
        concerned.tolist(), links.run[concerned].tolist(), links.leader[concerned].tolist(), strict=True
    ):
        groups[run, leader].append(at)
    rows = links.follower
    return sorted(
        int(rows[at]) for members in groups.values() for at in _of_group(members, links.kind, leaders, followers, asked)
    )


def _of_group(
    members: list[int],
    kind: NDArray[np.uint8],
    leaders: NDArray[np.uint8],
    followers: NDArray[np.uint8],
    asked: NDArray[np.bool_],
) -> Iterator[int]:
    def is_open(at: int) -> bool:
        return not asked[at] and followers[at] in (NONE, CLOSED)

    yield from (at for at in members if kind[at] == ALONE and is_open(at))
    equal = [at for at in members if kind[at] != ALONE]
    if any(followers[at] == OK or (asked[at] and followers[at] in (NONE, CLOSED)) for at in equal):
        return
    if sum(1 for at in equal if followers[at] in (FELL, SHARED)) >= TRIES:
        return
    may = [at for at in equal if is_open(at) and (leaders[at] == FELL or kind[at] != EXACT)]
    yield from may[:1]


def substitutes(links: Links, answered: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(source row, row that it serves): where an equal follower has an answer of its own, its peers follow it.

    `answered` are rows of this run with an answer of their own, sorted.
    """
    equal = links.kind != ALONE
    took = equal & np.isin(links.follower, answered)
    if not took.any():
        empty = np.empty(0, np.int64)
        return empty, empty
    first: dict[tuple[int, int], int] = {}
    for at in np.flatnonzero(took).tolist():
        group = (int(links.run[at]), int(links.leader[at]))
        first[group] = min(first.get(group, int(links.follower[at])), int(links.follower[at]))
    pairs = [
        (first[group], int(links.follower[at]))
        for at in np.flatnonzero(equal & np.isin(links.leader, np.array([leader for _, leader in first]))).tolist()
        if (group := (int(links.run[at]), int(links.leader[at]))) in first and int(links.follower[at]) != first[group]
    ]
    wide = np.array(pairs, np.int64).reshape(-1, 2)
    return wide[:, 0], wide[:, 1]
