"""Checks an answer against what the run asked for: one of its labels, or JSON of its schema. It judges form, not truth,
and mends nothing: an answer is either usable as it stands or not."""

from __future__ import annotations

import functools
import re
from typing import Any, Protocol

import msgspec

MAX_ANSWER_CHARS = 8 << 20
_REASON_CHARS = 300
THOUGHT, THOUGHT_ENDS = "<think>", "</think>"
_FENCE = re.compile(r"```[A-Za-z0-9_+-]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*```", re.DOTALL)
_EDGES = " \t\r\n\"'`*_“”‘’«».,;:!?()[]"
_ESCAPE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Checked(msgspec.Struct, frozen=True, gc=False):
    """`parsed_json` is the answer as JSON (a label as the run spells it); `reason` is one line on why it is not ok."""

    ok: bool
    parsed_json: str | None = None
    reason: str | None = None


class SchemaError(ValueError):
    """The text is no JSON Schema; the message says where and why."""


class Validator(Protocol):
    """What `compile_schema` returns."""

    def is_valid(self, instance: Any) -> bool: ...

    def iter_errors(self, instance: Any) -> Any: ...


def check(
    text: str, *, labels: tuple[str, ...] | None = None, schema: Validator | None = None, finish: str = "stop"
) -> Checked:
    """Labels win over a schema when both are given. A cut answer (`finish` length) fails only when something is asked
    of it; tool calls have no text to check."""
    if finish == "tool":
        return Checked(True)
    if not text.strip():
        return Checked(False, reason="the answer is empty")
    if labels:
        found = _label(text, labels)
        if found is not None:
            return Checked(True, msgspec.json.encode(found).decode())
        known = ", ".join(labels[:10]) + (", …" if len(labels) > 10 else "")
        return _failed(f"the answer {_shown(text)} is none of the labels {known}", finish)
    if schema is not None:
        return _against(text, schema, finish)
    return Checked(True)


@functools.lru_cache(maxsize=256)
def compile_schema(text: str) -> Validator:
    """The validator of a JSON Schema, or of OpenAI's `response_format` around one. References outside the schema are
    refused: a schema is a stranger's text and must not read files or addresses. Raises SchemaError."""
    import jsonschema_rs

    try:
        schema = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise SchemaError(f"the schema is not JSON: {error}") from error
    schema = _unwrapped(schema)
    if not isinstance(schema, dict):
        raise SchemaError("the schema should be a JSON object")
    outside: list[str] = []

    def refuse(uri: str) -> Any:
        outside.append(uri)
        raise ValueError

    try:
        return jsonschema_rs.validator_for(schema, retriever=refuse)
    except (ValueError, RecursionError) as error:
        if outside:
            raise SchemaError(f"the schema refers to {outside[0][:200]}; put that part under $defs") from error
        raise SchemaError(f"not a valid JSON Schema: {_one_line(_first_line(error))}") from error


def _unwrapped(schema: Any) -> Any:
    """`{"type": "json_schema", "json_schema": {"schema": …}}` or its inner part: the schema itself."""
    if isinstance(schema, dict) and isinstance(schema.get("json_schema"), dict):
        schema = schema["json_schema"]
    if isinstance(schema, dict) and isinstance(schema.get("schema"), dict) and "type" not in schema:
        schema = schema["schema"]
    return schema


def _against(text: str, schema: Validator, finish: str) -> Checked:
    if len(text) > MAX_ANSWER_CHARS:
        return Checked(False, reason=f"the answer has {len(text)} characters, more than any schema check allows")
    problem = "the answer is not JSON"
    for candidate in candidates(text):
        try:
            value = msgspec.json.decode(candidate)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            continue
        try:
            if schema.is_valid(value):
                return Checked(True, candidate)
            error = next(iter(schema.iter_errors(value)))
        except (ValueError, RecursionError):
            problem = "the answer is nested too deeply or holds a number out of range"
            continue
        place = "/".join(str(part) for part in error.instance_path)
        problem = f"the answer breaks the schema{f' at /{place}' if place else ''}: {error.message}"
    return _failed(problem, finish)


def spoken(text: str) -> str:
    """An answer without what its model thought aloud before it (`<think>…</think>`), where a server leaves that in. Some
    templates begin the thought themselves, so that only its end is seen."""
    said = text.rpartition(THOUGHT_ENDS)[2]
    if text.lstrip().startswith(THOUGHT):
        return said if THOUGHT_ENDS in text else ""
    return said if said.strip() else text


def candidates(text: str) -> list[str]:
    """The text itself, or what follows a thought, or the only fenced block there: of two nobody can say which is meant."""
    said = spoken(text)
    fenced = [block.strip() for block in _FENCE.findall(said)] if "```" in said else []
    return [*dict.fromkeys((text.strip(), said.strip())), *(fenced if len(fenced) == 1 else ())]


def _label(text: str, labels: tuple[str, ...]) -> str | None:
    exact, folded = _label_tables(labels)
    for candidate in candidates(text):
        for value in (candidate, _json_text(candidate)):
            if value is None:
                continue
            if value in exact:
                return value
            if (found := folded.get(_fold(value))) is not None:
                return found
    return None


@functools.lru_cache(maxsize=256)
def _label_tables(labels: tuple[str, ...]) -> tuple[frozenset[str], dict[str, str]]:
    """Labels that differ only in case or punctuation are told apart by their exact spelling alone."""
    by_fold: dict[str, list[str]] = {}
    for label in labels:
        by_fold.setdefault(_fold(label), []).append(label)
    return frozenset(labels), {fold: same[0] for fold, same in by_fold.items() if len(set(same)) == 1 and fold}


def _fold(text: str) -> str:
    return " ".join(text.strip(_EDGES).casefold().split())


def _json_text(text: str) -> str | None:
    """The text in a JSON string, number or boolean, or in an object with that as its only value."""
    if text[:1] not in '"{' or len(text) > 10_000:
        return None
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip() if isinstance(value, (str, int, float)) else None


def _failed(problem: str, finish: str) -> Checked:
    cut = " (it was cut at its length limit; raise max_tokens)" if finish == "length" else ""
    return Checked(False, reason=_one_line(problem) + cut)


def _shown(text: str) -> str:
    short = text.strip()
    return f"{short[:60]!r}{'…' if len(short) > 60 else ''}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _one_line(text: str) -> str:
    """Reasons quote strangers' text: no line breaks or terminal escapes get through."""
    return _ESCAPE.sub(" ", text)[:_REASON_CHARS]
