"""What makes two prompts the same question: keys over canonical JSON; texts are never compared here."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

_sorted_json = msgspec.json.Encoder(order="sorted").encode

NOT_ASKED = ("user", "metadata", "store", "service_tier")
"""Fields that name the caller or the tariff: they do not change the question."""


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
    """8 bytes over everything but the user's words: prompts of different families are never duplicates."""
    rest = {name: value for name, value in body.items() if name not in NOT_ASKED and name != "messages"}
    frame = [_without_user_words(message) for message in body.get("messages", ())]
    return blake2b(_sorted_json([rest, frame]), digest_size=8, key=salted).digest()


def _without_user_words(message: Mapping[str, Any]) -> Any:
    if message.get("role") != "user":
        return message
    content = message.get("content")
    if isinstance(content, str):
        return "user"
    parts = content if isinstance(content, list) else [content]
    return ["user", [part for part in parts if not (isinstance(part, dict) and part.get("type") == "text")]]


def separate_samples(body: Mapping[str, Any]) -> bool:
    """Whether the caller asked for independent samples, which must not be merged."""
    temperature, n = body.get("temperature"), body.get("n")
    return (isinstance(temperature, int | float) and temperature > 0) or (isinstance(n, int) and n > 1)


def fingerprint(client: str, urls: tuple[str, ...], options: Mapping[str, Any]) -> str:
    """A run's identity: client, sources and options, without deadline and budget (they may change on resume)."""
    return blake2b(_sorted_json([client, list(urls), dict(options)]), digest_size=16).hexdigest()
