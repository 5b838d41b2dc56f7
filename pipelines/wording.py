"""Other words for the same open question: frames that ask alike, articles, and two things named in either order.

Every rule is a table row; a content word is never exchanged for another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.reading import Token
from pipelines.words import ARTICLES, DIRECTIONS, POLITE

_WHO = r"(?:i|we|you|one|someone|somebody|anyone|a person|people)"
_FRAMES = (
    (rf"how (?:do|does|can|could|should) {_WHO}\b", "how to"),
    (r"how (?:i|we|you) (?:can|could|should)\b", "how to"),
    (r"(?:which|what) (?:is|are) the\b", "what is"),
    (r"(?:which|what) are (?:some of|some)\b", "what is"),
    (r"(?:which|what) is\b", "what is"),
    (r"(?:which|what) are\b", "what are"),
    (
        r"(?:can|could|would|will) (?:you|anyone|someone|somebody) (?:please )?(?=explain|tell|describe|list|name|give|show)",
        "",
    ),
    (r"(?:please|kindly) (?=explain|tell|describe|list|name|give|show)", ""),
    (r"there (?:were|was|are|is) (?=any\b)", ""),
)
"""How a question may open; the replacement is what is compared."""

_PATTERNS = tuple((re.compile(rf"(?<=\n){pattern}"), form) for pattern, form in _FRAMES)
_DROPPED = ARTICLES | POLITE
_JOINERS = frozenset({"and", "or", "&", "and/or", "versus", "vs"})
_MAX_JOINED = 3
_OPEN_BEFORE = DIRECTIONS | {
    "is",
    "are",
    "was",
    "were",
    "be",
    "both",
    "either",
    "whether",
    "the",
    "a",
    "an",
    "as",
    "than",
}


def same_question(a: Sequence[Token], b: Sequence[Token]) -> bool:
    """Both ask the same once frames and articles are put aside."""
    return _framed(a) == _framed(b)


def _framed(tokens: Sequence[Token]) -> list[str]:
    text = " ".join(("\n" if token.first else "") + token.norm for token in tokens if token.norm != "?")
    for pattern, form in _PATTERNS:
        text = pattern.sub(form, text)
    return [word for word in text.split() if word not in _DROPPED]


def swapped_pair(a: Sequence[str], b: Sequence[str]) -> bool:
    """`salt and pepper` for `pepper and salt`, where nothing outside the pair depends on their order."""
    if len(a) != len(b) or "respectively" in a:
        return False
    head = _common(a, b)
    tail = _common(a[head:][::-1], b[head:][::-1])
    end = len(a) - tail
    mine, other = list(a[head:end]), list(b[head:end])
    if head and a[head - 1] not in _OPEN_BEFORE and a[head - 1].isalnum():
        return False
    if end < len(a) and a[end] == "'s":
        return False
    return any(
        word in _JOINERS
        and 0 < at <= _MAX_JOINED
        and 0 < len(mine) - at - 1 <= _MAX_JOINED
        and other == [*mine[at + 1 :], word, *mine[:at]]
        and all(part.isalpha() for part in (*mine[:at], *mine[at + 1 :]))
        for at, word in enumerate(mine)
    )


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length
