"""Other words for the same open question: frames that ask alike, articles, and two things named in either order.

Every rule is a table row; a content word is never exchanged for another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines import lexicon
from pipelines.reading import Token
from pipelines.words import ARTICLES, DATES, DIRECTIONS, POLITE

_WHO = r"(?:i|we|you|one|someone|somebody|anyone|a person|people)"
_PERSONAL = r"(?:feel|think|like|look|seem|sound|see|view|rate|know|define|spend|want|mean|say|cope|afford)\b"
"""What depends on whom the question is about."""

_FRAMES = (
    (rf"how (?:do|does|can|could|should) {_WHO} (?!{_PERSONAL})", "how to "),
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

_START = "\N{INFORMATION SEPARATOR TWO}"
_QUESTION_WORDS = frozenset({"how", "what", "where", "when", "why", "who"})
_PATTERNS = tuple((re.compile(rf"(?<={_START}){pattern}"), form) for pattern, form in _FRAMES)
_DROPPED = ARTICLES | POLITE | {"some", "there", "do", "does", "is", "are", "be", "am"}
_LOOSE_PLACES = frozenset({"of", "in", "for", "on", "at", "about"})
_ALIKE = dict.fromkeys(("i", "we", "you", "one"), "one") | dict.fromkeys(("my", "our", "your", "one's"), "one's")
LIGHT = _DROPPED | _LOOSE_PLACES | _ALIKE.keys() | {"to", "someone", "somebody", "anyone", "person", "people"}
"""What a question may be put with or without, or with another one of."""

_MIN_PLURAL = 4
_INSTRUCTING = frozenset({"answer", "reply", "respond", "return", "output", "use", "keep", "write", "give", "please"})
JOINERS = frozenset({"and", "or", "&", "and/or", "versus", "vs"})
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
    """Both ask the same once frames, articles, number of nouns and words without content are put aside.

    Only for questions that open with a question word: of a yes-or-no question every small word counts.
    """
    mine, other = _framed(a), _framed(b)
    return mine == other and any(word[0] == _START and word[1:] in _QUESTION_WORDS for word in mine)


def _framed(tokens: Sequence[Token]) -> list[str]:
    text = " ".join((_START if token.first else "") + token.norm for token in tokens if token.norm != "?")
    for pattern, form in _PATTERNS:
        text = pattern.sub(form, text)
    words = text.split(" ")
    if _START + "how to" in text:
        words = [_ALIKE.get(word, word) for word in words]
    return [singular(word) for at, word in enumerate(words) if word and not _empty(words, at)]


def _empty(words: Sequence[str], at: int) -> bool:
    """Says nothing of its own here; a place word beside a number, a name or the end may."""
    word = words[at].lstrip(_START)
    if word in _DROPPED:
        return True
    after = words[at + 1] if at + 1 < len(words) else "0"
    return word in _LOOSE_PLACES and after.isalpha() and not lexicon.is_name(after) and after not in DATES


def singular(word: str) -> str:
    """`careers` and `career` alike; wrong for some words, but alike on both sides."""
    if len(word) < _MIN_PLURAL or not word.endswith("s") or word.endswith(("ss", "us", "is", "'s")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "zes")) else word[:-1]


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
        word in JOINERS
        and 0 < at <= _MAX_JOINED
        and 0 < len(mine) - at - 1 <= _MAX_JOINED
        and other == [*mine[at + 1 :], word, *mine[:at]]
        and all(part.isalpha() for part in (*mine[:at], *mine[at + 1 :]))
        for at, word in enumerate(mine)
    )


def same_but_instructions(a: Sequence[Token], b: Sequence[Token]) -> bool:
    """The same sentences, of which only those that say how to answer stand elsewhere."""
    mine, other = _sentences(a), _sentences(b)
    if len(mine) < 2 or sorted(mine) != sorted(other):
        return False
    return [s for s in mine if s[0] not in _INSTRUCTING] == [s for s in other if s[0] not in _INSTRUCTING]


def _sentences(tokens: Sequence[Token]) -> list[tuple[str, ...]]:
    out: list[list[str]] = []
    for token in tokens:
        if token.first or not out:
            out.append([])
        if token.norm != "?":
            out[-1].append(token.norm)
    return [tuple(sentence) for sentence in out if sentence]


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length
