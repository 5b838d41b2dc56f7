"""The rows of a chunk that no exact key decides, what they say, and whose answer may serve them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.dedup import (
    CLOSED,
    OUTLINES,
    STORIES,
    Candidate,
    Link,
    Said,
    Veto,
    canonical_key,
    likeness,
    outline_keys,
    proof,
    refusal,
    skeleton_key,
    story_keys,
    stricter,
)
from pipelines.proof.paraphrase import same_meaning
from pipelines.proof.retelling import about, retold
from worker.dedupe.shelf import Place

NEAR_MISS_COSINE = 0.90
KEYS = OUTLINES + STORIES
"""Of eight bytes, by which a text's variants, and other tellings of its story, are proposed; 0: none."""
NO_STORIES = bytes(8 * STORIES)


class Leader(NamedTuple):
    """A representative: committed (an entry of the shelf) or an earlier row of the chunk."""

    place: Place
    said: Said
    entry: int | None
    at: int


class NearMiss(NamedTuple):
    """A row and the leader that it nearly had."""

    at: int
    leader: Leader
    cosine: float


@dataclass(slots=True)
class Chunk:
    """The novel rows of a chunk, and what becomes of them."""

    rows: list[Candidate]
    said: list[Said]
    tasks: list[str]
    infer: Callable[[Candidate, Said], str]
    split: Callable[[Said], tuple[str, str]]  # what is constant, what varies
    plainly: Callable[[Said], Said]  # with its passage apart from what makes code of it, or quotes it
    links: list[Link | None] = field(default_factory=list)
    leaders: list[Leader] = field(default_factory=list)
    skeletons: dict[int, bytes] = field(default_factory=dict)
    outlines: dict[int, bytes] = field(default_factory=dict)
    refused: dict[int, list[Leader]] = field(default_factory=dict)
    vectors: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    nearest: dict[int, tuple[float, Leader]] = field(default_factory=dict)
    crowded: set[int] = field(default_factory=set)
    kinds: dict[str, str] = field(default_factory=dict)
    plain: list[Said] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plain = [self.plainly(said) for said in self.said]
        self.links = [None] * len(self.rows)
        self.leaders = [
            Leader(Place(row.row, None), said, None, at)
            for at, (row, said) in enumerate(zip(self.rows, self.said, strict=True))
        ]

    def canonical_keys(self) -> list[bytes]:
        """One per row; equal means equal for this kind of task."""
        read = zip(self.rows, self.plain, self.tasks, strict=True)
        return [canonical_key(row.family, said.text, task) for row, said, task in read]

    def measure(self, rows: Iterable[int]) -> None:
        """Take skeleton, outlines and stories of these rows."""
        for at in rows:
            family, text = self.rows[at].family, self.plain[at].text
            self.skeletons[at], self.outlines[at] = skeleton_key(family, text), self._keys(at)

    def _keys(self, at: int) -> bytes:
        family, told = self.rows[at].family, self._story(at)
        story = story_keys(family, told[1]) if told else NO_STORIES
        return outline_keys(family, self.plain[at].text) + story

    def _story(self, at: int) -> tuple[str, str] | None:
        """What is constant and what varies, where a label is asked for that says what the text is about."""
        if self.tasks[at] != CLOSED or self.rows[at].keys_only:
            return None
        constant, story = self.split(self.said[at])
        return (constant, story) if about(CLOSED, f"{constant}\n{self.rows[at].system}") else None

    def retell(self, at: int, leaders: Iterable[Leader]) -> Leader | None:
        """The first of these leaders that tells the row's story in other words, where that is enough for its label."""
        mine = self._story(at)
        if mine is None:
            return None
        for leader in leaders:
            constant, story = self.split(leader.said)
            if constant == mine[0] and self._task(at, leader) == CLOSED and retold(story, mine[1]):
                return leader
        return None

    def wants_vector(self, at: int) -> bool:
        """More have its outline than keys propose, or the route asks for what only a vector can find."""
        return at in self.crowded or self.rows[at].paraphrase

    def follow(self, at: int, leader: Leader, kind: str, similarity: float, reason: str) -> None:
        """Row `at` is a duplicate of this leader."""
        place = leader.place
        self.links[at] = Link(self.rows[at].row, place.row, place.run, kind, min(1.0, similarity), reason)
        self.leaders[at] = leader

    def prove(self, at: int, leaders: Iterable[Leader]) -> tuple[Leader, str] | None:
        """The first of these leaders whose answer serves the row, and why."""
        if self.rows[at].keys_only:
            return None
        for leader in leaders:
            reason = proof(self._plain(leader), self.plain[at], self._task(at, leader))
            if reason is not None:
                return leader, reason
        return None

    def _plain(self, leader: Leader) -> Said:
        return self.plain[leader.at] if leader.entry is None else self.plainly(leader.said)

    def means_the_same(self, at: int, leader: Leader, cosine: float) -> bool:
        """Where the route allows it: the same template, and other words for the same thing in what varies."""
        if not self.rows[at].paraphrase or self.rows[at].keys_only:
            return False
        mine, other = self.split(self.said[at]), self.split(leader.said)
        return mine[0] == other[0] and same_meaning(
            mine[1], other[1], self._task(at, leader), mine[0] + self.rows[at].system, cosine
        )

    def _task(self, at: int, leader: Leader) -> str:
        """An inferred task is as strict as the stricter reading of the two prompts."""
        row, task = self.rows[at], self.tasks[at]
        if row.task:
            return task
        text = leader.said.text
        if text not in self.kinds:
            self.kinds[text] = self.infer(row, leader.said)
        return stricter(task, self.kinds[text])

    def vetoes(self) -> list[Veto]:
        """All near misses, and what forbade each."""
        out = []
        for at, link in enumerate(self.links):
            if link is None and (miss := self._miss(at)):
                place = miss.leader.place
                out.append(Veto(self.rows[at].row, place.row, place.run, miss.cosine, self._forbade(at, miss.leader)))
        return out

    def _forbade(self, at: int, leader: Leader) -> str:
        told = self._plain(leader), self.plain[at], self._task(at, leader)
        return "paused" if self.rows[at].keys_only and proof(*told) is not None else refusal(*told)

    def _miss(self, at: int) -> NearMiss | None:
        """The leader that a row came nearest to, by its vector, or by its words where it has none."""
        known = [self.nearest[at]] if at in self.nearest else []
        text = self.said[at]
        known += [] if known else [(likeness(leader.said, text), leader) for leader in self.refused.get(at, ())]
        cosine, leader = max(known, key=lambda pair: pair[0], default=(0.0, self.leaders[at]))
        return NearMiss(at, leader, cosine) if cosine >= NEAR_MISS_COSINE else None
