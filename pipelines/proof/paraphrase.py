"""The opt-in verifier: may two texts in different words share an answer? A judgement, not a proof; literal tasks never ask.

A near vector is needed, and the same polarity, kind of question, numbers and names. The smallest differences are the most
suspect: where one word stands for another in otherwise equal texts, that word is the point.
"""

from __future__ import annotations

from pipelines.guards import sides
from pipelines.proof.difference import differences
from pipelines.proof.explain import read
from pipelines.proof.facts import ALWAYS, EMPTY, OPINION, Facts, agree, facts_of, minimal, renames
from pipelines.proof.instruction import CLOSED, LITERAL
from pipelines.proof.words import word_set

_COSINE, _LABEL_COSINE = 0.75, 0.92
_SHORT_OVERLAP, _LONG_OVERLAP = 0.3, 0.35
_LONG_WORDS = 7
_TELLING_WORDS = 3
"""`Classify:` alone does not tell what a label says: it may be an opinion."""

_WEAK = word_set("best good great main major key most way ways thing things people person example examples") | EMPTY
"""May be added to a question without asking another one."""


def same_meaning(a: str, b: str, task: str, instruction: str, cosine: float) -> bool:
    """Whether the answer to one may serve the other, as far as words and a vector can tell."""
    if task in LITERAL or cosine < _COSINE or OPINION.search(instruction) is not None:
        return False
    if task == CLOSED and len(instruction.split()) < _TELLING_WORDS:
        return False
    left, right = read(a), read(b)
    mine, other = facts_of(left), facts_of(right)
    if mine.denials % 2 != other.denials % 2 or mine.asks != other.asks or mine.signs != other.signs:
        return False
    spans = differences(left.norms, right.norms)
    if any(guard(*sides(left.tokens, right.tokens, spans)) for guard in ALWAYS) or minimal(left, right, spans):
        return False
    if _counts(mine) or _counts(other):
        return mine.numbers == other.numbers and mine.content == other.content
    overlap = len(mine.content & other.content) / max(1, len(mine.content | other.content))
    if min(len(mine.content), len(other.content)) >= _LONG_WORDS:
        told = overlap >= _LONG_OVERLAP and agree(mine, other)
        return told and not any(renames(left, right, span) for span in spans)
    if overlap < _SHORT_OVERLAP or (task == CLOSED and cosine < _LABEL_COSINE):
        return False
    return mine.numbers == other.numbers and mine.names == other.names and not _only_adds(mine, other)


def _counts(facts: Facts) -> bool:
    """A sum is asked for: then every word of the story may matter."""
    return facts.asks in ("how many", "how much") and bool(facts.numbers)


def _only_adds(mine: Facts, other: Facts) -> bool:
    """One side says all that the other says and something more: it asks for less, or for another thing."""
    gone, come = mine.content - other.content - _WEAK, other.content - mine.content - _WEAK
    return bool(gone) != bool(come)
