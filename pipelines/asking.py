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

_GREETING = word_set("hi hello hey please")
_GREETED = _GREETING | word_set("there all everyone everybody team guys folks support morning afternoon evening day me")
_ASIDES = word_set("so well ok okay um uh hmm")
_MAY_GREET = _GREETING | word_set("good dear excuse")
"""What may stand before a question asks: `Hello there, is it open`, but not `Hello there is a hole`."""

_INNER_WORDS = word_set("how what why where")
_INNER_VERBS = word_set("can could may should do does did will would am have has is are was were")
_INNER_SUBJECTS = word_set("i we you he she it they there anyone someone anybody somebody")
_BEING = word_set("is are was were have has am")
_TURNING = _INNER_WORDS | _INNER_VERBS | {"which"}
_OWNED = word_set("the my your our their his her this any")
"""`The best part, is the view.` asks nothing."""

_BEFORE_WHICH = word_set("In At On For From To By With As Of Under After Before")
_NOT_ASKED = _INNER_SUBJECTS | _INNER_VERBS | word_set("case event follows a an the")
"""`In which city is it` asks, `In which case it rains` and `In what follows` do not."""

_JOINS = frozenset({"and", "but", "-"})
_MARKS = ".,;:!?\"'`-()"


def begins(raw: str) -> bool:
    """With a capital letter a question word begins a sentence, whatever stands before it: a heading has no full stop."""
    return raw in _OPENERS


def opens_question(raw: str) -> bool:
    """A first word with which questions begin."""
    word = raw.lower()
    return word in ASKING or word.partition("'")[0] in ASKING


def asks(first: str, second: str) -> bool:
    """`When is it open` asks, `When it rains, we stay` and `Do it again` do not."""
    word, following = _last_word(first[-_LAST_LETTERS:]).lower(), second.strip(_MARKS).lower()
    if word in ("when", "where"):
        return following in _VERBS
    if word in ("don't", "dont"):
        return following in _ASKED
    return following not in _STATING.get(word, ())


def greets(piece: str, first: bool) -> bool:
    """Nothing but a word of a greeting, or a mark: what follows may still open a question."""
    word = piece.strip(_MARKS).lower()
    if first and word in _ASIDES:
        return piece[-1:] == ","
    return not word or word in (_MAY_GREET if first else _GREETED)


def opens(before: str, piece: str, following: str) -> bool:
    """The first piece behind a greeting opens a question; `there is` does not."""
    word = piece.strip(_MARKS)
    parted = before[-1:] in _MARKS or before.lower() in _GREETING or word.lower() in _QUESTION_WORDS
    return parted and opens_question(word) and asks(word, following)


def may_turn(before: str, piece: str) -> bool:
    """Quickly: whether it is worth asking `turns`."""
    return before[-1:] in ",;-" or piece[:1].isupper() or before in _JOINS or before in _BEFORE_WHICH


def turns(before: str, piece: str, following: str) -> bool:
    """A question begins inside of a sentence, or below a heading: `I lost it, how can I get it back`. Of `which` and `who` no one knows."""
    low = piece.strip(_MARKS).lower()
    if low not in _TURNING:
        return False
    after = following.strip(_MARKS).lower()
    if before in _BEFORE_WHICH and low in ("which", "what"):
        return after not in _NOT_ASKED
    if not (before[-1:] in (",", ";") or before.lower() in _JOINS or piece.strip(_MARKS).istitle()):
        return False
    if low in _INNER_WORDS:
        return after in _INNER_VERBS
    return (
        low in _INNER_VERBS
        and asks(low, after)
        and (after in _INNER_SUBJECTS or (low not in _BEING and after in _OWNED))
    )


def _last_word(piece: str) -> str:
    if piece.isalpha():
        return piece
    found = _LAST_WORD.search(piece)
    return found[0] if found else ""
