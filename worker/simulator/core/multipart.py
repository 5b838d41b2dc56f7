"""The parts of a multipart/form-data body; enough for uploads of one file and a few fields."""

from __future__ import annotations

import re

import msgspec


class Part(msgspec.Struct, frozen=True):
    """One field; `filename` is None for a plain one."""

    name: str
    filename: str | None
    data: bytes


_NAME = re.compile(r'\bname="([^"]*)"')
_FILENAME = re.compile(r'\bfilename="([^"]*)"')
_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)


def read_parts(content_type: str, body: bytes) -> dict[str, Part]:
    """Parts by name; empty when the body is no form."""
    found = _BOUNDARY.search(content_type)
    if found is None or not content_type.lower().startswith("multipart/form-data"):
        return {}
    parts: dict[str, Part] = {}
    for piece in (b"\r\n" + body).split(b"\r\n--" + found[1].encode("latin-1"))[1:]:
        head, gap, data = piece.partition(b"\r\n\r\n")
        name = _NAME.search(head.decode("utf-8", "replace"))
        if gap and name:
            filename = _FILENAME.search(head.decode("utf-8", "replace"))
            parts[name[1]] = Part(name[1], filename[1] if filename else None, data)
    return parts
