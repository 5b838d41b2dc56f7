"""Whether a sentence asks, told by the first words of it or of its last clause: such a one needs no question mark, any other one does."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.proof.words import ASKING, word_set

_QUESTION_WORDS = word_set("how what when where which who whom whose why")
_OPENERS = frozenset(map(str.capitalize, _QUESTION_WORDS))
_CAPITAL_VERBS = frozenset(map(str.capitalize, word_set("is are was were do does did can could would should")))
"""Between words in small letters these begin a sentence too: a line that ends without a mark stands before it."""

_VERBS = ASKING - _QUESTION_WORDS | {"to"}
_ASKED = word_set("i you we they he she it people the my your our their his her this that these those")
_LAST_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?(?=\W*$)")
"""A heading or a tag may stand before a word without a blank, `<review>When`."""

_LAST_LETTERS = 64
"""No word that matters is longer, and a piece without a blank may be a megabyte."""

_NO_SUBJECT = word_set(
    "not never also only always definitely certainly probably highly again just still even really very so too quite absolutely "
    "simply already perhaps maybe easily exactly what be been being"
)
"""What stands behind a verb whose subject was left out: `Would never buy it`, `Does exactly what it says`."""

_ACTS = word_set(
    "have do recommend buy order use get go make need take come return work try give say love like see keep purchase wear fit add want "
    "look last suit help pay become remain"
)
_QUALITIES = word_set(
    "great good bad nice perfect easy happy fine ok okay excellent amazing awesome terrible horrible awful poor cheap comfortable "
    "beautiful wonderful fantastic useless worth made able ready pleased sorry sure glad impressed disappointed satisfied"
)
_MODALS = word_set("can could will would shall should may might does did can't couldn't won't wouldn't doesn't didn't")
_STATING = {
    **dict.fromkeys(_MODALS, _NO_SUBJECT | _ACTS),
    **dict.fromkeys(word_set("is are am was were isn't aren't"), _NO_SUBJECT | _QUALITIES),
    **dict.fromkeys(word_set("has had"), _NO_SUBJECT | word_set("a an some no to everything all nothing lots")),
    "do": word_set("it this that so not nothing as"),
    "have": word_set("a an some no fun been"),
    "what": word_set("a an"),
}
"""What follows the first word of a sentence that is no question although it begins like one."""

_LEADING = word_set("and but or also ok okay um uh hmm hi hello hey please well yes no thanks sorry")
_MAY_LEAD = _LEADING | word_set("so good dear excuse")
_LED = _LEADING | word_set("there all everyone everybody team guys folks support morning afternoon evening day me you")
"""What may stand before a question: `Hello there, is it open`, but not `Hello there is a hole`."""

_MARKS = ".,;:!?\"'`-()"
_BEFORE_WHICH = word_set("in at on for from to by with as of under after before")
_NOT_ASKED = _VERBS | word_set("i you we he she it they there case event follows a an the")
"""`In which city is it` asks, `In which case it rains` and `In what follows` do not."""

_JOINING = word_set("and but or then")
_INVERTED = word_set("i you we they he she it this that there my your our")
_AUXILIARIES = word_set("is are am was were do does did can could will would shall should may has have")
_ASKING_ALONE = _AUXILIARIES - word_set("should were have has may")
"""Without a question word before them the others may say *if*: `Call us, should you need help`."""

_CONTRACTED = word_set("what's whats where's wheres how's hows why's")
_CLAUSE_ENDS = frozenset(",;")
_READ_PIECES = 8
"""So many pieces of a sentence or a clause tell whether it asks."""
_CLAUSE_PIECES = 32
"""Where a last clause is longer, nobody looks for its beginning."""

_CLOSED = frozenset(".!?:>")
PARAGRAPH = re.compile(r"\n(?:[ \t\r]*\n)+")
"""What parts paragraphs, in each of which a sentence begins."""


def begins(raw: str) -> bool:
    """With a capital letter a question word begins a sentence, whatever stands before it: a heading has no full stop."""
    return raw in _OPENERS


def opens_question(raw: str) -> bool:
    """A first word with which questions begin."""
    word = raw.lower()
    return word in ASKING or word.partition("'")[0] in ASKING


def asks(first: str, second: str) -> bool:
    """`When is it open` asks, `When it rains, we stay` and `Do it again` do not."""
    word, following = _bare(first), second.strip(_MARKS).lower()
    if word in ("when", "where"):
        return following in _VERBS
    if word in ("don't", "dont"):
        return following in _ASKED
    return following not in _STATING.get(word, ())


def asked(pieces: Sequence[str], start: int, end: int) -> bool:
    """Whether the sentence from `pieces[start]` to `pieces[end]` asks: by how it begins, but for a greeting or a joining word, or
    by how its last clause begins, `I lost my card, what should I do`."""
    if pieces[start].lower() in ASKING and asks(pieces[start], pieces[start + 1] if start + 1 < len(pieces) else ""):
        return True  # nearly all of them, so at once
    if _opens(pieces, start, end):
        return True
    before = range(end - 1, max(start, end - _CLAUSE_PIECES) - 1, -1)
    for at in before:
        if pieces[at] in _CAPITAL_VERBS and pieces[at + 1].islower() and at and pieces[at - 1].islower():
            return asks(pieces[at], pieces[at + 1])
    clause = next((at + 1 for at in before if pieces[at][-1:] in _CLAUSE_ENDS), end + 1)
    words = _words(pieces, clause, end + 1)
    joined = words[:1] == ["so"] and words[1:2] and words[1] in _QUESTION_WORDS
    return _inverted(words[1:] if joined or (words and words[0] in _JOINING) else words)


def _opens(pieces: Sequence[str], start: int, end: int) -> bool:
    """As `asked` says, by the beginning alone."""
    at, last = start, min(end, start + _READ_PIECES)
    word = _bare(pieces[at])
    if word in _MAY_LEAD:
        at += 1
        while at < last and (_bare(pieces[at]) or "hi") in _LED:
            at += 1
        before, word = pieces[at - 1], _bare(pieces[at]) if at <= last else ""
        if not (word in _QUESTION_WORDS or before[-1:] in _MARKS or _bare(before) in _LEADING):
            return False
    following = _bare(pieces[at + 1]) if at + 1 < len(pieces) else ""
    if word in _BEFORE_WHICH and following in ("which", "what"):
        return at + 2 <= end and _bare(pieces[at + 2]) not in _NOT_ASKED
    return opens_question(word) and asks(word, following)


def _inverted(words: Sequence[str]) -> bool:
    """A clause in which the verb stands before its subject; `which is` and `what is more` tell something."""
    first, second, third = (*words[:3], "", "", "")[:3]
    if first in _QUESTION_WORDS:
        return second in _AUXILIARIES and third in _INVERTED
    if first in _CONTRACTED:
        return second not in ("", "more")
    return first in _ASKING_ALONE and second in _INVERTED and asks(first, second)


def _words(pieces: Sequence[str], start: int, stop: int) -> list[str]:
    """The first words of some pieces, in small letters; a number stands for itself, and what is only marks for nothing."""
    read = (_bare(piece) for piece in pieces[start : min(stop, start + _READ_PIECES)])
    return [word for word in read if word]


def _bare(piece: str) -> str:
    return _last_word(piece[-_LAST_LETTERS:]).lower() or ("0" if any(map(str.isalnum, piece)) else "")


def _last_word(piece: str) -> str:
    if piece.isalpha():
        return piece
    found = _LAST_WORD.search(piece)
    return found[0] if found else ""


def paragraphs(text: str) -> list[str]:
    """The parts of a text between blank lines, if it may ask something and one of them lacks the mark that closes a sentence, which
    then ends there."""
    if "?" not in text:
        return [text]
    if "\r" not in text and "\n " not in text and "\n\t" not in text:  # most texts, quickly
        at = text.find("\n\n")
        while at > 0 and text[at - 1] in _CLOSED:
            at = text.find("\n\n", at + 2)
        if at <= 0:
            return [text]
    parts = PARAGRAPH.split(text)
    return [text] if all(part.rstrip()[-1:] in _CLOSED for part in parts[:-1]) else parts
