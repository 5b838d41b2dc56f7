"""Blanks just inside of what wraps a long passage: `" He came. "` and `"He came."`, `<note> He came.</note>` and `<note>He came.</note>`.

A short string keeps its blanks: they may be what it is about, as in `join them with " - "`. Reads the layout form, and changes nothing else.
"""

from __future__ import annotations

import re

from pipelines.proof.tags import ATTRIBUTE

_LONG = 30
"""A passage has at least so many letters."""

_QUOTES = ('"', "'", "`", '"""', "'''")
_OPENS, _CLOSES = frozenset({"«", "<<<"}), frozenset({"»", ">>>"})
_ALONE = frozenset(_QUOTES) | _OPENS | _CLOSES
_LONE = (
    ('"', (' " ', ' """ ')),
    ("'", (" ' ", " ''' ")),
    ("`", (" ` ",)),
    ("«", (" « ",)),
    ("»", (" » ",)),
    ("<<<", (" <<< ",)),
    (">>>", (" >>> ",)),
)
_BEFORE = frozenset(":>=")
"""What may stand before a passage that is quoted whole."""

_ENDS = ".,;:!?)"
_TAGGED = re.compile(rf"<([A-Za-z][\w-]*)((?: {ATTRIBUTE}){{0,2}})>( ?)([^<]{{{_LONG},}}?)( ?)</\1>")
_INLINE = frozenset({"a", "b", "code", "em", "i", "pre", "s", "span", "strong", "sub", "sup", "u"})
"""Markup of a few words, beside which a blank is seen."""

_FIRST, _LAST = re.compile(r"\"+|'+|`+"), re.compile(r"(?:\"+|'+|`+)$")
_OPENING = {"”": "“", "»": "«", "’": "‘", ">>>": "<<<"}
_TRIES, _WINDOW = 16, 5_000
"""An apostrophe opens nothing: so many of them are passed over. What opened more letters ago is not looked for."""


def tightened(form: str) -> str:
    """The form without such blanks."""
    if "</" in form and ("> " in form or " </" in form):
        form = _TAGGED.sub(lambda tag: tag[0] if tag[1] in _INLINE else f"<{tag[1]}{tag[2]}>{tag[4]}</{tag[1]}>", form)
    if "\n" not in form:
        return _tight(form) if form[:1] != "\t" and _stands_alone(form) else form
    lines = form.split("\n")
    return "\n".join([_tight(line) if line[:1] != "\t" and _stands_alone(line) else line for line in lines])


def _stands_alone(line: str) -> bool:
    """Quickly: whether a quotation mark has blanks on both sides."""
    for letter, marks in _LONE:
        if letter in line:
            for mark in marks:
                if mark in line or line.startswith(mark[1:]) or line.endswith(mark[:-1]):
                    return True
    return False


def _tight(line: str) -> str:
    """`seen` is how often a passage began or ended with each mark, where the last time, and whether a passage may begin there."""
    pieces = line.split(" ")
    out: list[str] = []
    seen: dict[str, tuple[int, int, bool]] = {}
    glued, at = False, 0
    for nth, piece in enumerate(pieces):
        if glued:
            out[-1] += piece
            glued = False
        elif piece not in _ALONE:
            out.append(piece)
        else:
            times, last, headed = seen.get(piece, (0, 0, False))
            if out and (piece in _CLOSES or (times % 2 and headed and at - last >= _LONG)):
                out[-1] += piece
            else:
                out.append(piece)
                glued = piece in _OPENS or (times % 2 == 0 and piece not in _CLOSES and _heads(pieces, nth))
        if '"' in piece or "'" in piece or "`" in piece:
            for mark in _marks(piece):
                times, _, headed = seen.get(mark, (0, 0, False))
                seen[mark] = times + 1, at, headed or _may_begin(pieces, nth)
        at += len(piece) + 1
    return " ".join(out)


def _may_begin(pieces: list[str], nth: int) -> bool:
    """A passage that is quoted whole begins a line or stands behind a colon; a string inside of a sentence does neither."""
    return not nth or pieces[nth - 1][-1:] in _BEFORE


def _heads(pieces: list[str], nth: int) -> bool:
    """A mark that stands alone, where a passage may begin, with a long one behind it."""
    if not _may_begin(pieces, nth):
        return False
    letters = 0
    for piece in pieces[nth + 1 :]:
        letters += len(piece) + 1
        if letters > _LONG or pieces[nth] in _marks(piece):
            break
    return letters > _LONG


def _marks(piece: str) -> list[str]:
    """The quotation marks that a piece begins and ends with."""
    core = piece.rstrip(_ENDS)
    first = _FIRST.match(piece)
    if first and first[0] == core:
        return [core]
    return [found[0] for found in (first, _LAST.search(core)) if found]


def wraps_long(text: str, at: int, mark: str) -> bool:
    """Whether what `mark` closes behind the place `at` of a text is a long passage."""
    # a tag may have attributes, so its opening is looked for without its end
    opening = f"<{mark[2:-1]}" if mark[:2] == "</" else _OPENING.get(mark, mark)
    begin = max(0, at - _WINDOW)
    start = text.rfind(opening, begin, at)
    for _ in range(_TRIES):
        if start < 1 or not text[start - 1].isalnum():
            break
        start = text.rfind(opening, begin, start)
    before = text[max(0, start - 4) : max(0, start)].rstrip(" \t")
    return 0 <= start <= at - _LONG and (not before or before[-1] in _BEFORE | {"\n"} or mark[:2] == "</")
