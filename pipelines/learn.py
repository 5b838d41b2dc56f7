"""What whole batches taught: how much longer answers are than was guessed, by group; what a batch then weighs and saves.

A batch counts when one lane has answered all of it: those who finish first are the short ones. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipelines.config.sections import Target
from pipelines.media import surplus_tokens
from pipelines.types import BatchHead, Completion, Item

GROUPS = 64
PRIOR_ROWS = 1.0
"""So many answers outweigh the guess: by the factor, for a guess of ten times too much would outweigh tens of short answers."""
LEAST_LONGER = 0.01
READ_LEAST = 4_096
"""Tokens that a server may read besides the prompt's own: its template, and what it tells every model."""


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

    def longer(self) -> float:
        """Output tokens for each that was guessed."""
        if not self.rows or not self.expected_tokens:
            return 1.0
        sure = self.rows / (self.rows + PRIOR_ROWS)
        found: float = max(LEAST_LONGER, self.output_tokens / self.expected_tokens) ** sure
        return found


class Answers(msgspec.Struct):
    """Those that one lane has given to a batch; of some their length was not said."""

    given: int = 0
    said: Length = msgspec.field(default_factory=Length)

    def answer(self, output_tokens: int) -> None:
        """One more; 0: nobody says how long it was."""
        self.given += 1
        if output_tokens:
            self.said.answer(output_tokens)


class Learned(msgspec.Struct, frozen=True):
    """Lengths by group and the prefill weight of local targets by name."""

    lengths: Mapping[str, Length] = {}
    prefill: Mapping[str, float] = {}


def believed(answer: Completion, item: Item, target: Target) -> tuple[int, int]:
    """Tokens read and written, as far as anything may be learned of them: one count beyond what a prompt and its answer can hold
    would outweigh thousands. 0: not said. The ledger takes what was said, for that may be billed.

    An answer has no more than the row's own limit, which is of all its samples together, else the target's; or, of a server that
    does not keep to it, than its text has characters.
    """
    reads = READ_LEAST + len(item.body) + surplus_tokens(item.body, target.model, target.context_tokens)
    said = sum(len(each.text) for each in (answer, *answer.others))
    writes = max(item.max_tokens or target.max_output_tokens, said)
    return min(answer.usage.input_tokens, reads), min(answer.usage.output_tokens, writes)


def tell(lengths: dict[str, Length], head: BatchHead, answers: Answers) -> None:
    """What a batch that has ended teaches, if it has its place in a group and all of it was answered on one lane."""
    said = answers.said
    if head.group and said.rows and answers.given == head.rows:
        expected = head.output_tokens * said.rows / head.rows
        count(lengths, head.group, msgspec.structs.replace(said, expected_tokens=expected))


def count(lengths: dict[str, Length], group: str, whole: Length) -> None:
    """Adds a batch to its group; of too many groups the one first seen is forgotten."""
    if group not in lengths and len(lengths) >= GROUPS:
        lengths.pop(next(iter(lengths)))
    lengths.setdefault(group, Length()).add(whole)


def outputs(learned: Learned, group: str, guessed_tokens: float) -> float:
    """Output tokens to expect of a batch, whichever lane answers it: what either shows is soon known of both, and that is worth more
    than knowing each by itself (docs/scheduling.md)."""
    return guessed_tokens * learned.lengths.get(group, Length()).longer()
