"""A run's progress as server-sent events, until it ends. A client may have so many streams open at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from producer import runs
from producer.api.ending import stopping
from producer.api.errors import ApiError
from producer.api.state import State
from producer.runs import RunView

MOST_STREAMS = 16
"""Of one client, at one server."""
EVERY_S = 0.5
COMMENT_S = 15.0
"""Silence that is longer than this ends some proxies' patience."""
RETRY_MS = 1000
DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}

Shown = Callable[[RunView], dict[str, Any]]


_open: Counter[str] = Counter()


class Stream(StreamingResponse):
    """A response of events, counted as long as it lasts, however it ends."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[bytes], client: str) -> None:
        super().__init__(content, headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _open[self._client] += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            _open[self._client] -= 1
            if not _open[self._client]:
                del _open[self._client]


def follow(here: State, client: str, now: RunView, shown: Shown) -> Stream:
    """429 for a client that follows too much already. Every event holds the whole run, so none need be caught up."""
    if _open[client] >= MOST_STREAMS:
        message = f"This client has {MOST_STREAMS} event streams open at this server; end one."
        raise ApiError(429, message, code="too_many_streams", headers={"retry-after": "5"})
    return Stream(_events(here, now, shown), client)


async def _events(here: State, now: RunView, shown: Shown) -> AsyncIterator[bytes]:
    """A run that ended so long ago that Redis has forgotten it is at its end, as `now` has it from its record."""
    yield b"retry: %d\n\n" % RETRY_MS
    last, silent_s = b"", 0.0
    while fields := await runs.fields_of(here.redis, here.keys, now.run_id):
        view = runs.view(now.run_id, fields)
        data = msgspec.json.encode(shown(view))
        if view.ended:
            yield _event(b"end", data)
            return
        if data != last:
            yield _event(b"progress", data)
            last, silent_s = data, 0.0
        elif silent_s >= COMMENT_S:
            yield b": still here\n\n"
            silent_s = 0.0
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), EVERY_S)
            return  # whoever follows comes back by himself
        silent_s += EVERY_S
    if now.ended:
        yield _event(b"end", msgspec.json.encode(shown(now)))


def _event(kind: bytes, data: bytes) -> bytes:
    return b"event: " + kind + b"\ndata: " + data + b"\n\n"
