"""What makes two prompts the same question: keys over canonical JSON; texts are never compared here."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

_sorted_json = msgspec.json.Encoder(order="sorted").encode

NOT_ASKED = frozenset(
    {"user", "safety_identifier", "metadata", "store", "service_tier"}
    | {"prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"}
)
"""Fields that name the caller, the tariff or the provider's cache: they do not change the question."""


def salt(client: str, route: str, model: str | None, check: bytes) -> bytes:
    """What a key holds beyond the row itself; `check` is the run's labels and schema (they change the answer)."""
    digest = blake2b(digest_size=16)
    for part in (client, route, model or ""):
        raw = part.encode()
        digest.update(len(raw).to_bytes(4, "big") + raw)
    digest.update(check)
    return digest.digest()


def canonical_body(body: Mapping[str, Any]) -> bytes:
    """The request as JSON with sorted keys, without the fields that do not change the question."""
    return _sorted_json({name: value for name, value in body.items() if name not in NOT_ASKED})


def key(salted: bytes, body: Mapping[str, Any]) -> bytes:
    """16 bytes: equal only for the same request of the same client, route, model and checks."""
    return blake2b(canonical_body(body), digest_size=16, key=salted).digest()


def family(salted: bytes, body: Mapping[str, Any]) -> bytes:
    """8 bytes over everything but the words of the last user message: prompts of different families are never
    duplicates, and what was said before, or stands between images, is compared letter by letter."""
    rest = {name: value for name, value in body.items() if name not in NOT_ASKED and name != "messages"}
    messages = list(body.get("messages", ()))
    last = max((at for at, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    frame = [_without_words(message) if at == last else message for at, message in enumerate(messages)]
    return blake2b(_sorted_json([rest, frame]), digest_size=8, key=salted).digest()


def _without_words(message: Mapping[str, Any]) -> Any:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": None}
    parts = content if isinstance(content, list) else [content]
    is_text = [isinstance(part, dict) and part.keys() == {"type", "text"} and part["type"] == "text" for part in parts]
    if sum(is_text) != 1 and not all(is_text):
        return message  # words stand between images: which is said of which?
    return {**message, "content": ["text" if text else part for part, text in zip(parts, is_text, strict=True)]}


def separate_samples(body: Mapping[str, Any]) -> bool:
    """Whether the caller asked for independent samples, which must not be merged."""
    temperature, n = body.get("temperature"), body.get("n")
    return (isinstance(temperature, int | float) and temperature > 0) or (isinstance(n, int) and n > 1)


def fingerprint(client: str, urls: tuple[str, ...], options: Mapping[str, Any]) -> str:
    """A run's identity: client, sources and options, without deadline and budget (they may change on resume)."""
    return blake2b(_sorted_json([client, list(urls), dict(options)]), digest_size=16).hexdigest()
