"""Tags that only wrap parts of a prompt, or keep a place in it; markup makes a page or a program."""

from __future__ import annotations

import re

from pipelines.proof.words import word_set

TAG = re.compile(r"<(/?)([A-Za-z][\w-]*(?: [a-z]+){0,4})(?: (?:lang|language|role|type)=\"[a-z][\w-]{0,20}\"){0,2}>")
"""`<note>`, `</note>`, `<source lang="en">`"""

_PLACE = re.compile(r"[a-z]+(?:[ _-][a-z]+)*")
"""What stands in angle brackets for something to be written: `<number>`, `<your answer>`."""

_TYPED = re.compile(r"\w<([A-Za-z][\w-]*(?: [a-z]+){0,4})>")
_PAGE_TAGS = word_set(
    "html head body div span p a ul ol li table tr td th thead tbody dl dt dd img script style form button svg meta link nav "
    "main footer pre h1 h2 h3 h4 h5 h6 option select textarea"
)
"""Markup that makes a page; any other tag may only wrap a part of a prompt."""


def wrappers(text: str) -> frozenset[str]:
    """Names of tags that wrap parts of a prompt, `<review>…</review>`, with the one that its end may open for the answer, and with
    those that only keep a place: `Result = <number>`, but no type of a program, `List<string>`."""
    found = TAG.findall(text) if "<" in text else []
    names = {name for _, name in found}
    if not names or not _PAGE_TAGS.isdisjoint(name.split(" ")[0].lower() for name in names):
        return frozenset()
    opened, closed = {name for slash, name in found if not slash}, {name for slash, name in found if slash}
    last = found[-1][1] if text.rstrip().endswith(f"<{found[-1][1]}>") else ""
    typed = set(_TYPED.findall(text))
    places = {name for name in opened - closed - typed if _PLACE.fullmatch(name) is not None}
    return frozenset(name for name in opened if name in closed or name in places or name == last)
