"""Makes text of strangers safe: to show on a terminal or in a log, where control characters become visible, and to keep."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Escapes (ANSI, C1) and direction overrides as `\\x1b` or `\\u202e`; newlines and tabs stay."""
    return _UNSAFE.sub(_shown, text)


def one_line(text: str) -> str:
    """The same without line breaks."""
    return printable(" ".join(text.split()))


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_safe(text: str) -> str:
    """JSON text in which every such character is a JSON escape, so that the value is the same. JSON itself lets none
    below a space stand inside a text."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def storable(value: Any) -> Any:
    """The value with every text in it such that Redis and Parquet can hold it: half of a pair of surrogates is replaced."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [storable(each) for each in value]
    if isinstance(value, dict):
        return {storable(name): storable(each) for name, each in value.items()}
    if isinstance(value, msgspec.Struct):
        return type(value)(*(storable(getattr(value, name)) for name in value.__struct_fields__))
    return value
