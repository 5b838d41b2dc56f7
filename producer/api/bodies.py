"""Bodies that are read by hand: within their size, JSON objects, or the error that says what they are instead."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Request

from producer.api.errors import ApiError
from producer.api.limits import too_large

PLAIN, RAW = msgspec.json.Decoder(dict[str, Any]), msgspec.json.Decoder(dict[str, msgspec.Raw])
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


async def body_of(request: Request, most_bytes: int) -> bytes:
    """The body of a path that takes uploads; 413 when it is larger than one that is no upload may be."""
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > most_bytes:
            raise too_large(most_bytes)
    return bytes(body)


def json_object(body: bytes, decoder: msgspec.json.Decoder[Any] = PLAIN, what: str = "The body") -> dict[str, Any]:
    """Names and values, the latter as `decoder` leaves them; 400 for anything else."""
    try:
        found: dict[str, Any] = decoder.decode(body)
    except msgspec.ValidationError:
        raise ApiError(400, f"{what} must be a JSON object.", code="invalid_type") from None
    except UNREADABLE:
        raise ApiError(400, f"{what} is not JSON that can be read.", code="invalid_json") from None
    return found
