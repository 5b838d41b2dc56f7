"""What a text says as far as words can tell: its words of weight, numbers, names, denials, signs and what it asks; and how two differ.

For judgements (paraphrase.py, retelling.py); no proof rests on it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.guards import code, links, negation, opposites, order, units
from pipelines.proof import lexicon
from pipelines.proof.difference import Span
from pipelines.proof.explain import Read
from pipelines.proof.reading import Token
from pipelines.proof.words import ARTICLES, ASKING, DIRECTIONS, NEGATION, NUMBER_WORDS, POLITE, PRONOUNS, word_set

ALWAYS = (code, links, units, negation, opposites, order)
"""The guards whose objection no judgement overrules."""

_MINIMAL_EDIT = 2
_SHARED_NAMES = 0.75
_PACING = frozenset("()[]?-/&'\",")
EMPTY = (
    ARTICLES
    | POLITE
    | ASKING
    | DIRECTIONS
    | PRONOUNS
    | word_set("and or as if so be been being there also then than just really actually very some any get got its s")
)
_TELLING = word_set("from before after above below under up down ahead behind inside outside without against until off")
"""Words of place and time that are never empty."""

_COMPASS = word_set("north south east west new upper lower")
_ENDINGS = (("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("ly", ""))
_HOW_TO = re.compile(r"what (?:is|are) (?:the |some |a )?(?:of the )?(?:\w+ )?(?:ways?|tips|steps|methods?)\b")
OPINION = re.compile(
    r"\b(?:sentiment|emotion\w*|polarity|tone|stance|opinion\w*|reviews?|rating|toxic\w*|sarcas\w+|iron\w+|feel\w*)\b",
    re.IGNORECASE,
)
"""Labels that ride on single words of judgement, which a vector hardly sees."""


class Facts(NamedTuple):
    """What is compared of a text; `content` holds stems, `asks` is empty for a statement."""

    content: frozenset[str]
    numbers: list[str]
    names: list[str]
    denials: int
    asks: str
    signs: frozenset[str]


def facts_of(text: Read) -> Facts:
    """The facts of a text that has been read."""
    words = [token for token in text.tokens if token.kind == "word"]
    cased = any(token.raw[:1].isupper() and not token.first for token in words)
    return Facts(
        frozenset(stem(token.norm) for token in words if token.norm not in EMPTY),
        [token.norm for token in text.tokens if _is_number(token)],
        [
            _named(words, at)
            for at, token in enumerate(words)
            if _is_name(token) and not (cased and token.raw.islower())
        ],
        sum(token.norm in NEGATION for token in words),
        _asks(text),
        frozenset(token.norm for token in text.tokens if token.kind == "symbol" and token.norm not in _PACING),
    )


def _named(words: Sequence[Token], at: int) -> str:
    """`South Sudan` is not Sudan."""
    before = words[at - 1] if at else None
    placed = before is not None and before.norm in _COMPASS and before.raw.istitle()
    return f"{before.norm} {words[at].norm}" if before is not None and placed else words[at].norm


def _asks(text: Read) -> str:
    """What kind of answer the first question wants: `how many`, `why`, yes or no; nothing for a statement."""
    questions = "?" in text.form
    for at, token in enumerate(text.tokens):
        if token.first and token.norm in ASKING and (questions or at == 0):
            rest = " ".join(text.norms[at : at + 8])
            if _HOW_TO.match(rest) is not None:
                return "how"
            return _kind_of_question(token.norm, text.norms[at + 1] if at + 1 < len(text.norms) else "")
    return ""


def _kind_of_question(word: str, following: str) -> str:
    if word == "how" and following in word_set("many much long often old far big tall late soon fast well"):
        return f"how {following}"
    if word in ("what", "which"):
        return "what"
    return word if word in ("how", "when", "where", "who", "whom", "whose", "why") else "yes or no"


def minimal(left: Read, right: Read, spans: Sequence[Span]) -> bool:
    """One or two words stand for one or two others, and nothing else of weight differs."""
    changed = []
    for span in spans:
        gone = [n for n in left.norms[span.a0 : span.a1] if n not in EMPTY or n in _TELLING]
        come = [n for n in right.norms[span.b0 : span.b1] if n not in EMPTY or n in _TELLING]
        if gone or come:
            changed.append(max(len(gone), len(come)))
    return len(changed) == 1 and changed[0] <= _MINIMAL_EDIT


def renames(left: Read, right: Read, span: Span) -> bool:
    """A name or number on one side stands where the other side has another one."""
    gone, come = left.tokens[span.a0 : span.a1], right.tokens[span.b0 : span.b1]
    return any(map(_marked, gone)) and any(map(_marked, come))


def _marked(token: Token) -> bool:
    return _is_number(token) or _is_name(token)


def agree(mine: Facts, other: Facts) -> bool:
    """One side's numbers are those of the other, perhaps with some left out; and nearly so its names."""
    if not (_within(mine.numbers, other.numbers) or _within(other.numbers, mine.numbers)):
        return False
    ours, theirs = set(mine.names), set(other.names)
    return len(ours & theirs) >= _SHARED_NAMES * min(len(ours), len(theirs))


def _within(some: Sequence[str], every: Sequence[str]) -> bool:
    rest = iter(every)
    return all(one in rest for one in some)


def _is_number(token: Token) -> bool:
    return token.kind in ("number", "id") or token.norm in NUMBER_WORDS


def _is_name(token: Token) -> bool:
    if token.kind != "word" or token.norm in EMPTY or token.norm[0] == "'":
        return False
    return lexicon.is_name(token.norm) or (token.raw[:1].isupper() and not token.first)


def stem(word: str) -> str:
    """The word without its ending, roughly, but alike for all forms of one word."""
    for ending, instead in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if word.endswith("e") and len(word) > 3 else word
