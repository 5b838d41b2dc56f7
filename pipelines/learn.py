"""What whole batches taught: how much longer answers are than was guessed, by lane and group; what a batch then weighs and saves.

A batch counts when one lane has answered all of it: those who finish first are the short ones, and another lane's model
writes other answers. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipelines.types import BatchHead

GROUPS = 128
"""Of both lanes together."""
PRIOR_ROWS = 1.0
"""So many answers outweigh the guess, or what the other lane's say: by the factor, for a guess of ten times too much would outweigh
tens of short answers."""
LEAST_LONGER = 0.01


class Length(msgspec.Struct):
    """Answers of one group; sums that only grow. `expected_tokens` is what was guessed for the same rows."""

    rows: float = 0.0
    expected_tokens: float = 0.0
    output_tokens: float = 0.0
    squares: float = 0.0  # of each answer's output tokens

    def add(self, more: Length) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(more, name))

    def answer(self, output_tokens: int) -> None:
        self.rows += 1
        self.output_tokens += output_tokens
        self.squares += output_tokens**2

    def scaled(self, by: float) -> Length:
        """The same mean and spread, of fewer answers."""
        return Length(*(by * getattr(self, name) for name in self.__struct_fields__))

    def since(self, before: Length) -> Length:
        """What was added to an earlier state of the same sums; all of it where they began anew."""
        if self.rows < before.rows:
            return self
        return Length(*(getattr(self, name) - getattr(before, name) for name in self.__struct_fields__))

    def longer(self, before: float = 1.0) -> float:
        """Output tokens for each that was guessed; `before`: as far as was known without these."""
        if not self.rows or not self.expected_tokens:
            return before
        sure = self.rows / (self.rows + PRIOR_ROWS)
        found: float = max(LEAST_LONGER, self.output_tokens / self.expected_tokens) ** sure * before ** (1 - sure)
        return found


class Learned(msgspec.Struct, frozen=True):
    """Lengths by kind and the prefill weight of local targets by name."""

    lengths: Mapping[str, Length] = {}
    prefill: Mapping[str, float] = {}

    def knows(self, group: str) -> bool:
        """Whether any of its answers were measured, on whatever lane."""
        return any(kind(lane, group) in self.lengths for lane in ("local", "cloud"))


def kind(lane: str, group: str) -> str:
    """What answers are counted by; those of a provider's batch API are its model's, as in real time."""
    return f"{'local' if lane == 'local' else 'cloud'} {group}"


def tell(lengths: dict[str, Length], lane: str, head: BatchHead, answers: Length) -> None:
    """What a batch that has ended teaches, if it has its place in a group and all of it was answered here."""
    if head.group and answers.output_tokens and answers.rows == head.rows:
        whole = msgspec.structs.replace(answers, expected_tokens=float(head.output_tokens))
        count(lengths, kind(lane, head.group), whole)


def count(lengths: dict[str, Length], kind: str, whole: Length) -> None:
    """Adds a batch to its kind; of too many kinds the one first seen is forgotten."""
    if kind not in lengths and len(lengths) >= GROUPS:
        lengths.pop(next(iter(lengths)))
    lengths.setdefault(kind, Length()).add(whole)


def outputs(learned: Learned, lane: str, group: str, guessed_tokens: float) -> float:
    """Output tokens to expect of a batch on a lane; where nothing was measured there, as on the other."""
    other, own = (
        learned.lengths.get(kind(each, group), Length()) for each in ("cloud" if lane == "local" else "local", lane)
    )
    return guessed_tokens * own.longer(other.longer())
