"""Which followers must be asked themselves because their leader has no answer for them; values in, rows out.

A follower waits for nothing: it is a link until its leader's end is known. Of equal followers one at a time takes the leader's
place, and the others follow that one: those by key (exact, canonical) are equal to each other, those by proof (edit, semantic)
to their own exact copies alone.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NONE, OK, SHARED, FELL, CLOSED = range(5)
"""A row's own end: not known yet, answered, a failure that its exact copies share, any other failure, never asked."""
EXACT, CANONICAL, ALONE = range(3)
KINDS = {"exact": EXACT, "canonical": CANONICAL}
"""Link kinds; every other one is ALONE: what was proven against the leader is not proven against another follower."""
_MIX = np.uint64(0x9E3779B97F4A7C15)
TRIES = 3
"""Equal followers that may fail before the rest shares their fate."""
SHARED_CODES = frozenset({"check_failed", "poison", "context_overflow", "context_length_exceeded"})
SHARED_STATUSES = frozenset({400, 413, 422})


class Links(NamedTuple):
    """Followers and their leaders; `run` numbers the leader's run, 0 is the followers' own. Followers of one leader with the same
    `twin` are equal to each other."""

    run: NDArray[np.int32]
    leader: NDArray[np.int64]
    follower: NDArray[np.int64]
    kind: NDArray[np.uint8]
    twin: NDArray[np.uint64]


def twin(kind: int, row: int, key: bytes | None) -> int:
    """Of a follower: 0 is the leader's key, else its own; a row whose key was not kept has no twin but itself."""
    if kind != ALONE:
        return 0
    return int.from_bytes(key[:8], "little") if key else row + 1


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
    groups: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for at, *group in zip(concerned.tolist(), *(column[concerned].tolist() for column in _group(links)), strict=True):
        groups[tuple(group)].append(at)
    taking = (_of_group(members, links.kind, leaders, followers, asked) for members in groups.values())
    return sorted(int(links.follower[at]) for at in taking if at is not None)


def takers(links: Links, of: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of some links one of each equal followers: who would be asked if their leaders were lost."""
    mixed = (links.leader[of].astype(np.uint64) * _MIX + links.run[of].astype(np.uint64)) * _MIX ^ links.twin[of]
    return of[np.unique(mixed, return_index=True)[1]]


def _group(links: Links) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.uint64]]:
    """What equal followers share."""
    return links.run, links.leader, links.twin


def _of_group(
    members: list[int],
    kind: NDArray[np.uint8],
    leaders: NDArray[np.uint8],
    followers: NDArray[np.uint8],
    asked: NDArray[np.bool_],
) -> int | None:
    """Which of some equal followers takes their leader's place."""
    unended = [at for at in members if followers[at] in (NONE, CLOSED)]
    if any(followers[at] == OK for at in members) or any(asked[at] for at in unended):
        return None
    if sum(1 for at in members if followers[at] in (FELL, SHARED)) >= TRIES:
        return None
    return next((at for at in unended if leaders[at] == FELL or kind[at] != EXACT), None)


def substitutes(links: Links, answered: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(source row, row that it serves): where an equal follower has an answer of its own, its peers follow it.

    `answered` are rows of this run with an answer of their own, sorted.
    """
    took = np.flatnonzero(np.isin(links.follower, answered))
    if not len(took):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    first: dict[tuple[int, ...], int] = {}
    for *group, row in zip(*(column[took].tolist() for column in (*_group(links), links.follower)), strict=True):
        first[tuple(group)] = min(first.get(tuple(group), row), row)
    near = np.flatnonzero(np.isin(links.leader, np.unique(links.leader[took])))
    pairs = [
        (first[tuple(group)], row)
        for *group, row in zip(*(column[near].tolist() for column in (*_group(links), links.follower)), strict=True)
        if first.get(tuple(group), row) != row
    ]
    wide = np.array(pairs, np.int64).reshape(-1, 2)
    return wide[:, 0], wide[:, 1]
