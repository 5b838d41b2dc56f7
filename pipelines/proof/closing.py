"""The marks that close a line, which a literal task does not notice; what stands inside of a line it does."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.proof.edges import wraps_long
from pipelines.proof.instruction import EXTRACT
from pipelines.proof.layout import layout

_CLOSING = {
    exclamations: re.compile(
        rf"(?<=[\w)\]\"'%/]) ?{marks}(?:[ \t\r]*(?P<end>\"{{1,3}}|'{{1,3}}|[”’»`]|>>>|</[A-Za-z][\w-]*>)(?: ?{marks})?)?[ \t\r]*$",
        re.M,
    )
    for exclamations, marks in ((True, "[.!?]+"), (False, "[.?]+"))
}
"""Marks that close a line, or a passage that is wrapped and closes one; with or without exclamation marks."""

_SPACED = re.compile(r"(?<=[^\W\d_]) (?=[.,;!?]+(?:\s|$))")
_REPEATED = re.compile(r"\?{2,}")
_MIN_SENTENCE_WORDS = 3


def same(a: str, b: str, norms: tuple[Sequence[str], Sequence[str]], task: str) -> bool:
    """The full stop that closes a line is layout, as is a question mark where the words ask, and a blank before a mark;
    what is extracted does not hang on an exclamation mark either. `norms` are the words of both.

    A bare word with a full stop may be an abbreviation, so there must be a sentence.
    """
    if norms[0] != norms[1] or sum(norm.isalpha() for norm in norms[0]) < _MIN_SENTENCE_WORDS or _asked_or_told(a, b):
        return False
    return _without_marks(a, task == EXTRACT) == _without_marks(b, task == EXTRACT)


def _asked_or_told(a: str, b: str) -> bool:
    """Some line closes with a question mark in one text and with another mark in the other."""
    mine, other = (["?" in mark[0] for mark in _CLOSING[True].finditer(text)] for text in (a, b))
    return len(mine) == len(other) and mine != other


def _without_marks(text: str, exclamations: bool) -> str:
    """Of question marks only those are dropped that are needless: the others were compared as words."""
    return layout(_CLOSING[exclamations].sub(_end, _REPEATED.sub("?", _SPACED.sub("", text))))


def _end(found: re.Match[str]) -> str:
    """What is left of a mark and what wraps it: a short string keeps its full stop."""
    end = found["end"]
    if end is None:
        return ""
    return end if wraps_long(found.string, found.start(), end) else found.string[found.start() : found.end("end")]
