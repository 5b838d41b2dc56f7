"""What whole batches taught: how much longer answers are than was guessed, by group; what a batch then weighs and saves.

A batch counts when all of it is answered: those who finish first are the short ones. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

PRIOR_ROWS = 8.0
"""So many answers outweigh the guess."""


class Length(msgspec.Struct):
    """Answers of one group; sums that only grow. `expected_tokens` is what was guessed for the same rows."""

    rows: float = 0.0
    expected_tokens: float = 0.0
    output_tokens: float = 0.0
    squares: float = 0.0  # of each answer's output tokens

    def add(self, more: Length) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(more, name))

    @property
    def longer(self) -> float:
        """Output tokens for each that was guessed."""
        if not self.rows:
            return 1.0
        prior = PRIOR_ROWS * self.expected_tokens / self.rows
        return (self.output_tokens + prior) / (self.expected_tokens + prior)


class Learned(msgspec.Struct, frozen=True):
    """Lengths by group and the prefill weight of local targets by name."""

    lengths: Mapping[str, Length] = {}
    prefill: Mapping[str, float] = {}


def outputs(learned: Learned, group: str, guessed_tokens: float) -> float:
    """Output tokens to expect of a batch."""
    length = learned.lengths.get(group)
    return guessed_tokens * (length.longer if length else 1.0)
