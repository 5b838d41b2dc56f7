"""Whether two texts tell one story in other words, for labels of what a text is about: a judgement, not a proof.

Most words of weight, the names and the numbers must be shared, and the difference must look like rewording: several places,
where mostly one side says more. Word for word exchanged is an edit or another filling of one form, which may be the point.
Who speaks of himself tells his own story.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations
from math import comb

from pipelines import lexicon
from pipelines.difference import Span
from pipelines.explain import Read, open_spans, read
from pipelines.facts import ALWAYS, EMPTY, OPINION, agree, facts_of, minimal, renames, stem
from pipelines.guards import sides
from pipelines.instruction import CLOSED

_RAREST = 4
RARE_PAIRS = comb(_RAREST, 2)
"""What proposes: the pairs of a text's rarest words."""

_LONG_WORD = 4
_MIN_WORDS, _MIN_CHANGED, _MIN_PLACES = 7, 3, 2
_MIN_DIFFERENT, _MIN_PASSAGE = 6, 3
"""Fewer words that differ, or none of a passage, are two edits of one text, each of which may be the point."""

_SHARED = 0.4
_MAX_EXCHANGED = 1
_FEW = 2
_OWN_CASE = frozenset({"i", "my", "me", "mine", "myself"})
_ABOUT = re.compile(r"\b(?:topics?|sections?|subjects?|themes?|genres?|news|headlines?)\b", re.IGNORECASE)


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
    if (
        min(len(mine.content), len(other.content)) < _MIN_WORDS
        or mine.denials != other.denials
        or mine.signs != other.signs
    ):
        return False
    changed = len(mine.content ^ other.content)
    if changed < _MIN_CHANGED or len(mine.content & other.content) < _SHARED * len(mine.content | other.content):
        return False
    return agree(mine, other) and _reworded(left, right, mine.content, other.content)


def _reworded(left: Read, right: Read, mine: frozenset[str], other: frozenset[str]) -> bool:
    """Several places differ: at most one puts words for others, as every place in a form does, and one side says more."""
    spans = open_spans(left, right, CLOSED)
    if len(spans) < _MIN_PLACES or minimal(left, right, spans) or any(renames(left, right, span) for span in spans):
        return False
    if sum(map(_size, spans)) < _MIN_DIFFERENT or max(max(s.a1 - s.a0, s.b1 - s.b0) for s in spans) < _MIN_PASSAGE:
        return False
    gone = [_new(left.norms[span.a0 : span.a1], other) for span in spans]
    come = [_new(right.norms[span.b0 : span.b1], mine) for span in spans]
    exchanged = [
        min(x, y) > 0 or (max(x, y) > 0 and _short(span)) for span, x, y in zip(spans, gone, come, strict=True)
    ]
    if sum(exchanged) > _MAX_EXCHANGED or all(bool(x) == bool(y) for x, y in zip(gone, come, strict=True)):
        return False
    return not any(guard(*sides(left.tokens, right.tokens, spans)) for guard in ALWAYS)


def _size(span: Span) -> int:
    return (span.a1 - span.a0) + (span.b1 - span.b0)


def _short(span: Span) -> bool:
    """A word or two stand for a word or two."""
    return 0 < span.a1 - span.a0 <= _FEW and 0 < span.b1 - span.b0 <= _FEW


def _new(words: Sequence[str], told: frozenset[str]) -> int:
    """How many words of weight the other text has nowhere."""
    return sum(word not in EMPTY and stem(word) not in told for word in words)
