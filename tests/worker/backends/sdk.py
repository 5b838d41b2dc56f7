"""Lets the providers' own Python clients judge what we send and what our samples say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter


def consumed(value: Any) -> Any:
    """pydantic checks an Iterable only while it is read."""
    if isinstance(value, dict):
        return {name: consumed(each) for name, each in value.items()}
    if isinstance(value, list | tuple) or (isinstance(value, Iterator) and not isinstance(value, str)):
        return [consumed(each) for each in value]
    return consumed(list(value)) if type(value).__name__ == "ValidatorIterator" else value


def accepts(params: Any, body: dict[str, Any], *, beyond: frozenset[str] = frozenset()) -> None:
    """Raises when a request body is not what the client's types describe; `beyond` are names they do not know."""
    unknown = body.keys() - params.__annotations__.keys() - _inherited(params) - beyond
    assert not unknown, f"the client's types know no {sorted(unknown)}"
    adapter = TypeAdapter(params)  # kept while its iterators are read
    consumed(adapter.validate_python(body))


def _inherited(params: Any) -> set[str]:
    return {name for base in getattr(params, "__orig_bases__", ()) for name in getattr(base, "__annotations__", {})}
