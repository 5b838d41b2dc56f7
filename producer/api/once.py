"""Makes a repeated POST the same object, where its caller says so with an `Idempotency-Key`; without one, only tells.

The id of what is to be made is reserved before it is made, and making by id is safe to repeat: a server that dies in
between leaves an id under which the next try makes the object.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import blake2b
from typing import NamedTuple, Self

from fastapi import Request

from producer.api.errors import ApiError
from producer.api.state import State
from producer.lease import held
from producer.placed import KEPT_S

KEY_MAX_CHARS = 255
ONCE_S = 10.0
"""So long a repeated request waits for what the first one makes."""
LEASE_MS = 5_000
"""So long it waits for one that is dead."""


class Once(NamedTuple):
    """One POST of a client, known again by its key, or by its body where it has none."""

    here: State
    client: str
    path: str
    key: str
    digest: str
    """Of the body."""

    @classmethod
    def of(cls, request: Request, here: State, client: str, digest: str) -> Self:
        """400 for a key that is too long."""
        key = request.headers.get("idempotency-key", "")
        if len(key) > KEY_MAX_CHARS:
            message = f"The Idempotency-Key is longer than {KEY_MAX_CHARS} characters."
            raise ApiError(400, message, param="Idempotency-Key")
        return cls(here, client, request.scope["path"], key, digest)

    async def reserve(self, new_id: str) -> str:
        """The id to make: `new_id`, or that of the first request with the same key. 400 when its body was another."""
        if not self.key:
            return new_id
        mine = f"{new_id} {self.digest}"
        if await self.here.redis.set(self._name, mine, nx=True, ex=KEPT_S):
            return new_id
        made, _, of = (await self.here.redis.get(self._name) or mine).partition(" ")
        if of != self.digest:
            message = "This Idempotency-Key was used with another body; use a new key for a new request."
            raise ApiError(400, message, code="idempotency_key_reused", param="Idempotency-Key")
        return str(made)

    @asynccontextmanager
    async def alone(self, made: str) -> AsyncIterator[None]:
        """No other request with the same key makes it while the block does; 409 when one that does takes its time."""
        until_s = time.monotonic() + ONCE_S
        while self.key:
            async with held(self.here.redis, self.here.keys, f"once:{made}", LEASE_MS) as ours:
                if ours:
                    yield
                    return
            if time.monotonic() > until_s:
                message = "A request with this Idempotency-Key is being served; ask again when it has ended."
                raise ApiError(409, message, code="request_in_progress", headers={"retry-after": "1"})
            await asyncio.sleep(0.05)
        yield

    async def made(self, made: str) -> None:
        """It is there: of what has no key, the log tells if it was likely meant to be another."""
        self.note(made)
        await self.here.likely.tell()

    def note(self, made: str) -> None:
        """The same a little later, for what is made hundreds of times a second."""
        if not self.key:
            self.here.likely.note(self.client, self.path, self.digest, made)

    @property
    def _name(self) -> str:
        return self.here.keys.api_once(self.client, digest_of(f"key {self.path}".encode(), self.key.encode()))


Digest = partial(blake2b, digest_size=16)
"""Of a body that comes in blocks."""


def digest_of(*parts: bytes) -> str:
    """The same for the same parts, and for no others."""
    digest = Digest()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
