"""How the rows of one chunk find their leaders among proposals; first come first served, representatives only, no chains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.dedup import Candidate, Link, Said, Veto, decide_said, proof

PROPOSED_COSINE = 0.60
NEAR_MISS_COSINE = 0.90
MAX_VETOES = 100
_MAX_TRIES = 8
_WINDOW_LETTERS, _MAX_WINDOWS = 900, 4


class Chunk(NamedTuple):
    """The rows that no key has decided, with what they say, their task and their vector."""

    rows: list[Candidate]
    said: list[Said]
    tasks: list[str]
    vectors: NDArray[np.float32]


class Leader(NamedTuple):
    """A representative: where it is and what it says."""

    row: int
    run: str | None
    said: Said


class Proposal(NamedTuple):
    """A neighbour: an earlier row of the chunk (`peer`), or a committed representative."""

    cosine: float
    peer: int
    leader: Leader | None


class NearMiss(NamedTuple):
    """A row and the leader that it nearly had."""

    at: int
    leader: Leader
    cosine: float


def settle(chunk: Chunk, proposals: Sequence[Sequence[Proposal]]) -> tuple[list[Link | None], list[Veto]]:
    """A link for every row that some representative proves to be a duplicate of, in row order, and the near misses."""
    links: list[Link | None] = []
    leaders: list[Leader] = []
    misses: list[NearMiss] = []
    for at, row in enumerate(chunk.rows):
        own = Leader(row.row, None, chunk.said[at])
        link, miss = _first_proven(chunk, at, proposals[at], leaders)
        links.append(link[0] if link else None)
        leaders.append(link[1] if link else own)
        if link is None and miss is not None:
            misses.append(miss)
    misses.sort(key=lambda miss: -miss.cosine)
    return links, [_veto(chunk, miss) for miss in misses[:MAX_VETOES]]


def _veto(chunk: Chunk, miss: NearMiss) -> Veto:
    """Only the misses that are kept are worth naming."""
    at, leader, cosine = miss
    verdict = decide_said(leader.said, chunk.said[at], chunk.tasks[at], cosine)
    return Veto(chunk.rows[at].row, leader.row, leader.run, cosine, verdict.reason)


def _first_proven(
    chunk: Chunk, at: int, proposals: Sequence[Proposal], leaders: Sequence[Leader]
) -> tuple[tuple[Link, Leader] | None, NearMiss | None]:
    row, miss = chunk.rows[at], None
    tried: set[tuple[str | None, int]] = set()
    for proposal in proposals:
        leader = proposal.leader or leaders[proposal.peer]
        if (leader.run, leader.row) in tried:
            continue
        if len(tried) == _MAX_TRIES:
            break
        tried.add((leader.run, leader.row))
        reason = proof(leader.said, chunk.said[at], chunk.tasks[at])
        if reason is not None:
            return (
                Link(row.row, leader.row, leader.run, "edit", min(1.0, proposal.cosine), reason),
                leader,
            ), None
        if miss is None and proposal.cosine >= NEAR_MISS_COSINE:
            miss = NearMiss(at, leader, proposal.cosine)
    return None, miss


def follow_exact(row: Candidate, first: Candidate, link: Link | None) -> Link:
    """The link of a row whose exact copy stands earlier in its chunk."""
    if link is None:
        return Link(row.row, first.row, None, "exact", 1.0, "exact key")
    return Link(row.row, link.leader_row, link.leader_run, link.kind, link.similarity, link.guard)


def follow_canonical(row: Candidate, first: Candidate, link: Link | None) -> Link:
    """The link of a row whose canonical twin stands earlier in its chunk: the same leader, for the same reason."""
    if link is None:
        return Link(row.row, first.row, None, "canonical", 1.0, "canonical form")
    return Link(row.row, link.leader_row, link.leader_run, link.kind, link.similarity, link.guard)


def windows(field: str) -> list[str]:
    """A text cut into what the encoder can read; a very long one is sampled evenly, its end included."""
    if len(field) <= _WINDOW_LETTERS:
        return [field]
    count = min(_MAX_WINDOWS, -(-len(field) // _WINDOW_LETTERS))
    step = (len(field) - _WINDOW_LETTERS) / (count - 1)
    return [field[int(step * at) : int(step * at) + _WINDOW_LETTERS] for at in range(count)]
