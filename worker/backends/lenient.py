"""Decodes what servers send: at full speed when it is as documented, field by field when it is not, raising never."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from pipelines.printable import storable

Shape = TypeVar("Shape", bound=msgspec.Struct)

MOST_TOKENS = 1_000_000_000
"""A count beyond this is not a count."""


def decode(body: bytes) -> Any:
    """JSON as servers write it: NaN, broken UTF-8, half an emoji and a mark before it are suffered. None for anything else."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        pass
    try:
        return storable(json.loads(body.decode("utf-8-sig", errors="replace")))
    except (ValueError, RecursionError):
        return None


def read(body: bytes, decoder: msgspec.json.Decoder[Shape]) -> Shape | None:
    """The shape, with what does not fit left at its default; None when the body is no JSON object."""
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        data = decode(body)
        return _fill(data, decoder.type) if type(data) is dict else None


@cache
def _fields(shape: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(shape)


def _fill(data: dict[str, Any], shape: type[Shape]) -> Shape:
    found = {each.name: _fit(data.get(each.encode_name), each.type) for each in _fields(shape)}
    return shape(**{name: value for name, value in found.items() if value is not None})


def _fit(value: Any, wanted: Any) -> Any:
    try:
        return msgspec.convert(value, wanted)
    except (msgspec.ValidationError, RecursionError):
        pass
    if type(value) is float and value.is_integer() and abs(value) <= MOST_TOKENS:
        return _fit(int(value), wanted)
    for each in (wanted,) if get_origin(wanted) is list or isinstance(wanted, type) else get_args(wanted):
        if type(value) is dict and isinstance(each, type) and issubclass(each, msgspec.Struct):
            return _fill(value, each)
        if type(value) is list and get_origin(each) is list:
            fitted = (_fit(part, get_args(each)[0]) for part in value)
            return [part for part in fitted if part is not None]
    return None


def joined(content: Any) -> str:
    """Text, or the text parts of a list; thinking and the like are left out."""
    if type(content) is list:
        parts = [part.get("text") for part in content if type(part) is dict and part.get("type", "text") == "text"]
        return "".join(part for part in parts if type(part) is str)
    return content if type(content) is str else ""


def count(value: int | None) -> int:
    """A token count that can be trusted with money: 0 when absent, negative or absurd."""
    return value if value is not None and 0 < value <= MOST_TOKENS else 0
