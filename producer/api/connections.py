"""One connection of the server: headers come in time and in a size, a body without long silences; else it ends.

uvicorn bounds none of that: a byte a second would keep a connection, and its request's place, for ever, and a header without an
end would take all memory. What comes whole in one piece costs no timer.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from producer.api.errors import ApiError, respond
from producer.api.limits import HEADERS_MAX_BYTES

OUTSIDE_MAX_BYTES = 2 * HEADERS_MAX_BYTES
"""Of headers, of trailers, or between two pieces of a body."""


class Patience(NamedTuple):
    """For what one waits, how long, and what is said at the end."""

    seconds: float
    message: str = ""
    renewed: bool = False
    """By every byte that comes."""


HEAD = Patience(20.0, "The headers of the request did not come in time.")
SILENT = Patience(60.0, "Nothing more of the body came for 60 s.", renewed=True)
DRAIN = Patience(300.0)
"""What is left of a body of which the answer did not wait for the end: a client may read the answer after it."""


class _Stage(Enum):
    HEAD = 1
    BODY = 2
    WHOLE = 3


class Connection(HttpToolsProtocol):
    """uvicorn's, with clocks and a measure for what is no body."""

    _stage = _Stage.HEAD
    _outside_bytes = 0
    _patience: Patience | None = None
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._outside_bytes += len(data)
        super().data_received(data)
        if self._outside_bytes > OUTSIDE_MAX_BYTES:
            self._end(431, f"The headers are larger than {HEADERS_MAX_BYTES} bytes.")
        else:
            self._wait(self._awaited())

    def on_message_begin(self) -> None:
        self._stage = _Stage.HEAD
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stage, self._outside_bytes = _Stage.BODY, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._outside_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._stage, self._outside_bytes = _Stage.WHOLE, 0
        super().on_message_complete()

    def _awaited(self) -> Patience | None:
        """From the client, now that something has come; None when the next thing to come is our answer."""
        answered = self.cycle is None or self.cycle.response_complete
        if self._stage is _Stage.BODY:
            return DRAIN if answered else SILENT
        return HEAD if self._stage is _Stage.HEAD or answered else None

    def _wait(self, patience: Patience | None) -> None:
        if patience is self._patience and (patience is None or not patience.renewed):
            return
        if self._late is not None:
            self._late.cancel()
        self._patience = patience
        self._late = None if patience is None else self.loop.call_later(patience.seconds, self._over, patience)

    def _over(self, patience: Patience) -> None:
        self._late = self._patience = None
        if self.flow.read_paused:  # it is us who do not read
            self._wait(patience)
        else:
            self._end(408, patience.message)

    def _end(self, status: int, message: str) -> None:
        """Hangs up; with an answer where something was asked and no other answer is under way, or was given."""
        self._wait(None)
        if self.transport.is_closing():
            return
        pending = self.cycle is not None and not self.cycle.response_complete
        silent = self._stage is _Stage.BODY and pending and not self.cycle.response_started
        if silent or (self._stage is not _Stage.BODY and not pending and self._outside_bytes):
            whose: dict[str, Any] = {"path": self.scope["path"] if self._stage is _Stage.BODY else ""}
            told = respond(ApiError(status, message, code="timeout" if status == 408 else None), whose).body
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(told)
            self.transport.write(STATUS_LINE[status] + head + told)
        self.transport.close()
