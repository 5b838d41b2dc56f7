"""One connection of the server: the headers of a request come in time and in a size, and so does whatever else is no body.

uvicorn bounds neither: one byte a second would keep a connection for ever, and a header without an end all memory.
"""

from __future__ import annotations

import asyncio

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from producer.api.errors import body
from producer.api.limits import HEADERS_MAX_BYTES

HEAD_S = 20.0
"""From a connection's beginning, or a request's first byte, to the end of its headers."""
DRAIN_S = 300.0
"""So long what is left of a body may come of which the answer did not wait for the end."""
OUTSIDE_MAX_BYTES = 2 * HEADERS_MAX_BYTES
"""Of headers, of trailers, or between two pieces of a body."""


class Connection(HttpToolsProtocol):
    """uvicorn's, with a clock and a measure for what is not a body yet."""

    _late: asyncio.TimerHandle | None = None
    _outside_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._late is None and self.cycle is not None and self.cycle.response_complete:  # nobody waits for this
            self._expect(DRAIN_S if self.cycle.more_body else HEAD_S)
        self._outside_bytes += len(data)
        super().data_received(data)
        if self._outside_bytes > OUTSIDE_MAX_BYTES:
            self._refuse(431, f"The headers are larger than {HEADERS_MAX_BYTES} bytes.")

    def on_message_begin(self) -> None:
        self._expect(HEAD_S)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._arrived()
        self._outside_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._outside_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._outside_bytes = 0
        super().on_message_complete()

    def _expect(self, seconds: float) -> None:
        self._arrived()
        self._late = self.loop.call_later(seconds, self._refuse, 408, "The request did not come in time.")

    def _arrived(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self, status: int, message: str) -> None:
        """Ends the connection; with an answer where something was asked and no other answer is under way."""
        self._arrived()
        if self.transport.is_closing():
            return
        if self._outside_bytes and (self.cycle is None or self.cycle.response_complete):
            told = msgspec.json.encode(body(status, message))
            head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(told)
            self.transport.write(STATUS_LINE[status] + head + told)
        self.transport.close()
