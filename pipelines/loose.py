"""The loose form of a text in layout form: without case, soft punctuation and contractions; for keys only.

It is what is left of the tokens that are not soft, made fast: piece by piece from memory, and pieces are what stands between blanks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from pipelines.asking import asks
from pipelines.casing import may_tell
from pipelines.reading import (
    CACHED_LETTERS,
    CACHED_PIECES,
    CIVIL,
    DENIALS,
    ENDS,
    PACES,
    PAUSE,
    PAUSES,
    PLAIN_UNITS,
    Token,
    around,
    cased_unit,
    is_identifier,
    last_said,
    read_piece,
    with_pauses,
)
from pipelines.signs import is_sign
from pipelines.words import ASKING, CONTRACTIONS

_QUOTES = "\"'`"
_PAUSING = PAUSES | set(_QUOTES)
MANY_DENIALS = 8
_QUESTIONS = re.compile(r"\?+")
_FIRST_WORD = re.compile(r"[^\W\d_]+")


def loose(text: str) -> str:
    """What is left of a text in layout form when case, soft punctuation and contractions are ignored; for keys only."""
    if text[:1] == "\t" or "\n" in text:
        return "\n".join(line if line[:1] == "\t" else loose(line) for line in text.split("\n"))
    return loose_words(text.split(" "), "?" in text)


def loose_words(pieces: Sequence[str], marked: bool) -> str:
    """`loose` of one line of prose, given as its words and whether there is a question mark in them."""
    global _memory
    if len(_memory.forms) > CACHED_PIECES:
        _memory = _Memory({}, set(), set(), set())  # a new one: other threads may be in the middle of a text
    memory = _memory
    forms = list(map(memory.forms.get, pieces))
    if None in forms:
        forms = [_piece(piece, memory) if form is None else form for piece, form in zip(pieces, forms, strict=True)]
    if marked:
        _drop_needless_questions(pieces, forms)
    if denials := memory.denying.intersection(pieces):
        _put_pauses(pieces, forms, denials)
    if not memory.units.isdisjoint(pieces):
        _put_units(pieces, forms, memory.units)
    if "" not in forms:
        return " ".join(cast("list[str]", forms))
    _keep_signs(pieces, forms)
    return " ".join(filter(None, forms))


class _Memory(NamedTuple):
    """Pieces and their forms; of these, those whose form begins or ends with a denial, those that hold a unit whose
    case tells, and those whose capital letters may tell something. A piece is in the sets before it has a form."""

    forms: dict[str, str]
    denying: set[str]
    units: set[str]
    telling: set[str]


_memory = _Memory({}, set(), set(), set())


def _piece(piece: str, memory: _Memory) -> str:
    """The loose form of what stands between two blanks; a question mark stays for the sentence to decide."""
    core = piece[:-1] if piece[-1:] in PACES else piece
    if core.isalpha() and not (len(core) == 1 and piece[-1:] == "!"):
        low = core if is_identifier(core) else core.lower()
        form = CONTRACTIONS.get(low, low)
    else:
        read: Sequence[Token] = read_piece(piece, True).tokens
        if not DENIALS.isdisjoint([token.norm for token in read]):
            read = with_pauses(read)
        form = " ".join(token.norm for token in read if token.kind != "soft")
    if len(piece) > CACHED_LETTERS:
        return form
    if not DENIALS.isdisjoint((form.partition(" ")[0], form.rpartition(" ")[2])):
        memory.denying.add(piece)
    if cased_unit(_first_word(piece)):
        memory.units.add(piece)
    if may_tell(piece):
        memory.telling.add(piece)
    memory.forms[piece] = form
    return form


def tells(pieces: Sequence[str]) -> bool:
    """Whether capital letters may say something among pieces whose loose form was just taken."""
    return not _memory.telling.isdisjoint(pieces)


def _put_units(pieces: Sequence[str], forms: list[str | None], units: set[str]) -> None:
    """As `_keep_units` does."""
    for at, piece in enumerate(pieces):
        form = forms[at]
        if not form or piece not in units:
            continue
        unit = _first_word(piece)
        if unit.lower() in PLAIN_UNITS or (at and pieces[at - 1][-1:].isdigit()):
            forms[at] = form.replace(unit.lower(), unit, 1)


def _first_word(piece: str) -> str:
    found = _FIRST_WORD.search(piece)
    return found[0] if found else ""


def _pauses_beside(denials: set[str], pieces: Sequence[str]) -> bool:
    """Whether a mark may stand next to one of them; looked for in passing, as nearly every prompt denies something."""
    if len(denials) > MANY_DENIALS:
        return True  # each is looked for through the whole text
    for denial in denials:
        at = -1
        for _ in range(pieces.count(denial)):
            at = pieces.index(denial, at + 1)
            if any(piece[-1:] in _PAUSING for piece in pieces[max(0, at - 1) : at + 2]):
                return True
    return False


def _put_pauses(pieces: Sequence[str], forms: list[str | None], denials: set[str]) -> None:
    """As `with_pauses` does."""
    if not _pauses_beside(denials, pieces):
        return
    before, mark = "", False
    for at, piece in enumerate(pieces):
        form = forms[at]
        if form:
            head, last = form.partition(" ")[0], form.rpartition(" ")[2]
            if mark and (before in DENIALS or (head in DENIALS and before not in CIVIL)):
                forms[at] = f"{PAUSE} {form}"
            before, mark = last_said(before, form) if form == last else last, False
        mark = mark or (bool(before) and piece.rstrip(_QUOTES)[-1:] in PAUSES)


def _drop_needless_questions(pieces: Sequence[str], forms: list[str | None]) -> None:
    """A sentence that opens like a question is one, with or without its mark; many marks are one."""
    start, opening = 0, ""
    for at, form in enumerate(forms):
        if at and pieces[at - 1][-1:] in ENDS:
            start, opening = at, ""
        opening = opening or form or ""
        if not form or "?" not in form:
            continue
        asking = opening.partition(" ")[0] in ASKING
        needless = asking and asks(pieces[start], pieces[start + 1] if start + 1 < len(pieces) else "")
        left = [part for part in form.split(" ") if part != "?"]
        marks = [] if needless else ["?"] * len(_QUESTIONS.findall(pieces[at]))
        forms[at] = " ".join([*left, *marks])


def _keep_signs(pieces: Sequence[str], forms: list[str | None]) -> None:
    formula = any("=" in piece for piece in pieces)
    for at, piece in enumerate(pieces):
        if len(piece) == 1 and not forms[at] and is_sign(piece, *around(pieces, at), formula):
            forms[at] = piece
