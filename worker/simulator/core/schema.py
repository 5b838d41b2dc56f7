"""A value that a simple JSON Schema accepts, drawn from a seed; it does not know every keyword."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

_WORDS = ("amber", "birch", "cedar", "delta", "ember", "flint", "grove", "haven")
_FORMATS = {
    "date": "2026-01-15", "date-time": "2026-01-15T10:00:00Z", "time": "10:00:00Z", "email": "a@example.org",
    "uri": "https://example.org/", "uuid": "123e4567-e89b-42d3-a456-426614174000",
}  # fmt: skip
_MAX_DEPTH = 8


def example(schema: Any, seed: bytes, root: Any = None, depth: int = 0) -> Any:
    """A value for `schema`: const, enum, type, properties, items, bounds, anyOf, allOf and local $ref are understood."""
    if not isinstance(schema, Mapping):
        return None
    root = schema if root is None else root
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][_number(seed) % len(schema["enum"])]
    if "$ref" in schema:
        return example(_resolve(root, str(schema["$ref"])), seed, root, depth + 1) if depth < _MAX_DEPTH else None
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            options = schema[key]
            return example(options[_number(seed) % len(options) if depth < _MAX_DEPTH else -1], seed, root, depth + 1)
    if schema.get("allOf"):
        merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
        for each in schema["allOf"]:
            merged = _merge(merged, _resolve(root, each["$ref"]) if "$ref" in each else each)
        return example(merged, seed, root, depth + 1)
    return _of_type(schema, seed, root, depth)


def _of_type(schema: Mapping[str, Any], seed: bytes, root: Any, depth: int) -> Any:
    named = schema.get("type")
    kind = next((each for each in named if each != "null"), "null") if isinstance(named, list) else named
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    if kind == "object":
        return _object(schema, seed, root, depth)
    if kind == "array":
        least = int(schema.get("minItems", 1 if depth < _MAX_DEPTH else 0))
        size = min(max(least, 1 + _number(seed) % 3), int(schema.get("maxItems", 3 + least)))
        items = schema.get("items", {"type": "string"})
        return [example(items, _under(seed, str(index)), root, depth + 1) for index in range(size)]
    if kind in ("integer", "number"):
        return _bounded(schema, seed, whole=kind == "integer")
    if kind == "boolean":
        return bool(_number(seed) & 1)
    return None if kind == "null" else _string(schema, seed)


def _object(schema: Mapping[str, Any], seed: bytes, root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    value = {}
    for name, each in properties.items():
        if depth < _MAX_DEPTH or name in required:
            value[name] = example(each, _under(seed, name), root, depth + 1)
    for name in required - properties.keys():
        value[name] = _WORDS[_number(_under(seed, name)) % len(_WORDS)]
    return value


def _bounded(schema: Mapping[str, Any], seed: bytes, *, whole: bool) -> Any:
    step = schema.get("multipleOf", 1 if whole else 0)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        low = 0 if high is None or high > 0 else high - 100
    if high is None:
        high = low + 100
    share = (1 + _number(seed) % 998) / 1000
    value = low + share * (high - low)
    if not step:
        return round(value, 3) if high - low > 0.01 else value
    value = low + round((value - low) / step) * step if low % step == 0 else -(-value // step) * step
    value = value - step if value > high or (value == high and "exclusiveMaximum" in schema) else value
    value = value + step if value == low and "exclusiveMinimum" in schema else value
    return int(value) if whole else float(value)


def _string(schema: Mapping[str, Any], seed: bytes) -> str:
    known = _FORMATS.get(str(schema.get("format")))
    if known:
        return known
    text = _WORDS[_number(seed) % len(_WORDS)]
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    text = (text + " " + text) if len(text) < least else text
    text = text * (1 + least // len(text)) if len(text) < least else text
    return text if most is None else text[: int(most)]


def _resolve(root: Any, path: str) -> Any:
    value = root
    for part in path.removeprefix("#").strip("/").split("/"):
        value = (
            value.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(value, Mapping) and part else value
        )
    return value


def _merge(left: dict[str, Any], right: Any) -> dict[str, Any]:
    merged = {**left, **right}
    merged["properties"] = {**left.get("properties", {}), **right.get("properties", {})}
    merged["required"] = [*left.get("required", ()), *right.get("required", ())]
    return merged


def _number(seed: bytes) -> int:
    return int.from_bytes(seed)


def _under(seed: bytes, name: str) -> bytes:
    return blake2b(name.encode(), digest_size=8, key=seed).digest()
