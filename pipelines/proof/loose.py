"""The loose form of a text in layout form: without case, soft punctuation and contractions; for keys only.

It is what is left of the tokens that are not soft, made fast: piece by piece from memory (pieces.py), and what depends on the
pieces around is looked at only where the marks of the pieces say that a rule may be about them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, count

from pipelines.proof.asking import asked
from pipelines.proof.casing import tells
from pipelines.proof.pieces import ASKING, DENYING, EMPTY, LONG, TELLING, UNIT, Memory, first_word, learn, memory, where
from pipelines.proof.reading import CIVIL, DENIALS, ENDS, PAUSE, PAUSES, PLAIN_UNITS, around, last_said
from pipelines.proof.signs import is_sign

_QUESTIONS = re.compile(r"\?+")
_QUOTES = "\"'`"
_PAUSING = PAUSES | set(_QUOTES)

_WORD, _NO_WORD = where(0, but=DENYING | EMPTY), where(EMPTY)
_AROUND_DENIALS = re.compile(rf"(?:\A|{_WORD}){_NO_WORD}*+(?:{where(DENYING)}{_NO_WORD}*+{_WORD}?+{_NO_WORD}*+)+")
"""From the word before a denial to the word behind it; what was no more than question marks may be a word or none."""


def loose(text: str) -> str:
    """What is left of a text in layout form when case, soft punctuation and contractions are ignored; for keys only."""
    return loose_lines(text)[0]


def loose_lines(text: str) -> tuple[str, int]:
    """`loose`, and whether capital letters may say something: TELLING; so they do in code and in long pieces of what may be code."""
    lines = [text] if text[:1] != "\t" and "\n" not in text else text.split("\n")
    forms = [(line, TELLING) if line[:1] == "\t" else loose_words(line.split(" ")) for line in lines]
    telling = any(kinds & (TELLING | LONG) for _, kinds in forms)
    return "\n".join([form for form, _ in forms]), TELLING if telling else 0


def loose_words(pieces: Sequence[str]) -> tuple[str, int]:
    """`loose` of one line of prose, given as its words, and what kinds of pieces are in it, TELLING where they stand so."""
    known = memory()
    marks: Mapping[str, int] = known.marks
    try:
        forms = list(map(known.forms.__getitem__, pieces))
    except KeyError:
        forms, marks = _learnt(pieces, known)
    odd = list(compress(count(), map(marks.get, pieces)))
    if not odd:
        return " ".join(forms), 0
    kinds = 0
    for at in odd:
        kinds |= marks[pieces[at]]
    if kinds & ASKING:
        _drop_needless_questions(pieces, forms, odd, marks)
    if kinds & DENYING and _pauses_beside(pieces, odd, marks):
        _put_pauses(pieces, forms, odd, marks)
    if kinds & UNIT:
        _put_units(pieces, forms, odd, marks)
    if kinds & TELLING and not kinds & LONG and not any(tells(pieces, at) for at in odd if marks[pieces[at]] & TELLING):
        kinds &= ~TELLING
    if kinds & EMPTY and "" in forms:
        _keep_signs(pieces, forms, odd)
        return " ".join(filter(None, forms)), kinds
    return " ".join(forms), kinds


def _learnt(pieces: Sequence[str], known: Memory) -> tuple[list[str], Mapping[str, int]]:
    """Forms of all pieces, and the marks of those that any rule is about."""
    forms: list[str] = []
    marks: dict[str, int] = {}
    for piece in pieces:
        form = known.forms.get(piece)
        form, mark = learn(piece, known) if form is None else (form, known.marks.get(piece, 0))
        forms.append(form)
        if mark:
            marks[piece] = mark
    return forms, marks


def _put_units(pieces: Sequence[str], forms: list[str], odd: Iterable[int], marks: Mapping[str, int]) -> None:
    """As `_keep_units` does."""
    for at in odd:
        if not marks[pieces[at]] & UNIT:
            continue
        unit = first_word(pieces[at])
        if unit.lower() in PLAIN_UNITS or (at and pieces[at - 1][-1:].isdigit()):
            forms[at] = forms[at].replace(unit.lower(), unit, 1)


def _pauses_beside(pieces: Sequence[str], odd: Iterable[int], marks: Mapping[str, int]) -> bool:
    """Whether a mark may stand next to a denial."""
    for at in odd:
        if marks[pieces[at]] & (DENYING | LONG) == DENYING:
            for piece in pieces[at - 1 if at else 0 : at + 2]:
                if piece[-1:] in _PAUSING:
                    return True
    return False


def _put_pauses(pieces: Sequence[str], forms: list[str], odd: Iterable[int], marks: Mapping[str, int]) -> None:
    """As `with_pauses` does."""
    letters = ["\0"] * len(pieces)
    for at in odd:
        letters[at] = chr(marks[pieces[at]])
    for region in _AROUND_DENIALS.finditer("".join(letters)):
        before, mark = "", False
        for at in range(*region.span()):
            form = forms[at]
            if form:
                head, last = form.partition(" ")[0], form.rpartition(" ")[2]
                if mark and (before in DENIALS or (head in DENIALS and before not in CIVIL)):
                    forms[at] = f"{PAUSE} {form}"
                before, mark = last_said(before, form) if form == last else last, False
            mark = mark or (bool(before) and pieces[at].rstrip(_QUOTES)[-1:] in PAUSES)


def _drop_needless_questions(
    pieces: Sequence[str], forms: list[str], odd: Iterable[int], marks: Mapping[str, int]
) -> None:
    """A sentence that opens like a question is one, with or without its mark; many marks are one."""
    start, seen = 0, 0
    for at in odd:
        piece = pieces[at]
        if not marks[piece] & ASKING:
            continue
        end = at
        while end > seen and pieces[end - 1][-1:] not in ENDS:
            end -= 1
        start = end if end > seen else start
        seen = at
        needless = asked(pieces, start, at)
        form = forms[at]
        if form[-2:] == " ?" and piece.count("?") == 1:
            forms[at] = form[:-2] if needless else form
        else:
            left = [part for part in form.split(" ") if part != "?"]
            forms[at] = " ".join(left if needless else [*left, *["?"] * len(_QUESTIONS.findall(piece))])


def _keep_signs(pieces: Sequence[str], forms: list[str], odd: Iterable[int]) -> None:
    formula = None
    for at in odd:
        piece = pieces[at]
        if not forms[at] and len(piece) == 1 and is_sign(piece, *around(pieces, at), True):
            if formula is None:
                formula = any("=" in each for each in pieces)
            if formula or is_sign(piece, *around(pieces, at), False):
                forms[at] = piece
