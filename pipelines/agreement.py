"""Whether two answers say the same, and by which measure; values only. audit.py says what many such judgements mean.

What is judged is whether one may stand for the other. Models word an answer differently each time: that is taken off by asking some
prompts twice, so in doubt two answers disagree.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import starmap
from typing import NamedTuple

import msgspec

from pipelines import guards
from pipelines.proof.difference import Span
from pipelines.proof.layout import layout
from pipelines.proof.reading import Token, tokens
from pipelines.proof.words import ARTICLES, FOREIGN_DENIALS, NEGATION, word_set
from pipelines.quality import candidates, spoken

SAME_WORDS = 0.8
SHORT_WORDS = 20
"""In texts of up to so many words one word may be the answer."""
SENTENCE_WORDS = 8
"""A last sentence of up to so many words is compared like a short text."""
VALUE_WORDS = 4
"""A string in JSON of up to so many words is a value, a longer one a text."""

_NUMBERS = re.compile(r"(?:(?<!\w)[-−])?\d+(?:[.,]\d+)*")
_HEADING = re.compile(r"^#{1,6} ", re.MULTILINE)
_MARKS = frozenset("*_\"'`()[],;:!?.…-–—“”‘’«»•|\n")
_SMALL = ARTICLES | word_set("is are was were be been being am it its this there")
_DENIALS = NEGATION | FOREIGN_DENIALS


class Answer(NamedTuple):
    """`parsed` is what the run's check made of the text, `calls` name and arguments (both as text) of the tools that are called: None
    where some are, and the body that names them was not kept."""

    text: str
    parsed: str | None = None
    calls: Sequence[tuple[str, str]] | None = ()


class Agreement(NamedTuple):
    """Whether two answers say the same, by which measure, and how like they are."""

    agrees: bool
    measure: str  # label | json | tools | text
    likeness: float


def agreement(a: Answer, b: Answer, *, labels: bool) -> Agreement | None:
    """Calls of tools, labels and JSON must be the same as values, texts as `_texts` says. None where there is nothing to compare."""
    if a.calls is None or b.calls is None:
        return None
    if a.calls or b.calls:
        return _whether(_same(_called(a.calls), _called(b.calls)), "tools")
    if a.parsed is not None and b.parsed is not None:
        x, y = _decoded(a.parsed), _decoded(b.parsed)
        return _whether(x == y, "label") if labels else _whether(_same(x, y), "json")
    if not a.text.strip() and not b.text.strip():
        return None
    x, y = _json(a.text), _json(b.text)
    if x is not None or y is not None:  # a program that reads the one cannot read a text in its place
        return _whether(_same(x, y), "json")
    return _texts(*(spoken(text).strip() or text for text in (a.text, b.text)))


def _whether(same: bool, measure: str) -> Agreement:
    return Agreement(same, measure, float(same))


def _texts(a: str, b: str) -> Agreement:
    """The same numbers, as many denials, no word in the place of its opposite, and SAME_WORDS of the words in order (difflib's ratio:
    twice the matches by the sum of both lengths), marks and case aside. In two texts of up to SHORT_WORDS words, and in short last
    sentences of longer ones, all words but small ones must be the same: any of them may be the answer."""
    left, right = sorted((_words(a), _words(b)))  # difflib's ratio depends on which comes first
    x, y = [token.norm for token in left], [token.norm for token in right]
    if not x or not y:  # nothing but marks on one side
        return _whether(a.strip() == b.strip(), "text")
    sound = _numbers(a) == _numbers(b) and _denials(x) == _denials(y)
    if max(len(x), len(y)) <= SHORT_WORDS:
        x, y = _weighty(x), _weighty(y)
        sound = sound and Counter(x) == Counter(y)
    elif max(len(ends := _last(left)), len(_last(right))) <= SENTENCE_WORDS:
        sound = sound and Counter(_weighty(ends)) == Counter(_weighty(_last(right)))
    matcher = SequenceMatcher(None, x, y, autojunk=False)
    likeness = matcher.ratio()
    agrees = sound and likeness >= SAME_WORDS
    return Agreement(agrees and not (x != y and _turned(left, right)), "text", likeness)


def _words(text: str) -> list[Token]:
    """Words, numbers and signs, without what only sets them off."""
    found = tokens(layout(_HEADING.sub("", text)))
    return [t for t in found if t.kind != "soft" and t.norm not in _MARKS and not t.norm.startswith("\t```")]


def _weighty(words: list[str]) -> list[str]:
    return [word for word in words if word not in _SMALL] or words


def _last(words: list[Token]) -> list[str]:
    """The last sentence, in which a long text often says what its answer is."""
    begins = max((at for at, token in enumerate(words) if token.first), default=0)
    return [token.norm for token in words[begins:]]


def _numbers(text: str) -> list[str]:
    return sorted(number.replace("−", "-") for number in _NUMBERS.findall(text))


def _denials(words: list[str]) -> int:
    return sum(word in _DENIALS for word in words)


def _turned(left: list[Token], right: list[Token]) -> bool:
    """Whether somewhere a word stands where the other text has its opposite."""
    codes = SequenceMatcher(None, [t.norm for t in left], [t.norm for t in right], autojunk=False).get_opcodes()
    changed = ((left[i:j], right[k:m]) for tag, i, j, k, m in codes if tag == "replace")
    sides = (guards.sides(tuple(x), tuple(y), [Span(0, len(x), 0, len(y))]) for x, y in changed)
    return any(starmap(guards.opposites, sides))


# -- JSON --------------------------------------------------------------------------------------------------------------


def _json(text: str) -> object:
    """The object or array that an answer is, alone, behind a thought or in its only fence; None for anything else."""
    for candidate in candidates(text):
        try:
            value = msgspec.json.decode(candidate)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        if isinstance(value, dict | list):
            return value
    return None


def _called(calls: Sequence[tuple[str, str]]) -> list[object]:
    """In an order of their own: which of several calls comes first says nothing."""
    made = [[name, _decoded(arguments)] for name, arguments in calls]
    return sorted(made, key=lambda call: msgspec.json.encode(call, order="sorted"))


def _decoded(text: str) -> object:
    try:
        return msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _same(a: object, b: object) -> bool:
    try:
        return _alike(a, b)
    except RecursionError:
        return False


def _alike(a: object, b: object) -> bool:
    """As values, whatever the order of keys; strings that are texts as texts."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(starmap(_alike, zip(a, b, strict=True)))
    if isinstance(a, str) and isinstance(b, str):
        return a == b or (min(len(a.split()), len(b.split())) > VALUE_WORDS and _texts(a, b).agrees)
    return a == b and isinstance(a, bool) == isinstance(b, bool)
