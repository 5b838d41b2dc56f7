"""Words that mean another thing with a capital letter: `Turkey` and `turkey`, `in March` and `the march`.

Only where case says something: in a text that is neither all of one case nor titled.
"""

from __future__ import annotations

import re

from pipelines.difference import place
from pipelines.words import CASE_PAIRS

_INSIDE = re.compile(r"(?<![.!?:\"(] )(?<=[^\n] )[A-Z][a-z]+\b")
_TITLED_WORD = re.compile(r"[A-Z][a-z]+\b")
_NAMES = frozenset(word.capitalize() for word in CASE_PAIRS)
_WORD = re.compile(r"[^\W\d_]{4,}")
_MOST = 0.6
_PASSAGE = 5
"""Names are shorter than so many words."""


def capitals(form: str) -> tuple[str, ...]:
    """The words of a text in layout form that a capital letter inside a sentence makes names, in order."""
    if not may_name(form):
        return ()
    inside: list[str] = _INSIDE.findall(form)
    found = tuple(word for word in inside if word.lower() in CASE_PAIRS)
    return () if found and _titled(form) else found


def may_name(text: str) -> bool:
    """Quickly: whether any such word stands there with a capital letter at all."""
    return not _NAMES.isdisjoint(_TITLED_WORD.findall(text))


def _titled(form: str) -> bool:
    words: list[str] = _WORD.findall(form)
    return sum(word[0].isupper() for word in words) > _MOST * len(words)


def same_capitals(a: str, b: str) -> bool:
    """No word of one text is a name in the other; a text that is all of one case, or titled, says nothing.

    Nor does the passage in which two texts differ, when it is all of one case on one side and longer than a name.
    """
    if capitals(a) == capitals(b) or any(text.islower() or text.isupper() or _titled(text) for text in (a, b)):
        return True
    mine, other = a.split(" "), b.split(" ")
    span = place(mine, other)
    x, y = " ".join(mine[span.a0 : span.a1]), " ".join(other[span.b0 : span.b1])
    if min(span.a1 - span.a0, span.b1 - span.b0) < _PASSAGE or (_titled(x) and _titled(y)):
        return False
    return any(here.isupper() or (here.islower() and not _titled(there)) for here, there in ((x, y), (y, x)))
