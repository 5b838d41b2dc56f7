"""The chat parameters a row may give: what each must be, and how a cell of a CSV or Parquet table becomes one.

Knows single values only; which columns of a record are parameters is decided in `shard.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

import msgspec

DEPTH_MAX = 100
"""Nested deeper than this, a value would exhaust the stack of whoever walks it later."""

_JSON_CELLS = frozenset(
    {"messages", "body", "metadata", "tools", "tool_choice", "functions", "function_call", "response_format"}
    | {"logit_bias", "stop", "modalities", "audio", "prediction", "web_search_options"}
)
_FLOATS = frozenset({"temperature", "top_p", "presence_penalty", "frequency_penalty"})
_INTS = frozenset({"max_tokens", "max_completion_tokens", "n", "seed", "top_logprobs"})
_FLAGS = frozenset({"logprobs", "parallel_tool_calls", "store", "stream"})
_BLANK_IS_ABSENT = frozenset({"custom_id", "id", "model", "system", "reasoning_effort", "verbosity", "user"})

LIMITS = ("max_tokens", "max_completion_tokens", "n_predict")
"""The names under which a row may limit its answer; the last is llama.cpp's, and no column's."""

CELLS = _JSON_CELLS | _FLOATS | _INTS | _FLAGS | _BLANK_IS_ABSENT
"""The columns whose cells `from_cell` reads; every other cell is what it is."""


def from_cell(name: str, value: Any) -> Any:
    """A table's cell as the value that a JSON row would have given; what cannot be read stays, to be refused later."""
    if type(value) is str:
        return _from_text(name, value)
    if name in _JSON_CELLS:
        return _without_nulls(value)
    if name in _INTS and type(value) is float and value.is_integer():
        return int(value)  # a column of whole numbers with gaps is written as floats by many programs
    return value


def _from_text(name: str, value: str) -> Any:
    text = value.strip()
    if not text:
        return None
    if name in _JSON_CELLS:
        return _json(text, value) if text[0] in "[{" else value
    if name in _FLAGS:
        return {"true": True, "false": False}.get(text.lower(), value)
    if name in _FLOATS or name in _INTS:
        try:
            number = float(text)
        except ValueError:
            return value
        whole = _json(text, number) if name in _INTS else number
        return int(whole) if name in _INTS and type(whole) is float and whole.is_integer() else whole
    return value


def _json(text: str, otherwise: Any) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return otherwise


def _without_nulls(value: Any) -> Any:
    """Table structs hold every field of the column; those a row does not give are null there."""
    if isinstance(value, dict):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value


def flaw(value: Any, where: str = "", depth: int = 0) -> tuple[str, str] | None:
    """Code and message of the first thing inside a value that JSON cannot carry, if there is one."""
    kind = type(value)
    if kind is float:
        if isfinite(value):
            return None
        return "not_finite", f"`{where}` is {value}; JSON has no such number: give a finite one or remove it"
    if kind is not dict and kind is not list:
        return None
    if depth == DEPTH_MAX:
        return "too_deep", f"`{where[:40]}…` is nested more than {DEPTH_MAX} levels deep; flatten it"
    parts: Iterable[tuple[Any, Any]] = value.items() if kind is dict else enumerate(value)
    for name, part in parts:
        if type(part) is not str:
            inner = f"{where}[{name}]" if kind is list else f"{where}.{name}" if where else str(name)
            if (found := flaw(part, inner, depth + 1)) is not None:
                return found
    return None


def shown(value: Any) -> str:
    """A value in a message: short, on one line."""
    try:
        text = repr(value[:61]) if type(value) is str else repr(value)
    except RecursionError:
        return "a deeply nested value"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _between(low: float, high: float) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: type(value) in (int, float) and low <= value <= high), f"a number from {low:g} to {high:g}"


def _whole(low: int, high: int, wanted: str) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: type(value) is int and low <= value <= high), wanted


def _kinds(wanted: str, *kinds: type) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: type(value) in kinds), wanted


def _stops(value: Any) -> bool:
    return type(value) is str or (type(value) is list and all(type(part) is str for part in value))


def _objects(value: Any) -> bool:
    return type(value) is list and all(type(part) is dict for part in value)


_FLAG = _kinds("true or false", bool)
_COUNT = _whole(1, 1 << 31, "a whole number above 0")
_TEXT = _kinds("text", str)
_OBJECT = _kinds("an object", dict)
_CHOICE = _kinds("text or an object", str, dict)

PARAMETERS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": _between(0, 2),
    "top_p": _between(0, 1),
    "presence_penalty": _between(-2, 2),
    "frequency_penalty": _between(-2, 2),
    "max_tokens": _COUNT,
    "max_completion_tokens": _COUNT,
    "n": _COUNT,
    "seed": _whole(-(1 << 63), (1 << 63) - 1, "a whole number"),
    "logprobs": _FLAG,
    "top_logprobs": _whole(0, 20, "a whole number from 0 to 20"),
    "logit_bias": _OBJECT,
    "stop": (_stops, "text or a list of texts"),
    "tools": (_objects, "a list of objects"),
    "tool_choice": _CHOICE,
    "parallel_tool_calls": _FLAG,
    "functions": (_objects, "a list of objects"),
    "function_call": _CHOICE,
    "response_format": _OBJECT,
    "reasoning_effort": _TEXT,
    "verbosity": _TEXT,
    "modalities": (_stops, "a list of texts"),
    "audio": _OBJECT,
    "prediction": _OBJECT,
    "web_search_options": _OBJECT,
    "service_tier": _TEXT,
    "store": _FLAG,
    "user": _TEXT,
    "safety_identifier": _TEXT,
    "prompt_cache_key": _TEXT,
}
"""Every chat parameter that a column may give: how it is checked, and the words for what it must be."""
