"""A passage on lines of its own, where what stands beside it would make code of it or quotes it: `text = "{}"`, `say "{}"?`, a fence.

What surrounds a passage is the same in all prompts of a template, and says nothing about the passage.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.proof.layout import PROSE_WORDS, is_code
from pipelines.proof.words import ASKING, DIRECTIONS, MODALS, SUBJECTS, word_set

_PASSAGE = 30
"""A passage has at least so many letters; a short string may be a part of what surrounds it."""

_MARKS, _FENCE = 3, 64
_OPENING, _CLOSING = "\"'`“„«‘", "\"'`”“»’"
_FIRST, _LAST = re.compile(r"\"{1,3}|'{1,3}|`|[“„«‘]"), re.compile(r"(?:\"{1,3}|'{1,3}|`|[”“»’])\s?[.,;:!?]?\Z")
_ENDING = 6
"""No closing mark with what follows it is longer."""

RUNS = re.compile(
    r"[\w\])]\.\w+\(|\b(?:print|len|str|int|list|set|sorted|open|eval)\(|^[ \t]*(?:assert|return|import|raise|yield)\b "
    r"|^[ \t]*(?:if|for|while|with|else|try|def|class)\b[^\n]*:[ \t]*$",
    re.MULTILINE,
)
"""What does something with what stands beside it, so that its very letters count."""

_OPEN_FENCE = re.compile(r"```(?:text|txt|md|markdown)?[ \t]*\n\s*+\Z")
_CLOSED_FENCE = re.compile(r"\s*\n[ \t]*```[ \t]*(?=\n|\Z)")
_BROKEN = re.compile(r"[ \t]*\r?\n(?=[a-z])|[ \t]{2,}|\t")
"""Blanks and line ends inside of a sentence: who breaks a line on purpose begins with a capital letter, a mark, a number or blanks."""

_SMALL = SUBJECTS | DIRECTIONS | MODALS | ASKING | word_set("and but as that this these not be been")
_MIN_SMALL, _FEW = 3, 2
"""A sentence with odd blanks has so many of these, and few or nothing but odd ones: else it may be columns."""

_LAID_OUT = re.compile(r"[\t\n]|  |^(?:[#$/>%]|\w+:)")


def apart(text: str, start: int, end: int) -> str:
    """The text with a line end before and behind the passage `text[start:end]` and what quotes it, and without blanks inside of the
    quotation marks; without the fence around a few sentences."""
    for _ in range(_MARKS):
        if start and text[start - 1] in _OPENING and text[end : end + 1] in tuple(_CLOSING):
            start, end = start - 1, end + 1
    passage = text[start:end].strip()
    if len(passage) < _PASSAGE:
        return text
    fence, closing = _OPEN_FENCE.search(text, max(0, start - _FENCE), start), _CLOSED_FENCE.match(text, end)
    if fence and closing and _is_prose(passage):
        return f"{text[: fence.start()]}\n{passage}\n{text[closing.end() :]}"
    before = text[text.rfind("\n", 0, start) + 1 : start].strip()
    after = text[end:].partition("\n")[0].strip()
    if not (before or after) or is_code(passage) or RUNS.search(text[:start]) or RUNS.search(text[end:]):
        return text
    bare = _unpadded(passage)
    if bare is None and not is_code(f"{before} x {after}"):
        return text
    passage = bare or passage
    return f"{text[:start].rstrip(' ')}\n{passage}\n{text[end:].lstrip(' ')}"


def _unpadded(passage: str) -> str | None:
    """A passage in quotation marks without the blanks inside of them; None: it is in none, or there are more of them."""
    first, last = _FIRST.match(passage), _LAST.search(passage, max(0, len(passage) - _ENDING))
    if first is None or last is None:
        return None
    inside = passage[first.end() : last.start()]
    return None if first[0] in inside else first[0] + inside.strip() + last[0]


def fields_apart(text: str, constants: Sequence[str], fields: Sequence[str]) -> str:
    """So for each field of a text that is made of constants and, between them, fields. The last one first, so that the others keep their places."""
    end = len(text)
    for constant, field in zip(constants[:0:-1], fields[::-1], strict=True):
        end -= len(constant)
        text = apart(text, end - len(field), end)
        end -= len(field)
    return text


def _is_prose(passage: str) -> bool:
    """It has words of sentences, and no layout of its own."""
    told, odd = _BROKEN.subn(" ", passage)
    if _LAID_OUT.search(told) is not None or is_code(passage):
        return False
    words = told.lower().split()
    if not odd:
        return not PROSE_WORDS.isdisjoint(words)
    return (odd <= _FEW or odd == len(words) - 1) and len(_SMALL.intersection(words)) >= _MIN_SMALL
