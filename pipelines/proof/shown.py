"""What a reader is shown of a text: HTML's entities as their signs, bold words without stars, raised and lowered numbers on the line.

Only where labels or free answers are asked for; a text about such marks keeps them.
"""

from __future__ import annotations

import html
import re
import unicodedata

_ENTITIES = re.compile(r"&(?:amp|quot|apos|nbsp|hellip|[nm]dash|[lr][sd]quo|#0?39|#x27|#34|#160|#8217);")
_RAISED = re.compile(
    "(?<=[^\\W_]|\\))([\u207a\u207b]?[\u2070\u00b9\u00b2\u00b3\u2074-\u2079]+)|(?:(?<=[A-Z])|(?<=[A-Z][a-z])|(?<=\\)))[\u2080-\u2089]+(?!\\d)"
)
"""`x\u00b2`, `10\u2075`, `H\u2082O`; behind a digit, or a name in small letters, what stands below is a base or an index, and stays."""

_ABOUT_RAISED = re.compile(
    r"`|(?:super|sub)script|\b(?:unicode|latex|typeset\w*|notation|format\w*|code|python|java\w*|sql|regex)\b",
    re.IGNORECASE,
)
_EMPHASIS = re.compile(r"(?<![\w*])\*\*(?=[^\s*])([^*\n]{1,200})(?<=[^\s*])\*\*(?![\w*])")
"""`**bold**` of Markdown."""

_STRESSED = re.compile(r"(?<![^\s(\"'])([*_])([a-z]{2,30}(?: [a-z]{1,30}){0,3})\1(?![\w*])")
"""`*so*` and `_so_`: words in small letters; a name of a file or of a thing in a program has other letters too."""

_ABOUT_NAMES = re.compile(
    r"\b(?:files?|folders?|director(?:y|ies)|match\w*|named?|called|wildcards?|globs?|grep|fields?|index\w*|search\w*|quer(?:y|ies)|renam\w+|patterns?"
    r"|regex\w*|api|code|python|shell|commands?|variables?|attributes?|functions?|methods?|modules?|class(?:es)?|keys?|columns?|tables?|tags?|ids?|parameters?)\b",
    re.IGNORECASE,
)
"""There a star may stand for any letters, and a line be part of a name."""

_ABOUT_EMPHASIS = re.compile(
    r"\b(?:bold\w*|markdown|asterisks?|emphasi\w+|formatt\w+|highlight\w+|marked)\b", re.IGNORECASE
)

_ABOUT_ENTITIES = re.compile(r"\b(?:html?|xml|entit\w+|escap\w+|encod\w+|decod\w+)\b", re.IGNORECASE)


def decoded(text: str) -> str:
    """What a browser shows for the marks that HTML writes as entities, and numbers above and below the line as plain letters
    have them: `x^2`, `H2O`; a text about them keeps them, and so does a literal task."""
    if not text.isascii() and _RAISED.search(text) is not None and _ABOUT_RAISED.search(text) is None:
        text = _RAISED.sub(_on_the_line, text)
    if "&" not in text or _ENTITIES.search(text) is None or _ABOUT_ENTITIES.search(text) is not None:
        return text
    return _ENTITIES.sub(lambda found: html.unescape(found.group()), text)


def _on_the_line(found: re.Match[str]) -> str:
    digits = unicodedata.normalize("NFKC", found.group()).replace("\N{MINUS SIGN}", "-")
    return digits if found[1] is None else f"^{digits}"


def unmarked(text: str) -> str:
    """Without the stars and lines around words that Markdown stresses; a text about such marks keeps them, and a formula its products."""
    if ("*" not in text and "_" not in text) or _ABOUT_EMPHASIS.search(text) is not None:
        return text
    bare = _EMPHASIS.sub(r"\1", text)
    return bare if "=" in text or _ABOUT_NAMES.search(text) is not None else _STRESSED.sub(r"\2", bare)


def emphasised(text: str) -> list[str]:
    """What Markdown stresses."""
    found: list[str] = _EMPHASIS.findall(text) if "**" in text else []
    return found + [words for _, words in _STRESSED.findall(text)]
