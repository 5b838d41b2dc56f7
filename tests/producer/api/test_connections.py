"""A connection that sends no whole request does not stay, however slowly or however much it sends; one that does may take its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from producer.api import connections
from producer.api.connections import Connection
from producer.api.limits import Limits

HEAD_S, SILENT_S, DRAIN_S, PACE_S = 0.5, 0.5, 1.0, 0.1
GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
ENOUGH_S = 10.0


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads bodies, but for the path /early; and takes longer than a head may."""
    while scope["path"] != "/early" and (await receive()).get("more_body"):
        pass
    await asyncio.sleep(3 * HEAD_S if scope["path"] == "/slow" else 0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Caller:
    """A connection by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answered(self) -> None:
        assert (await self.reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")

    async def dribbles(self, endless: bytes) -> bytes:
        """What it hears, from now until it is hung up on, while it sends this again and again."""

        async def sends() -> None:
            with suppress(ConnectionError):
                while True:
                    self.writer.write(endless)
                    await self.writer.drain()
                    await asyncio.sleep(PACE_S if len(endless) < 1000 else 0)

        sending = asyncio.create_task(sends())
        try:
            async with asyncio.timeout(ENOUGH_S):
                return await self.reader.read()
        except ConnectionError:
            return b""
        finally:
            sending.cancel()


def patience(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    for name, each in seconds.items():
        which = name.removesuffix("_s").upper()
        monkeypatch.setattr(connections, which, getattr(connections, which)._replace(seconds=each))


@pytest.fixture
async def address(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    patience(monkeypatch, head_s=HEAD_S, silent_s=SILENT_S, drain_s=DRAIN_S)
    places = Limits(answer, 2 << 20, {})
    config = uvicorn.Config(places, port=0, http=Connection, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving
    assert places._open == 0, "every request gave its place back"


@pytest.fixture
async def caller(address: int) -> AsyncIterator[Caller]:
    reader, writer = await asyncio.open_connection("127.0.0.1", address)
    yield Caller(reader, writer)
    writer.close()


@pytest.mark.parametrize("before", ["at first", "after an answer", "while an answer is made"])
@pytest.mark.parametrize("slow", [b"a", b"x-more: y\r\n", b"\r\n"])
async def test_a_head_without_an_end_is_ended(caller: Caller, before: str, slow: bytes) -> None:
    """Byte by byte, line by line, or before it has begun."""
    if before != "at first":
        caller.writer.write(GET + b"\r\n")
        await caller.answered()
    if before == "while an answer is made":
        caller.writer.write(GET.replace(b"/ ", b"/slow ") + b"\r\n")
    head = b"" if slow == b"\r\n" else GET + (b"x: " if slow == b"a" else b"")
    caller.writer.write(head)
    heard = await caller.dribbles(slow)
    if before == "while an answer is made":
        assert not heard.startswith(b"HTTP/1.1 408"), "that would be taken for the answer"
    else:
        assert heard.startswith(b"HTTP/1.1 408") and b'"error"' in heard


async def test_who_says_nothing_is_told_nothing(caller: Caller) -> None:
    assert await caller.dribbles(b"") == b""


@pytest.mark.parametrize("endless", [b"a" * 65_536, b"x: y\r\n" * 10_000], ids=["one header", "many headers"])
@pytest.mark.parametrize("where", ["head", "trailer", "chunk"])
async def test_what_is_no_body_has_a_size(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, endless: bytes, where: str
) -> None:
    patience(monkeypatch, head_s=ENOUGH_S, silent_s=ENOUGH_S)
    chunked = GET.replace(b"GET", b"POST") + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n"
    caller.writer.write({"head": GET + b"x: ", "trailer": chunked + b"0\r\nx: ", "chunk": chunked + b"2;x="}[where])
    heard = await caller.dribbles(endless)
    assert b"200" not in heard
    if where == "head":
        assert heard.startswith(b"HTTP/1.1 431") or heard == b"", "what it still sends may overtake the answer"


@pytest.mark.parametrize("path", ["/v1/files", "/v1/messages/batches"])
async def test_a_body_that_ends_nowhere_is_ended(caller: Caller, path: str) -> None:
    caller.writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\na".encode())
    heard = await caller.dribbles(b"")
    assert heard.startswith(b"HTTP/1.1 408") and b"Nothing more of the body came" in heard
    assert (b'"type":"error"' in heard.replace(b" ", b"")) is ("messages" in path), "in the shape that its clients know"


async def test_a_body_that_says_two_lengths_is_none(caller: Caller) -> None:
    """A body is not counted where it says how long it is."""
    caller.writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n")
    assert (await caller.dribbles(b"2\r\nab\r\n")).startswith(b"HTTP/1.1 400")


async def test_a_body_that_nobody_waits_for_is_read_for_a_while(caller: Caller) -> None:
    """A client that reads no answer before it has sent everything must come to it."""
    began = asyncio.get_running_loop().time()
    caller.writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
    heard = await caller.dribbles(b"a")
    assert heard.startswith(b"HTTP/1.1 200") and b"408" not in heard
    assert asyncio.get_running_loop().time() - began > DRAIN_S


async def test_requests_take_their_time_one_after_the_other_and_at_once(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bodies and answers that take longer than a head may, and heads in pieces."""
    patience(monkeypatch, head_s=2 * HEAD_S, silent_s=2 * SILENT_S)
    caller.writer.write(GET.replace(b"/ ", b"/slow "))
    await asyncio.sleep(PACE_S)
    caller.writer.write(b"\r\n")
    await caller.answered()
    caller.writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 12\r\n\r\n")
    for _ in range(12):
        await asyncio.sleep(PACE_S)
        caller.writer.write(b"a")
    await caller.answered()
    caller.writer.write((GET.replace(b"/ ", b"/slow ") + b"\r\n") * 2)
    await caller.answered()
    await caller.answered()
    await asyncio.sleep(3 * HEAD_S)
    caller.writer.write(GET + b"\r\n")
    await caller.answered()


async def test_a_long_body_is_no_head(caller: Caller) -> None:
    caller.writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(1000):
        caller.writer.write(b"400\r\n" + b"a" * 1024 + b"\r\n")
        await caller.writer.drain()
    caller.writer.write(b"0\r\n\r\n")
    await caller.answered()
