"""A run's schema within what a provider can enforce; the answers are checked against the whole of it all the same."""

from __future__ import annotations

from typing import Any

_UNKNOWN_TO_ANTHROPIC = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems"}
    | {"maxItems", "uniqueItems", "minProperties", "maxProperties", "$schema"}
)


def strict(schema: Any) -> bool:
    """Whether a schema is within the subset that OpenAI enforces to the letter."""
    if isinstance(schema, list):
        return all(strict(each) for each in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        names = schema.get("properties")
        closed = schema.get("additionalProperties") is False and isinstance(names, dict)
        if not closed or set(schema.get("required") or ()) != set(names or ()):
            return False
    return all(strict(each) for each in schema.values())


def answer(schema: dict[str, Any]) -> dict[str, Any]:
    """A run's schema as OpenAI's chat and responses want it."""
    return {"name": "answer", "schema": schema, "strict": strict(schema) and schema.get("type") == "object"}


def closed(schema: Any) -> Any:
    """A schema within what Anthropic can enforce; what is left out is checked on the answer all the same."""
    if type(schema) is list:
        return [closed(each) for each in schema]
    if type(schema) is not dict:
        return schema
    kept = {name: value for name, value in schema.items() if name not in _UNKNOWN_TO_ANTHROPIC}
    for name in ("properties", "$defs", "definitions"):
        if type(kept.get(name)) is dict:
            kept[name] = {key: closed(value) for key, value in kept[name].items()}
    for name in ("items", "anyOf", "allOf", "oneOf"):
        if name in kept:
            kept[name] = closed(kept[name])
    return {**kept, "additionalProperties": False} if type(kept.get("properties")) is dict else kept
