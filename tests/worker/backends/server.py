"""A real HTTP server that plays what a test tells it, byte for byte: answers, silence, torn bodies, resets."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

Step = bytes | float | str
"""Bytes to send, seconds to wait, or one of the words below."""
CLOSE, RESET = "close", "reset"
Play = Sequence[Step]


class Request(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def answer(status: int = 200, body: Any = b"", headers: dict[str, str] | None = None) -> Play:
    """One complete response; anything but bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"content-type": "application/json", "content-length": str(len(raw)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return [f"HTTP/1.1 {status} Reason\r\n{head}\r\n".encode() + raw]


class Scripted:
    """Plays one script per request, the last one again and again. With `paths`, a script per path instead."""

    def __init__(self, *plays: Play, paths: dict[str, Play] | None = None, greeting: Play = ()) -> None:
        self._plays, self._paths, self._greeting = list(plays), paths, greeting
        self.requests: list[Request] = []
        self.connections = 0
        self.asked = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._open: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for _ in range(4):  # what was accepted last gets its writer only now
            await asyncio.sleep(0)
            for writer in list(self._open):
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            if self._greeting and not await self._perform(self._greeting, writer):
                return
            while (request := await _read(reader)) is not None:
                self.requests.append(request)
                self.asked.set()
                if not await self._perform(self._play(request), writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()
            self._open.discard(writer)

    def _play(self, request: Request) -> Play:
        if self._paths is not None:
            return self._paths.get(request.path.partition("?")[0], answer(404, {"error": "no such path"}))
        return self._plays[min(len(self.requests), len(self._plays)) - 1]

    async def _perform(self, play: Play, writer: asyncio.StreamWriter) -> bool:
        """False when the connection is gone."""
        for step in play:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                if step == RESET:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                return False
        return True


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode().splitlines()
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))
