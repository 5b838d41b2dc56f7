"""Whether a sentence asks, told by its first two words: such a one needs no question mark, and any other one does."""

from __future__ import annotations

import re

from pipelines.words import ASKING, word_set

_QUESTION_WORDS = word_set("how what when where which who whom whose why")
_OPENERS = frozenset(map(str.capitalize, _QUESTION_WORDS))
_VERBS = ASKING - _QUESTION_WORDS | {"to"}
_ASKED = word_set("i you we they he she it people the my your our their his her this that these those")
_LAST_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?(?=\W*$)")
"""A heading or a tag may stand before a word without a blank, `<review>When`."""

_LAST_LETTERS = 64
"""No word that matters is longer, and a piece without a blank may be a megabyte."""

_STATING = {
    "do": word_set("it this that so not nothing as"),
    "have": word_set("a an some no fun"),
    "what": word_set("a an"),
}
"""What follows the first word of a sentence that is no question although it begins like one."""


def begins(raw: str) -> bool:
    """With a capital letter a question word begins a sentence, whatever stands before it: a heading has no full stop."""
    return raw in _OPENERS


def opens_question(raw: str) -> bool:
    """A first word with which questions begin."""
    word = raw.lower()
    return word in ASKING or word.partition("'")[0] in ASKING


def asks(first: str, second: str) -> bool:
    """`When is it open` asks, `When it rains, we stay` and `Do it again` do not."""
    word, following = _last_word(first[-_LAST_LETTERS:]).lower(), second.lower()
    if word in ("when", "where"):
        return following in _VERBS
    if word in ("don't", "dont"):
        return following in _ASKED
    return following not in _STATING.get(word, ())


def _last_word(piece: str) -> str:
    if piece.isalpha():
        return piece
    found = _LAST_WORD.search(piece)
    return found[0] if found else ""
