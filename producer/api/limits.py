"""What a request may be before anybody reads it: the size of its headers and body, how many there are, of all and of one
client; and its id.

Pure ASGI: nothing is buffered, and a stream stays one.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from producer.api.errors import RETRY_S, ApiError, is_anthropics, respond, unavailable

HEADERS_MAX_BYTES = 32 << 10
OPEN_MOST = 3072
"""Requests at once, those that wait for an answer included: each takes some 15 kB of the server."""
CLIENT_MOST = 2304
"""Of one client: it must not keep the others out."""
ALWAYS = "/health"
"""Is answered however many there are: who watches the server must not take a busy one for a dead one."""
_PLACES = "spillway.places"
_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


class Limits:
    """Refuses with 431, 413 and 503; `uploads` are the paths whose body may be larger, with their limit in bytes."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, uploads: Mapping[str, int]) -> None:
        self._app, self._max_bytes, self._uploads = app, max_body_bytes, uploads
        self._open = 0
        self._of: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, size_bytes, length, given = self._uploads.get(scope["path"], self._max_bytes), 0, b"", b""
        for name, value in scope["headers"]:
            size_bytes += len(name) + len(value)
            if name == b"content-length":
                length = value
            elif name == b"x-request-id":
                given = value
        named = _named(send, scope, _request_id(given))
        if size_bytes > HEADERS_MAX_BYTES:
            told = ApiError(431, f"The headers are larger than {HEADERS_MAX_BYTES} bytes.")
            await respond(told, scope)(scope, receive, named)
        elif length.isdigit() and int(length) > most:
            await respond(too_large(most), scope)(scope, receive, named)
        elif self._open >= OPEN_MOST and scope["path"] != ALWAYS:
            await respond(unavailable("Too many requests at once; try again."), scope)(scope, receive, named)
        else:
            self._open += 1
            taken: list[str] = []
            scope[_PLACES] = (self._of, taken)
            try:
                # A body is never longer than it says.
                await self._app(scope, receive if length.isdigit() else _counted(receive, most), named)
            finally:
                self._open -= 1
                self._of.subtract(taken)


def take_place(scope: Scope, client: str) -> None:
    """Counts a request as its client's, now that one knows whose it is, until it ends; 429 when too many are."""
    of, taken = scope[_PLACES]
    if of[client] >= CLIENT_MOST:
        message = f"{CLIENT_MOST:,} requests of this client are being answered; wait for some of them."
        raise ApiError(429, message, code="too_many_requests", headers={"retry-after": str(RETRY_S)})
    of[client] += 1
    taken.append(client)


def too_large(most: int) -> ApiError:
    return ApiError(413, f"The body is larger than {most} bytes.", code="body_too_large")


def _request_id(given: bytes) -> bytes:
    """The caller's own, where it is a plain word."""
    return given if _ID.fullmatch(given) else f"req_{secrets.token_hex(12)}".encode()


def _named(send: Send, scope: Scope, request_id: bytes) -> Send:
    """Under the header in which OpenAI's clients look for it, and that of Anthropic's."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = (b"x-request-id", b"request-id") if is_anthropics(scope) else (b"x-request-id",)
            message["headers"] = [*message.get("headers", ()), *((name, request_id) for name in names)]
        await send(message)

    return sending


def _counted(receive: Receive, most: int) -> Receive:
    """A body of unknown length ends with an error once it is too long."""
    taken = 0

    async def receiving() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise too_large(most)
        return message

    return receiving
