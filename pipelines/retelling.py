"""Whether two texts tell one story in other words, for labels of what a text is about: a judgement, not a proof.

Most words of weight, the names and the numbers must be shared, and the difference must look like rewording: several places
changed. One place, one word or one name for another is an edit, which may be the point. Who speaks of himself is one of two.
"""

from __future__ import annotations

import re
from itertools import combinations

from pipelines import lexicon
from pipelines.difference import differences
from pipelines.explain import Read, read
from pipelines.facts import ALWAYS, EMPTY, OPINION, agree, facts_of, minimal, renames, stem
from pipelines.guards import sides
from pipelines.instruction import CLOSED

RARE_PAIRS = 6
"""What proposes: the pairs of a text's four rarest words."""

_RAREST = 4
_LONG_WORD = 4
_MIN_WORDS, _MIN_CHANGED, _MIN_PLACES = 7, 3, 2
_SHARED = 0.4
_OWN_CASE = frozenset({"i", "my", "me", "mine", "myself"})
_ABOUT = re.compile(r"\b(?:topics?|sections?|subjects?|themes?|genres?|desks?|news|headlines?|articles?)\b", re.IGNORECASE)


def about(task: str, instruction: str) -> bool:
    """Whether a label is asked for that says what a text is about, and not what somebody thinks of it."""
    return task == CLOSED and _ABOUT.search(instruction) is not None and OPINION.search(instruction) is None


def rare_pairs(text: str) -> list[str]:
    """Pairs of the rarest words of a text, at most six; none for a text too short to be told in other words."""
    found: dict[str, int] = {}
    for token in read(text).tokens:
        if token.kind == "word" and len(token.norm) >= _LONG_WORD and token.norm not in EMPTY:
            found[stem(token.norm)] = lexicon.rarity(token.norm)
    if len(found) < _MIN_WORDS:
        return []
    rarest = sorted(found, key=lambda word: (-found[word], word))[:_RAREST]
    return ["\x1f".join(pair) for pair in combinations(sorted(rarest), 2)]


def retold(a: str, b: str) -> bool:
    """Whether both texts tell the same story."""
    left, right = read(a), read(b)
    if not (_OWN_CASE.isdisjoint(left.bag) and _OWN_CASE.isdisjoint(right.bag)):
        return False
    mine, other = facts_of(left), facts_of(right)
    if min(len(mine.content), len(other.content)) < _MIN_WORDS or mine.denials != other.denials or mine.signs != other.signs:
        return False
    changed = len(mine.content ^ other.content)
    if changed < _MIN_CHANGED or len(mine.content & other.content) < _SHARED * len(mine.content | other.content):
        return False
    return agree(mine, other) and _reworded(left, right)


def _reworded(left: Read, right: Read) -> bool:
    """Several places differ, and in none of them stands one name or number for another."""
    spans = differences(left.norms, right.norms)
    if len(spans) < _MIN_PLACES or minimal(left, right, spans) or any(renames(left, right, span) for span in spans):
        return False
    return not any(guard(*sides(left.tokens, right.tokens, spans)) for guard in ALWAYS)
