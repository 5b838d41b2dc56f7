"""HTTP/1.1 on loopback with the connection in hand: an answer can be lost, cut, dripped or never sent.

A general server hides the connection, and its endings are what this one is for. It knows no vendor.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote

import httptools
import msgspec

Ending = Literal["whole", "shut", "close", "reset", "cut", "drip", "hang"]

MAX_BODY_BYTES = 512 * 1024 * 1024
DRIP_PIECES = 20
_WRITE_BYTES = 256 * 1024
_REASONS = {
    200: "OK", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 413: "Content Too Large", 422: "Unprocessable Content",
    429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout",
}  # fmt: skip


class Request(msgspec.Struct, gc=False):
    """One complete request; header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    args: dict[str, str] = {}

    def parameters(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))


class Reply(msgspec.Struct):
    """What to send and how the connection ends; `on_end` learns whether all of it went out."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    ending: Ending = "whole"
    spread_s: float = 0.0
    on_end: Callable[[bool], None] | None = None


Handler = Callable[[Request], Awaitable[Reply]]


def json_reply(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """A reply whose body is JSON."""
    return Reply(status=status, body=msgspec.json.encode(value), headers=headers)


class Connection(asyncio.Protocol):
    """One client's connection; requests on it are answered in order."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._transport: Any = None
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._gone = asyncio.Event()
        self._forget()

    def _forget(self) -> None:
        self._url, self._size = b"", 0
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._listener.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.connections.discard(self)
        self._may_write.set()
        self._gone.set()
        self._waiting.clear()
        if self._task is not None and self._listener.cancels():
            self._task.cancel()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, ValueError):
            self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self._transport.close()

    # the parser's side

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MAX_BODY_BYTES:
            raise ValueError("the request is too large")
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, _, query = self._url.decode("latin-1").partition("?")
        if "://" in path:
            path = "/" + path.split("/", 3)[-1]
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        method = self._parser.get_method().decode("ascii")
        request = Request(method, unquote(path) if "%" in path else path, query, self._headers, body)
        self._waiting.append((request, self._parser.should_keep_alive()))
        self._forget()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    # the answer's side

    async def _serve(self) -> None:
        try:
            while self._waiting:
                request, keeps = self._waiting.popleft()
                reply = await self._answer(request)
                went_out = await self._send(reply, keeps)
                if reply.on_end is not None:
                    reply.on_end(went_out)
                if not keeps or reply.ending != "whole":
                    self._transport.close()
        finally:
            self._task = None

    async def _answer(self, request: Request) -> Reply:
        try:
            return await self._listener.handler(request)
        except Exception as error:  # a mistake in a personality must not stop the others
            traceback.print_exception(error, file=sys.stderr)
            return json_reply({"error": {"message": f"simulator: {error}", "type": "simulator_error"}}, 500)

    async def _send(self, reply: Reply, keeps: bool) -> bool:
        """Writes the reply as its ending says; True when all of it was handed to an open connection."""
        if reply.ending == "hang":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), reply.spread_s)
            return False
        if reply.ending == "reset":
            self.reset()
            return False
        if reply.ending == "close" or self._transport.is_closing():
            return False
        head = _head(reply, keeps)
        if reply.ending == "cut":
            self._transport.write(head + reply.body[: len(reply.body) // 2])
            return False
        if reply.ending == "drip":
            return await self._drip(head, reply)
        if len(reply.body) <= _WRITE_BYTES:
            self._transport.write(head + reply.body)
            return True
        return await self._pour(head, reply.body)

    async def _drip(self, head: bytes, reply: Reply) -> bool:
        data = head + reply.body
        step = max(1, -(-len(data) // DRIP_PIECES))
        for start in range(0, len(data), step):
            if self._transport.is_closing():
                return False
            self._transport.write(data[start : start + step])
            await asyncio.sleep(reply.spread_s / DRIP_PIECES)
        return True

    async def _pour(self, head: bytes, body: bytes) -> bool:
        self._transport.write(head)
        for start in range(0, len(body), _WRITE_BYTES):
            await self._may_write.wait()
            if self._transport.is_closing():
                return False
            self._transport.write(body[start : start + _WRITE_BYTES])
        return True

    def reset(self) -> None:
        """Ends the connection with a reset, as a crashed host does."""
        with contextlib.suppress(OSError, AttributeError):
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()

    def drop(self) -> None:
        """Resets the connection and forgets its request: nothing is finished, nothing billed."""
        if self._task is not None:
            self._task.cancel()
        self.reset()


def _head(reply: Reply, keeps: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Status')}",
        f"content-type: {reply.content_type}",
        f"content-length: {len(reply.body)}",
        *(f"{name}: {value}" for name, value in reply.headers),
    ]
    if not keeps or reply.ending not in ("whole", "shut"):
        lines.append("connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


class Listener:
    """A port that can refuse connections and come back; the port number stays ours meanwhile."""

    def __init__(self, handler: Handler, cancels: Callable[[], bool] = lambda: True) -> None:
        self.handler, self.cancels = handler, cancels
        self.connections: set[Connection] = set()
        self.port = 0
        self._reserved: socket.socket | None = None
        self._server: asyncio.AbstractServer | None = None

    @property
    def is_open(self) -> bool:
        return self._server is not None

    def reserve(self, host: str, port: int) -> None:
        """Binds the port without listening. OSError when it is taken."""
        if port:  # a shared bind would succeed beside another simulator's
            _bound(host, port, shared=False).close()
        self._reserved = _bound(host, port, shared=True)
        self._host, self.port = host, self._reserved.getsockname()[1]

    async def open(self) -> None:
        """Starts to accept connections."""
        if self._server is None:
            sock = _bound(self._host, self.port, shared=True)
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self), sock=sock, backlog=4096
            )

    def shut(self) -> None:
        """Refuses new connections and drops the ones there are, with what they were waiting for."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.connections):
            connection.drop()

    def close(self) -> None:
        self.shut()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared and hasattr(socket, "SO_REUSEPORT"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.setblocking(False)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
