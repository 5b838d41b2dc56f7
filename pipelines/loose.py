"""The loose form of a text in layout form: without case, soft punctuation and contractions; for keys only.

It is what is left of the tokens that are not soft, made fast: piece by piece from memory, and pieces are what stands between blanks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

from pipelines.asking import asks
from pipelines.reading import (
    CACHED_LETTERS,
    CACHED_PIECES,
    CIVIL,
    DENIALS,
    ENDS,
    PACES,
    PAUSE,
    around,
    cased_unit,
    joins_numbers,
    last_said,
    read_piece,
)
from pipelines.words import ASKING, CONTRACTIONS

_QUOTES = "\"'`"
_PAUSING = PACES | set(_QUOTES)
_WORD_START = re.compile(r"[^\W\d_]+")


def loose(text: str) -> str:
    """What is left of a text in layout form when case, soft punctuation and contractions are ignored; for keys only."""
    if text[:1] == "\t" or "\n" in text:
        return "\n".join(line if line[:1] == "\t" else loose(line) for line in text.split("\n"))
    return loose_words(text.split(" "), "?" in text)


def loose_words(pieces: Sequence[str], marked: bool) -> str:
    """`loose` of one line of prose, given as its words and whether there is a question mark in them."""
    forms = list(map(_forms.get, pieces))
    if None in forms:
        forms = [_piece(piece) if form is None else form for piece, form in zip(pieces, forms, strict=True)]
    if marked:
        _drop_needless_questions(pieces, forms)
    if not _denying.isdisjoint(pieces):
        _put_pauses(pieces, forms)
    if not _units.isdisjoint(pieces):
        _put_units(pieces, forms)
    if "" not in forms:
        return " ".join(cast("list[str]", forms))
    _keep_marks_between_numbers(pieces, forms)
    return " ".join(filter(None, forms))


_forms: dict[str, str] = {}
_denying: set[str] = set()
"""Those of the pieces there whose form begins or ends with a denial."""

_units: set[str] = set()
"""Those that begin with a unit whose case tells."""


def _piece(piece: str) -> str:
    """The loose form of what stands between two blanks; a question mark stays for the sentence to decide."""
    if len(_forms) > CACHED_PIECES:
        _forms.clear()
        _denying.clear()
        _units.clear()
    core = piece[:-1] if piece[-1:] in PACES else piece
    if core.isalpha():
        low = core.lower()
        form = CONTRACTIONS.get(low, low)
    else:
        form = " ".join(token.norm for token in read_piece(piece, True).tokens if token.kind != "soft")
    if len(piece) <= CACHED_LETTERS:
        _forms[piece] = form
        if not DENIALS.isdisjoint((form.partition(" ")[0], form.rpartition(" ")[2])):
            _denying.add(piece)
        if cased_unit(_first_word(piece)):
            _units.add(piece)
    return form


def _put_units(pieces: Sequence[str], forms: list[str | None]) -> None:
    """As `_keep_units` does."""
    for at, piece in enumerate(pieces):
        form = forms[at]
        if form and at and piece in _units and pieces[at - 1][-1:].isdigit():
            unit = _first_word(piece)
            forms[at] = form.replace(unit.lower(), unit, 1)


def _first_word(piece: str) -> str:
    found = _WORD_START.match(piece)
    return found[0] if found else ""


def _pauses_beside_denials(pieces: Sequence[str]) -> bool:
    """Whether a mark may stand next to a denial; looked for in passing, as nearly every prompt denies something."""
    for denial in _denying.intersection(pieces):
        at = -1
        for _ in range(pieces.count(denial)):
            at = pieces.index(denial, at + 1)
            if any(piece[-1:] in _PAUSING for piece in pieces[max(0, at - 1) : at + 2]):
                return True
    return False


def _put_pauses(pieces: Sequence[str], forms: list[str | None]) -> None:
    """As `_with_pauses` does."""
    if not _pauses_beside_denials(pieces):
        return
    before, mark = "", False
    for at, piece in enumerate(pieces):
        form = forms[at]
        if form:
            head, last = form.partition(" ")[0], form.rpartition(" ")[2]
            if mark and (before in DENIALS or (head in DENIALS and before not in CIVIL)):
                forms[at] = f"{PAUSE} {form}"
            before, mark = last_said(before, form) if form == last else last, False
        mark = mark or (bool(before) and piece.rstrip(_QUOTES)[-1:] in PACES)


def _drop_needless_questions(pieces: Sequence[str], forms: list[str | None]) -> None:
    """A sentence that opens like a question is one, with or without its mark; many marks are one."""
    for at, form in enumerate(forms):
        if form is None or "?" not in form:
            continue
        start = at
        while start and pieces[start - 1][-1:] not in ENDS:
            start -= 1
        opening = next((form for form in forms[start : at + 1] if form), "").partition(" ")[0]
        needless = opening in ASKING and asks(pieces[start], pieces[start + 1] if start + 1 < len(pieces) else "")
        left = [part for part in form.split(" ") if part != "?"]
        forms[at] = " ".join(left if needless else [*left, "?"])


def _keep_marks_between_numbers(pieces: Sequence[str], forms: list[str | None]) -> None:
    for at, piece in enumerate(pieces):
        if len(piece) == 1 and not forms[at] and joins_numbers(piece, *around(pieces, at)):
            forms[at] = piece
