"""What one HTTP exchange is, for both clients: a complete answer, where it came from, and what spoils it."""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from pipelines.types import Failure

MAX_BYTES = 32 * 1024 * 1024
KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key")
KEY_LEAST_BYTES = 12


class Response(msgspec.Struct, frozen=True):
    """A complete answer; `headers` is looked up in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def hushed(content: bytes, sent: Mapping[str, str]) -> bytes:
    """A body without the key that was sent with its request: some servers say back what they heard, and what is answered
    is stored. What local servers are given for a key ("ollama") is a word like any other."""
    for name in KEY_HEADERS:
        key = sent.get(name, "").removeprefix("Bearer ").encode()
        if len(key) >= KEY_LEAST_BYTES and key in content:
            return content.replace(key, b"[key]")
    return content


def unzipped(body: bytes, max_bytes: int) -> bytes | None:
    """A gzip or deflate body as it was; None when that is more than `max_bytes`. What is neither, or torn, stays as it is."""
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = reader.decompress(body, max_bytes + 1)
    except zlib.error:
        return body
    if len(plain) > max_bytes:
        return None
    return plain if reader.eof else body


def origin(url: str) -> str:
    """host:port of an address, for messages; never its path, query or credentials."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname or "(no host)")
    except ValueError:
        return "(not an address)"


def is_loopback(url: str) -> bool:
    """True when no proxy may stand between us and the address."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bad_request(url: str) -> Failure:
    # Not the exception's text: it may quote a header, and a header holds the key.
    return Failure("invalid", "bad_request", f"{origin(url)}: the address or a header is not valid HTTP")


def too_large(url: str, max_bytes: int, status: int) -> Failure:
    message = f"{origin(url)} answers more than {max_bytes} bytes; lower max_tokens"
    return Failure("unknown", "response_too_large", message, status)
