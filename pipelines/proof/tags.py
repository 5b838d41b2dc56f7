"""Tags that only wrap parts of a prompt, or keep a place in it; markup makes a page or a program."""

from __future__ import annotations

import re

from pipelines.proof.words import word_set

ATTRIBUTE = r"(?:lang|language|role|type|id|index)=\"\w[\w-]{0,20}\""
TAG = re.compile(rf"<(/?)([A-Za-z][\w-]*(?: [a-z]+){{0,4}})(?: {ATTRIBUTE}){{0,2}}>")
"""`<note>`, `</note>`, `<source lang="en">`, `<item id="a-17">`"""

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
    found = list(TAG.finditer(text)) if "<" in text else []
    names = {tag[2] for tag in found}
    if not names or not _PAGE_TAGS.isdisjoint(name.split(" ")[0].lower() for name in names):
        return frozenset()
    opened, closed = {tag[2] for tag in found if not tag[1]}, {tag[2] for tag in found if tag[1]}
    last = found[-1][2] if text.rstrip().endswith(found[-1][0]) else ""
    typed = set(_TYPED.findall(text))
    places = {name for name in opened - closed - typed if _PLACE.fullmatch(name) is not None}
    return frozenset(name for name in opened if name in closed or name in places or name == last)
