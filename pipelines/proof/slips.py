"""Mistakes and spellings that may be what a text asks about: `Is seperate a word?`, `Why do the British say programme?`"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pipelines.proof.reading import Token
from pipelines.proof.spelling import spelling
from pipelines.proof.words import SLIPS, word_set

_ABOUT_MISTAKES = word_set(
    "correct corrected correction mistake mistakes error errors typo typos misspelled misspelt british american americans english spelled spelt"
)
_MAYBE_ABOUT_MISTAKES = word_set("wrong right word say write")
"""In a short text, which then asks about what it names."""

_SHORT_WORDS = 12


def slips(said: Sequence[Token]) -> list[str]:
    """Unusual spellings and doubled words, if the text may ask about such."""
    norms = [token.norm for token in said]
    short = len(norms) <= _SHORT_WORDS and not _MAYBE_ABOUT_MISTAKES.isdisjoint(norms)
    if not short and _ABOUT_MISTAKES.isdisjoint(norms):
        return []
    return [
        norm
        for before, norm in pairwise(["", *norms])
        if norm.isalpha() and (norm == before or norm in SLIPS or spelling(norm) != norm)
    ]
