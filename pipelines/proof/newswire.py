"""One report as two papers print it: who said it and when stands there or not, a quotation has another frame, a name its initials.

For labels of what a text is about only (retelling.py): to them it is one report.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from pipelines.proof import lexicon
from pipelines.proof.difference import place
from pipelines.proof.explain import Read
from pipelines.proof.facts import EMPTY
from pipelines.proof.figures import WHOLE_DAYS
from pipelines.proof.reading import Token
from pipelines.proof.words import MODALS, NEGATION, word_set

_DAYS = "|".join(sorted(WHOLE_DAYS))
_NEAR_DAYS = "yesterday|today|tomorrow"
_TITLES = "mr|mrs"
_SAID = "said|says|told|added|adds|warned|announced|reported|confirmed|explained|noted|insisted|claimed|stated"
_EITHER_OR = tuple(word_set(words.replace("|", " ")) for words in (_DAYS, _NEAR_DAYS, _TITLES))
"""A text may have one of these or not, but no other one."""

_NAME = "\N{INFORMATION SEPARATOR THREE}"
"""Stands before words with a capital letter while manners are compared."""

_MANNERS = (
    (re.compile(rf"{_NAME}?\b(?:{_TITLES}) (?={_NAME})"), ""),
    (re.compile(rf"\b(?:has|have|had) (?=(?:{_SAID})\b)"), ""),
    (re.compile(rf"(?<= )(?<!{_NAME})\b([a-z]+) on (?={_NAME}(?:{_DAYS})\b)"), r"\1 "),
    (re.compile(rf"(?<!{_NAME})\b({_SAID})(?: late| early)? {_NAME}?(?:{_DAYS}|{_NEAR_DAYS})\b"), r"\1"),
    (re.compile(rf"\b(before|since|until|after) {_NAME}?(?:{_DAYS}|{_NEAR_DAYS})\b"), r"\1 ~"),
    (re.compile(r"\baccording to\b"), "said"),
    (re.compile(r"\b(?:a )?spokes(?:man|woman|person) (?:for|of)\b"), "of"),
    (
        re.compile(
            rf"\b({_SAID}) (?:in (?:an? )?(?:telephone |phone |television |written |brief )?(?:interview|statement|speech|report|letter|e-?mail)"
            r"|at a (?:news|press) conference|by (?:telephone|phone|e-?mail))\b"
        ),
        r"\1",
    ),
    (re.compile(r"\bsuch as\b"), "like"),
    (re.compile(r"\bas well as\b"), "and"),
)
"""What a paper puts in or leaves out, or in its own way: *Mr*, the day and the occasion of saying, `on` before a day; one says *before
yesterday* and one *before Sunday*. A name that is *Green Day* or *Black Friday* is none of it."""

_QUOTED = re.compile(r'"([^"]+)"')
_MIN_QUOTED_WORDS, _MAX_FRAME_WORDS = 6, 14
_MIN_INITIALS, _MAX_NAME_WORDS = 4, 8
_MAX_TURNED_WORDS = 30
_INSIDE_NAMES = word_set("of for and the in on")
_FRAMING = (
    EMPTY
    | MODALS
    | word_set(
        f"{_SAID} {_DAYS} {_NEAR_DAYS} {_TITLES} say that was is were are has have had wrote statement interview news conference reporters".replace(
            "|", " "
        )
    )
)
"""Words of a frame that say neither who speaks nor of what."""

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


class _Quotation(NamedTuple):
    said: str
    frame: list[str]


def same_report(left: Read, right: Read) -> bool:
    """Both differ in nothing but what papers put in or leave out."""
    if not _comparable(left, right):
        return False
    mine, other = _manner(left), _manner(right)
    return mine == other or _turned_around(mine.split(), other.split())


def _comparable(left: Read, right: Read) -> bool:
    """Equal words are no other report, nor is what names another day."""
    return left.norms != right.norms and not any(_others(left, right, words) for words in _EITHER_OR)


def abbreviated(text: Read, other: Read) -> Read:
    """Its long names as the other text has them: `International Atomic Energy Agency` where that says `IAEA`; `U.S.` troops as American ones."""
    short = {token.raw for token in other.tokens if token.raw.isupper() and token.kind == "word"}
    short = {name for name in short if len(name) >= _MIN_INITIALS and name.lower() not in text.bag}
    if not short and "u.s" not in text.bag:
        return text
    tokens, at = [], 0
    while at < len(text.tokens):
        ends = range(at + _MIN_INITIALS, min(at + _MAX_NAME_WORDS, len(text.tokens)) + 1) if short else ()
        name, end = next(
            ((name, end) for end in ends if (name := _initials(text.tokens[at:end])) in short), ("", at + 1)
        )
        token = text.tokens[at]
        if name:
            token = token._replace(norm=name.lower(), raw=name)
        elif token.norm == "u.s" and _is_adjective(text.tokens, at):
            token = token._replace(norm="american", raw="American")
        tokens.append(token)
        at = end
    norms = [token.norm for token in tokens]
    return text._replace(tokens=tuple(tokens), norms=norms, bag=frozenset(norms))


def _is_adjective(tokens: Sequence[Token], at: int) -> bool:
    """`U.S. troops`, neither `U.S. Airlines` nor `South U.S. rivers`."""
    after, before = tokens[at + 1 : at + 2], tokens[max(0, at - 1) : at]
    named = before and before[0].raw[:1].isupper() and not before[0].first
    return bool(after) and after[0].raw.islower() and not named


def _initials(words: Sequence[Token]) -> str:
    """Of a name that begins and ends with a capital letter; nothing of other words."""
    if not (words[0].raw[:1].isupper() and words[-1].raw[:1].isupper()):
        return ""
    named = [word for word in words if word.norm not in _INSIDE_NAMES]
    return "".join(word.raw[0] for word in named) if all(word.raw[:1].isupper() for word in named) else ""


def _others(left: Read, right: Read, words: frozenset[str]) -> bool:
    mine, other = (Counter(word for word in text.norms if word in words) for text in (left, right))
    return bool(mine - other and other - mine)


def _manner(text: Read) -> str:
    said = " ".join(f"{_NAME}{token.norm}" if token.raw[:1].isupper() else token.norm for token in text.tokens)
    for pattern, instead in _MANNERS:
        said = pattern.sub(instead, said)
    return " ".join(said.replace(_NAME, "").split())


def _turned_around(mine: list[str], other: list[str]) -> bool:
    """`They belonged to no party or did not vote` for `they did not vote or belonged to no party`."""
    if len(mine) != len(other):
        return False
    start, end, _, _ = place(mine, other)
    gone, come = mine[start:end], other[start:end]
    if len(gone) > _MAX_TURNED_WORDS:
        return False
    joiners = (at for at, word in enumerate(gone) if word in ("and", "or") and 0 < at < len(gone) - 1)
    return any([*gone[at + 1 :], gone[at], *gone[:at]] == come for at in joiners)


def same_quotation(left: Read, right: Read) -> bool:
    """Both are one quotation, of which one text may name who spoke and the other not; `the Boeing spokesman` is more than a name."""
    if not _comparable(left, right):
        return False
    mine, other = _quotation(left.shown), _quotation(right.shown)
    if mine is None or other is None or mine.said != other.said:
        return False
    frames = [{word for word in one.frame if word.lower() not in _FRAMING} for one in (mine, other)]
    denied = [not NEGATION.isdisjoint(map(str.lower, one.frame)) for one in (mine, other)]
    more = frames[0] ^ frames[1]
    if denied[0] != denied[1] or not (frames[0] <= frames[1] or frames[1] <= frames[0]):
        return False
    behind = {after for one in (mine, other) for word, after in pairwise(one.frame) if word in more}
    return all(word[0].isupper() for word in more) and all(word[0].isupper() or word in _FRAMING for word in behind)


def _first(word: str) -> str:
    """Every first word has a capital letter: that alone makes no name of `Shareholders`."""
    low = word.lower()
    return low if lexicon.ordinary(low) else word


def _quotation(text: str) -> _Quotation | None:
    """The one passage in quotation marks, of which one may be missing at an end of the text, and the words around it."""
    whole = text.replace("“", '"').replace("”", '"')
    marks = whole.count('"')
    if marks == 1:
        before, after = whole.split('"')
        said, frame = (before, after) if whole.rstrip()[-1:] != '"' and len(before) > len(after) else (after, before)
    else:
        found = _QUOTED.findall(whole)
        if marks != 2 or len(found) != 1:
            return None
        said, frame = found[0], _QUOTED.sub(" ", whole)
    words = [word if at else _first(word) for at, word in enumerate(_WORD.findall(frame))]
    if len(said.split()) < _MIN_QUOTED_WORDS or len(words) > _MAX_FRAME_WORDS:
        return None
    return _Quotation(" ".join(said.strip().rstrip(".,").split()).lower(), words)
