"""What is remembered of a piece, which is what stands between two blanks: its loose form, and which rules must look at it.

The rules themselves are loose.py's. A mark is a few bits; most pieces have none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.proof.casing import may_tell
from pipelines.proof.layout import suspicious
from pipelines.proof.reading import (
    CACHED_LETTERS,
    CACHED_PIECES,
    DENIALS,
    PACES,
    Token,
    cased_unit,
    is_identifier,
    read_piece,
    with_pauses,
)
from pipelines.proof.words import CONTRACTIONS

DENYING = 1
"""The form begins or ends with a denial."""

ASKING = 2
"""There is a question mark in the form."""

EMPTY = 4
"""Nothing but question marks is left, if anything."""

UNIT = 8
"""A unit whose case tells."""

TELLING = 16
"""Capital letters that may tell something."""

CODE = 32
"""A sign of code, if it is not one of prose."""

LONG = 64
"""Longer than what is remembered, and so without the case of units and names."""

_FIRST_WORD = re.compile(r"[^\W\d_]+")


class Memory(NamedTuple):
    """Forms of pieces, and the marks of those that a rule is about; a piece has its mark before it has a form."""

    forms: dict[str, str]
    marks: dict[str, int]


_memory = Memory({}, {})


def memory() -> Memory:
    """To be asked for once a text: when it is full there is a new one, as other threads may be in the middle of a text."""
    global _memory
    if len(_memory.forms) > CACHED_PIECES:
        _memory = Memory({}, {})
    return _memory


def where(wanted: int, but: int = 0) -> str:
    """A pattern for marks written as letters: those that are all of this, and nothing of `but`."""
    return (
        "["
        + "".join(re.escape(chr(mark)) for mark in range(2 * LONG) if mark & wanted == wanted and not mark & but)
        + "]"
    )


def learn(piece: str, known: Memory) -> tuple[str, int]:
    """Form and mark of a piece that is not remembered; from now on it is, unless it is long."""
    form, mark = _quickly(piece) or _carefully(piece)
    mark |= CODE if suspicious(piece) else 0
    if len(piece) > CACHED_LETTERS:
        return form, mark & ~(UNIT | TELLING) | LONG
    if mark:
        known.marks[piece] = mark
    known.forms[piece] = piece if form == piece else form
    return form, mark


def _quickly(piece: str) -> tuple[str, int] | None:
    """Of a word with at most one mark behind it."""
    core = piece[:-1] if piece[-1:] in PACES else piece
    if not core.isalpha() or (len(core) == 1 and piece[-1:] == "!"):
        return None
    low = core if is_identifier(core) else core.lower()
    form = CONTRACTIONS.get(low, low)
    return form, _about(form) if core.islower() else _about(form) | _about_case(piece, core)


def _carefully(piece: str) -> tuple[str, int]:
    read: Sequence[Token] = read_piece(piece, True).tokens
    if not DENIALS.isdisjoint([token.norm for token in read]):
        read = with_pauses(read)
    form = " ".join([token.norm for token in read if token.kind != "soft"])
    return form, _about(form) | _about_case(piece, first_word(piece))


def _about(form: str) -> int:
    denying = form in DENIALS or not DENIALS.isdisjoint((form.partition(" ")[0], form.rpartition(" ")[2]))
    return (DENYING if denying else 0) | (ASKING if "?" in form else 0) | (0 if form.strip("? ") else EMPTY)


def _about_case(piece: str, word: str) -> int:
    return (UNIT if cased_unit(word) else 0) | (TELLING if may_tell(piece) else 0)


def first_word(piece: str) -> str:
    """The letters with which it begins, after its marks."""
    found = _FIRST_WORD.search(piece)
    return found[0] if found else ""
