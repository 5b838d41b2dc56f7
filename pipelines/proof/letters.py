"""Where letters are meant as they stand: in short quotations and names of files; and for a literal task also what blanks and line
ends part, and which form the letters of a program's strings have.

Everything else about layout is layout.py's.
"""

from __future__ import annotations

import re

from pipelines.proof.layout import composed, is_code

_SHORT, _LINE = 30, 40
_SPACED = re.compile(rf"(?<!\w)([\"'`])(?=[^\n]{{0,{_SHORT}}}?(?:  |\t))((?:(?!\1)[^\n]){{1,{_SHORT}}})\1(?!\w)")
"""A short string with more than one blank in a row: `echo "a  b"`."""

_STRING = re.compile(rf"(?<!\w)([\"'`])((?:(?!\1)[^\n]){{1,{_SHORT}}})\1(?!\w)")
_LITERAL_WORDS = re.compile(
    r"(?<=[\w,(] )([\"'])([^\"'\n]{2,40})\1(?!\w)|([\"'])([^\"'\n]{2,40})\3(?= [a-z])|(\w[\w-]{0,40}(?:/[\w.-]{1,40}|\.[a-z][a-z0-9]{0,3}\b))"
)
"""A short quotation inside a sentence, the name of a file: of these each letter may be meant, `"modify"` and `"moidfy"`."""

_WORD = re.compile(r"[^\W\d_]+")


def placed(text: str) -> list[str]:
    """What must be equal beside the layout form; nothing for most texts."""
    seen = text if text.isascii() else composed(text)
    found = _parted(seen) if "\n" in text else []
    if ("  " in text or "\t" in text) and ('"' in text or "'" in text or "`" in text):
        found += [string[2] for string in _SPACED.finditer(text) if "  " in string[2] or "\t" in string[2]]
    if seen is not text and seen != text and is_code(text):
        found += [string[2] for string in _STRING.finditer(text) if composed(string[2]) != string[2]]
    return found


def _parted(text: str) -> list[str]:
    """Names and figures with a line end between them: `Paul Simon` and `John Denver` below each other are no `Paul` and `Simon John Denver`.

    A longer line may only be wrapped, and what ends in a colon heads what comes.
    """
    found: list[str] = []
    last = ""
    for line in text.split("\n"):
        if len(line) > _LINE:
            last = ""
        elif line := line.strip():
            if last and (line[0].isupper() or line[0].isdigit()) and line[-1] != ":":
                before = last.rpartition(" ")[2]
                if (before[0].isupper() or before[0].isdigit()) and before[-1].isalnum():
                    found.append(f"{before}\n{line.partition(' ')[0]}")
            last = line
    return found


def literal_words(form: str) -> set[str]:
    """The words of a text whose letters are meant as they stand; asked for only where there is a slip."""
    return {word.lower() for found in _LITERAL_WORDS.finditer(form) for word in _WORD.findall(found.group())}
