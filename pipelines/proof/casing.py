"""Words that mean another thing with a capital letter: `Turkey` and `turkey`, `IT` and `it`, `in March` and `the march`, `x` and `X`.

Only where case says something: in a text that is neither all of one case nor titled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from pipelines.proof.difference import place
from pipelines.proof.reading import Token
from pipelines.proof.words import ARTICLES, CASE_PAIRS, word_set

_OPENS = '\n.!?:>"('
"""Behind one of these a capital letter says nothing."""

_INSIDE = re.compile(
    rf" (?<=[^{_OPENS}] )[\"'(]?([A-Z][a-z]+|[A-Z]{{2,}})\b|(?:^|(?<=[{_OPENS}] )|(?<=\n))[\"'(]?([A-Z]{{2,}})\b"
)
_INNER = re.compile(rf" (?<=[^{_OPENS}] )([^\W\d_]+)")
_SINGLE = re.compile(rf"[A-HJ-Z](?:(?<=[^{_OPENS}] A)(?! [A-Z\"'])|(?<=[B-Z])(?<![\w'./&-].))(?![\w/&+#-]|['.]\w)")
"""A letter that stands alone and is neither `I` nor an article, which titles write so; `x-ray` and `c++` are written in both ways."""

_FORMULA = re.compile(r"(?<![\w'./&-])[A-Za-z](?![\w/&+#-]|['.]\w)")
_QUOTED = re.compile(r"(?<=[\w,(] )\"([^\"\n]{2,40})\"(?!\w)")
"""A short quotation inside a sentence: `the word "Package"`."""

_CALLED = re.compile(rf" (?<=[^{_OPENS}] )(The [A-Z][a-z]+)\b")
"""Inside a sentence, *The Office* is no office."""

_NAMES = frozenset(form for word in CASE_PAIRS for form in (word.capitalize(), word.upper()))
_TITLES_ONLY = word_set(
    "Is Are Was Were Do Does Did Has Have How What When Where Why From With For Of In On At To By About After And Or My Your"
)
"""Only a title gives these a capital inside."""

_LETTERS = re.compile(r"[A-Za-z]+")
_ALONE = frozenset("ABCDEFGHJKLMNOPQRSTUVWXYZ")
_ONE = frozenset({"a", "an"})
_MARKS = frozenset("'`")
_LONG_WORD = 4
_MOST = 0.6
_NEARLY_ALL, _MANY = 0.8, 4
_PASSAGE = 5
"""Names are shorter than so many words."""


def capitals(form: str, *, names: bool = True) -> tuple[str, ...]:
    """The words of a text in layout form that a capital letter inside a sentence makes names, its lone letters, and its short
    quotations with capital letters, in order.

    Where names do not matter, a letter does only in a formula.
    """
    if not names and "=" not in form:
        return ()
    inside: list[str] = [word for word in map("".join, _INSIDE.findall(form)) if word in _NAMES] if names else []
    if names and " The " in form:
        inside += _CALLED.findall(form)
    if names and '"' in form:
        inside += [said for said in _QUOTED.findall(form) if not said.islower()]
    letters = _letters(form)
    if not (inside or letters) or not titled(form):
        return (*inside, *letters)
    return tuple(letters) if "=" in form else ()


def _letters(form: str) -> list[str]:
    """Lone capital letters; in a formula with any of them the small ones too: `X = 5 x` is not `x = 5 X`."""
    if " A:" in form:  # a heading, below `Q:` or at the end
        form = form.replace(" A:", " ") if " Q: " in form or form[:3] == "Q: " else form.removesuffix(" A:")
    found: list[str] = _SINGLE.findall(form)
    return _FORMULA.findall(form) if found and "=" in form else found


def may_tell(piece: str) -> bool:
    """Quickly: whether the capital letters of what stands between two blanks may say something."""
    if piece[:1] in _MARKS or '"' in piece or piece == "The":
        return True
    return any(word in _NAMES or word in _ALONE for word in _LETTERS.findall(piece))


def tells(pieces: Sequence[str], at: int) -> bool:
    """Nearly as quickly: whether they may where the piece stands; a first word and the one behind a full stop have one anyway, but
    for those of a quotation, and not all of its letters."""
    if pieces[at][:1] in _MARKS or '"' in pieces[at] or (at and pieces[at - 1][-1:] not in _OPENS):
        return True
    return any(
        word != "A" and word.isupper() and (word in _ALONE or word in _NAMES) for word in _LETTERS.findall(pieces[at])
    )


def named_and_one(a: Sequence[Token], b: Sequence[Token]) -> bool:
    """What is `a signal` in one text is `Signal` in the other."""
    for mine, other in ((a, b), (b, a)):
        ones = _things(mine) - _things(other)
        for before, word in pairwise(other):
            if word.norm in ones and word.raw.istitle() and not word.first and before.norm not in ARTICLES:
                return True
    return False


def _things(tokens: Sequence[Token]) -> Counter[str]:
    return Counter(word.norm for before, word in pairwise(tokens) if before.norm in _ONE and word.raw.islower())


def titled(form: str) -> bool:
    """Most words inside the sentences have a capital letter, and not only names have: then it says nothing."""
    words: list[str] = _INNER.findall(form)
    long = [word[0].isupper() for word in words if len(word) >= _LONG_WORD]
    if sum(long) <= _MOST * len(long):
        return False
    return (len(long) >= _MANY and sum(long) > _NEARLY_ALL * len(long)) or not _TITLES_ONLY.isdisjoint(words)


def same_capitals(a: str, b: str, *, names: bool = True) -> bool:
    """No word of one text is a name in the other; a text that is all of one case, or titled, says nothing, but for the letters of a formula.

    Nor does the passage in which two texts differ, when it is all of one case on one side and longer than a name.
    """
    if capitals(a, names=names) == capitals(b, names=names):
        return True
    if any(text.islower() or text.isupper() or titled(text) for text in (a, b)):
        return "=" not in a or _letters(a) == _letters(b)
    mine, other = a.split(" "), b.split(" ")
    span = place(mine, other)
    x, y = " ".join(mine[span.a0 : span.a1]), " ".join(other[span.b0 : span.b1])
    if min(span.a1 - span.a0, span.b1 - span.b0) < _PASSAGE or (titled(x) and titled(y)):
        return False
    return any(here.isupper() or (here.islower() and not titled(there)) for here, there in ((x, y), (y, x)))
