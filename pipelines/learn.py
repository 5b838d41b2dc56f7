"""What whole batches taught: how much longer answers are than was guessed, by group; what a batch then weighs and saves.

A batch counts when all of it is answered: those who finish first are the short ones. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

GROUPS = 64
PRIOR_ROWS = 1.0
"""So many answers outweigh the guess: by the factor, for a guess of ten times too much would outweigh tens of short answers."""
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

    @property
    def longer(self) -> float:
        """Output tokens for each that was guessed."""
        if not self.rows or not self.expected_tokens:
            return 1.0
        found: float = max(LEAST_LONGER, self.output_tokens / self.expected_tokens) ** (
            self.rows / (self.rows + PRIOR_ROWS)
        )
        return found


class Learned(msgspec.Struct, frozen=True):
    """Lengths by group and the prefill weight of local targets by name."""

    lengths: Mapping[str, Length] = {}
    prefill: Mapping[str, float] = {}


def count(lengths: dict[str, Length], group: str, whole: Length) -> None:
    """Adds a batch to its group; of too many groups the one first seen is forgotten."""
    if group not in lengths and len(lengths) >= GROUPS:
        lengths.pop(next(iter(lengths)))
    lengths.setdefault(group, Length()).add(whole)


def outputs(learned: Learned, group: str, guessed_tokens: float) -> float:
    """Output tokens to expect of a batch."""
    length = learned.lengths.get(group)
    return guessed_tokens * (length.longer if length else 1.0)
