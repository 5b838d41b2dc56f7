"""Makes a repeated POST the same object, where its caller says so with an `Idempotency-Key`; without one, only tells.

The id of what is to be made is reserved before it is made, and making by id is safe to repeat: a server that dies in
between leaves an id under which the next try makes the object.
"""

from __future__ import annotations

import logging
from hashlib import blake2b

from fastapi import Request

from producer.api.errors import ApiError
from producer.api.state import State

log = logging.getLogger("spillway.api")

KEY_MAX_CHARS = 255
KEPT_S = 86_400
LIKELY_S = 60


async def reserve(request: Request, here: State, client: str, new_id: str, body: bytes = b"") -> str:
    """The id to make: `new_id`, or that of the first request with the same key and path. 400 when its body was another.

    A request without a key is never merged with another; one whose body came within the last minute is told in the log.
    """
    key = request.headers.get("idempotency-key", "")
    if len(key) > KEY_MAX_CHARS:
        raise ApiError(400, f"The Idempotency-Key is longer than {KEY_MAX_CHARS} characters.", param="Idempotency-Key")
    path, digest = request.url.path, _digest(body)
    if not key:
        name = here.keys.api_once(client, _digest(f"body {path}".encode(), body))
        if body and not await here.redis.set(name, new_id, nx=True, ex=LIKELY_S):
            first = await here.redis.get(name)
            log.warning("%s by %s: likely a duplicate of %s; an Idempotency-Key would merge them", path, client, first)
        return new_id
    name = here.keys.api_once(client, _digest(f"key {path}".encode(), key.encode()))
    mine = f"{new_id} {digest}"
    if await here.redis.set(name, mine, nx=True, ex=KEPT_S):
        return new_id
    made, _, of = (await here.redis.get(name) or mine).partition(" ")
    if of != digest:
        message = "This Idempotency-Key was used with another body; use a new key for a new request."
        raise ApiError(400, message, code="idempotency_key_reused", param="Idempotency-Key")
    return str(made)


def _digest(*parts: bytes) -> str:
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
