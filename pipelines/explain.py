"""What allows a reuse: why a difference between two texts is harmless. Whatever nothing here explains is a difference.

The kind of task decides what may be ignored; guards.py names what forbids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from pipelines import lexicon
from pipelines.guards import Side, sides
from pipelines.instruction import STRICT
from pipelines.reading import Span, Token, differences, layout, tokens
from pipelines.words import ARTICLES, POLITE

MAX_CHANGED = 6
"""More changed words than this on one side are another text, not a variant."""
_MIN_SENTENCE_WORDS = 3
_CONTENT_WORDS = 4
_CACHED_TEXTS = 16_384
_FULL_STOP = re.compile(r"(?<=\w) ?\.[ \t\r]*$", re.MULTILINE)
_MARKED_KINDS = frozenset({"code", "id", "link", "number"})


class Read(NamedTuple):
    """A text in layout form, its tokens without soft punctuation, and what is compared of them."""

    form: str
    tokens: tuple[Token, ...]
    norms: list[str]
    bag: frozenset[str]


@lru_cache(maxsize=_CACHED_TEXTS)
def read(text: str) -> Read:
    """Everything the comparisons need of a text, made once."""
    form = layout(text)
    kept = tuple(token for token in tokens(form) if token.kind != "soft")
    norms = [token.norm for token in kept]
    return Read(form, kept, norms, frozenset(norms))


def harmless(a: str, b: str, task: str) -> str | None:
    """Why `a` and `b` ask the same thing for this kind of task, or None when something remains unexplained."""
    left, right = read(a), read(b)
    if left.form == right.form:
        return "layout"
    if task == STRICT:
        return "full stop" if _same_but_full_stops(a, b, left) else None
    if left.norms == right.norms:
        return "case or punctuation"
    if abs(len(left.norms) - len(right.norms)) > MAX_CHANGED or len(left.bag ^ right.bag) > 2 * MAX_CHANGED:
        return None
    spans = differences(left.norms, right.norms)
    if max(sum(s.a1 - s.a0 for s in spans), sum(s.b1 - s.b0 for s in spans)) > MAX_CHANGED:
        return None
    reasons = [_explain(left.tokens, right.tokens, span) for span in spans]
    found = {reason for reason in reasons if reason is not None}
    return None if None in reasons else "+".join(sorted(found))


def unexplained(a: str, b: str, task: str) -> tuple[Side, Side]:
    """What is left of the difference, for the guards to name."""
    left, right = read(a), read(b)
    spans = differences(left.norms, right.norms)
    if task != STRICT:
        spans = [span for span in spans if _explain(left.tokens, right.tokens, span) is None]
    return sides(left.tokens, right.tokens, spans)


def _same_but_full_stops(a: str, b: str, left: Read) -> bool:
    """The full stop that closes a line is layout: no answer hangs on it. A bare word with one may be an abbreviation."""
    words = sum(token.kind == "word" for token in left.tokens)
    if words < _MIN_SENTENCE_WORDS or abs(len(a) - len(b)) > len(a) // 2:
        return False
    return layout(_FULL_STOP.sub("", a)) == layout(_FULL_STOP.sub("", b))


def _explain(left: Sequence[Token], right: Sequence[Token], span: Span) -> str | None:
    """Why one difference is harmless, or None when nothing says that it is."""
    gone, come = left[span.a0 : span.a1], right[span.b0 : span.b1]
    if any(token.kind in _MARKED_KINDS for token in (*gone, *come)):
        return None
    if len(gone) == len(come):
        reasons = {_same_word(x, y) for x, y in zip(gone, come, strict=True)}
        return None if None in reasons else "+".join(sorted(reason for reason in reasons if reason))
    if gone and come:
        return None
    return _superfluous(gone or come, left if gone else right)


def _same_word(x: Token, y: Token) -> str | None:
    if x.kind != "word" or y.kind != "word":
        return None
    if spelling(x.norm) == spelling(y.norm):
        return "spelling"
    if x.norm in ARTICLES and y.norm in ARTICLES and "the" not in (x.norm, y.norm):
        return "article"
    return "typo" if lexicon.typo(x.norm, y.norm) else None


def _superfluous(extra: Sequence[Token], whole: Sequence[Token]) -> str | None:
    if all(token.norm in POLITE for token in extra):
        return "politeness"
    return None


_SPELLINGS = (
    (re.compile(r"(?<=[a-z]{3})is(e|ed|es|ing|ation|ations|er|ers)$"), r"iz\1"),
    (re.compile(r"(?<=[a-z]{2})our(s|ed|ing|ite|ites|able|ful|less)?$"), r"or\1"),
    (re.compile(r"(?<=[a-z][ae])ll(ed|ing|er|ers)$"), r"l\1"),
    (re.compile(r"(?<=[tlb])re(s?)$"), r"er\1"),
    (re.compile(r"ogue(s?)$"), r"og\1"),
    (re.compile(r"^grey"), "gray"),
)
"""British endings and their American forms, applied to both sides."""


def spelling(word: str) -> str:
    """One spelling for the British and the American form of a word."""
    for pattern, replacement in _SPELLINGS:
        word = pattern.sub(replacement, word)
    return word
