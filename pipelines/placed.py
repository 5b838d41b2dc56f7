"""Where letters are meant as they stand: in short quotations and names of files; and for a literal task also what blanks and line
ends part, and which form the letters of a program's strings have.

Everything else about layout is layout.py's.
"""

from __future__ import annotations

import re

from pipelines.layout import composed, is_code

_SHORT, _LINE = 30, 40
_SPACED = re.compile(rf"(?<!\w)([\"'`])(?=[^\n]{{0,{_SHORT}}}?(?:  |\t))((?:(?!\1)[^\n]){{1,{_SHORT}}})\1(?!\w)")
"""A short string with more than one blank in a row: `echo "a  b"`."""

_STRING = re.compile(rf"(?<!\w)([\"'`])((?:(?!\1)[^\n]){{1,{_SHORT}}})\1(?!\w)")
_PARTED = re.compile(
    rf"^(?=[^\n]{{1,{_LINE}}}$)(?:[^\n]*[ \t])?([A-Z\d][\w'-]*)[ \t\r]*\n(?=\s*(?=[^\n]{{1,{_LINE}}}$)(?![^:\n]*:\s*$)([A-Z\d][\w'-]*))",
    re.M,
)
"""A line end between two names or figures: `Paul Simon` and `John Denver` below each other are no `Paul` and `Simon John Denver`.
A longer line may only be wrapped, and what ends in a colon heads what comes."""

_LITERAL_WORDS = re.compile(
    r"(?<=[\w,(] )([\"'])([^\"'\n]{2,40})\1(?!\w)|([\"'])([^\"'\n]{2,40})\3(?= [a-z])|(\w[\w-]{0,40}(?:/[\w.-]{1,40}|\.[a-z][a-z0-9]{0,3}\b))"
)
"""A short quotation inside a sentence, the name of a file: of these each letter may be meant, `"modify"` and `"moidfy"`."""

_WORD = re.compile(r"[^\W\d_]+")


def placed(text: str) -> list[str]:
    """What must be equal beside the layout form; nothing for most texts."""
    found: list[str] = []
    seen = text if text.isascii() else composed(text)
    if ("  " in text or "\t" in text) and ('"' in text or "'" in text or "`" in text):
        found += [string[2] for string in _SPACED.finditer(text) if "  " in string[2] or "\t" in string[2]]
    if "\n" in text:
        found += [f"{pair[1]}\n{pair[2]}" for pair in _PARTED.finditer(seen)]
    if seen != text and is_code(text):
        found += [string[2] for string in _STRING.finditer(text) if composed(string[2]) != string[2]]
    return found


def literal_words(form: str) -> set[str]:
    """The words of a text whose letters are meant as they stand; asked for only where there is a slip."""
    return {word.lower() for found in _LITERAL_WORDS.finditer(form) for word in _WORD.findall(found.group())}
