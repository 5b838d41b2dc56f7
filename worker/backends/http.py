"""The only file that talks HTTP: `Hot` sends the paid calls (pyreqwest), `Web` does everything else (httpx).

Neither retries, follows redirects, keeps cookies or raises for what a network does: trouble is a `Failure` that says
whether anything was sent, since only what was sent can have been paid.
"""

from __future__ import annotations

import asyncio
import atexit
import ipaddress
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    DetailedPyreqwestError,
    PoolTimeoutError,
    PyreqwestError,
    ReadTimeoutError,
    RequestTimeoutError,
)
from pyreqwest.response import Response as HotResponse

from pipelines.types import Failure

MAX_BYTES = 32 * 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
IDLE_S = {"https": 4.0, "http": 1.5}
"""Servers close idle connections after two seconds (gunicorn) or five (uvicorn, Node, cpp-httplib), and a call that
races that is lost. So ours are closed first; earlier without TLS, where a new one costs little."""

# The exception's class does not tell (a reset after sending is a ConnectError too); the chain of causes does. These are
# the steps at which hyper had not begun to write the request.
NOT_SENT = frozenset(
    {"client error (Connect)", "client error (Canceled)", "client error (ChannelClosed)", "operation was canceled"}
)


class Response(msgspec.Struct, frozen=True):
    """A complete answer; `headers` is looked up in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def origin(url: str) -> str:
    """host:port of an address, for messages; never its path, query or credentials."""
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname or "(no host)")
    except ValueError:
        return "(not an address)"


def is_loopback(url: str) -> bool:
    """True when no proxy may stand between us and the address."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or host.endswith(".localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Hot:
    """The client of the one hot call. One per process; it may be made outside a running loop."""

    def __init__(self, concurrency: int = 256) -> None:
        self._concurrency = concurrency
        self._clients: dict[tuple[bool, str, float], Client] = {}
        self._by_url: dict[tuple[str, float, float], tuple[Client, timedelta]] = {}

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
        max_bytes: int = MAX_BYTES,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> Response | Failure:
        """One request, one answer: `timeout_s` covers everything from connecting to the last byte."""
        try:
            client, timeout = self._by_url.get((url, timeout_s, connect_timeout_s)) or self._learn(
                url, timeout_s, connect_timeout_s
            )
            request = client.post(url).headers(headers).body_bytes(body).timeout(timeout).build_streamed()
        except (PyreqwestError, ValueError, TypeError, OverflowError):
            return _bad_request(url)
        try:
            async with request as response:
                content = await _read(response, max_bytes)
                if content is None:
                    return _too_large(url, max_bytes, response.status)
                return Response(response.status, response.headers, content)
        except PyreqwestError as error:
            return _failure(url, error, timeout_s)

    async def close(self) -> None:
        """Closes every connection; calls in flight end as `unknown`."""
        clients, self._clients, self._by_url = list(self._clients.values()), {}, {}
        for client in clients:
            await client.close()

    def _learn(self, url: str, timeout_s: float, connect_timeout_s: float) -> tuple[Client, timedelta]:
        # A timeout that strikes while connecting must be the connect timeout, else nothing tells that nothing was sent.
        key = (is_loopback(url), "https" if url.startswith("https:") else "http", min(connect_timeout_s, timeout_s / 2))
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = _build(*key, self._concurrency)
        found = self._by_url[url, timeout_s, connect_timeout_s] = client, timedelta(seconds=timeout_s)
        return found


def _build(direct: bool, scheme: str, connect_timeout_s: float, concurrency: int) -> Client:
    _outlive_its_thread()
    builder = (
        ClientBuilder()
        .http1_only()
        .follow_redirects(False)
        .referer(False)
        .user_agent("spillway")
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .connect_timeout(timedelta(seconds=connect_timeout_s))
        .pool_max_idle_per_host(concurrency)
        .pool_idle_timeout(timedelta(seconds=IDLE_S[scheme]))
        .tcp_keepalive(timedelta(seconds=30))
    )
    return (builder.no_proxy() if direct else builder).build()


_exit_waits = False


def _outlive_its_thread() -> None:
    """pyreqwest's own thread may still be letting go of a Python object when the program ends; an interpreter that is
    gone by then aborts (seen in half of all exits on one core, never with this pause)."""
    global _exit_waits
    if not _exit_waits:
        _exit_waits = True
        atexit.register(time.sleep, 0.05)


async def _read(response: HotResponse, max_bytes: int) -> bytes | None:
    """The body, or None when it is larger than `max_bytes`; never holds more than that."""
    announced = response.get_header("content-length")
    if announced is not None and announced.isdigit():
        return (await response.bytes()).to_bytes() if int(announced) <= max_bytes else None
    chunks, size = [], 0
    while (chunk := await response.body_reader.read()) is not None:
        size += len(chunk)
        if size > max_bytes:
            return None
        chunks.append(chunk.to_bytes())
    return b"".join(chunks)


def _bad_request(url: str) -> Failure:
    # Not the exception's text: it may quote a header, and a header holds the key.
    return Failure("invalid", "bad_request", f"{origin(url)}: the address or a header is not valid HTTP")


def _too_large(url: str, max_bytes: int, status: int) -> Failure:
    message = f"{origin(url)} answers more than {max_bytes} bytes; lower max_tokens"
    return Failure("unknown", "response_too_large", message, status)


def _failure(url: str, error: PyreqwestError, timeout_s: float) -> Failure:
    causes = _causes(error)
    reason = causes[-1] if causes else error.message
    if isinstance(error, PoolTimeoutError) or any(cause in NOT_SENT for cause in causes):
        return Failure("connect", "connect_failed", f"{origin(url)} cannot be reached: {reason}")
    if isinstance(error, ReadTimeoutError):
        return Failure("unknown", "timeout", f"{origin(url)} had not finished its answer after {timeout_s:g} s")
    if isinstance(error, RequestTimeoutError):
        return Failure("unknown", "timeout", f"{origin(url)} did not answer within {timeout_s:g} s")
    message = f"{origin(url)} broke the connection before its answer was complete: {reason}"
    return Failure("unknown", "connection_lost", message)


def _causes(error: PyreqwestError) -> list[str]:
    causes = error.details["causes"] if isinstance(error, DetailedPyreqwestError) else None
    return [cause["message"] for cause in causes or ()]


class Web:
    """Small requests off the hot path (discovery, health, files); use it with `async with`."""

    def __init__(self, timeout_s: float = 2.0, max_bytes: int = 8 * 1024 * 1024) -> None:
        self._timeout_s, self._max_bytes = timeout_s, max_bytes
        self._clients: dict[bool, httpx.AsyncClient] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def get(
        self, url: str, headers: Mapping[str, str] | None = None, timeout_s: float | None = None
    ) -> Response | Failure:
        return await self._send("GET", url, headers, None, timeout_s or self._timeout_s)

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float | None = None
    ) -> Response | Failure:
        return await self._send("POST", url, headers, body, timeout_s or self._timeout_s)

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None, timeout_s: float
    ) -> Response | Failure:
        try:
            # httpx's own timeouts start anew with each byte.
            async with asyncio.timeout(timeout_s):
                return await self._exchange(method, url, headers, body, timeout_s)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.PoolTimeout) as error:
            reason = str(error) or "no connection within the time limit"
            return Failure("connect", "connect_failed", f"{origin(url)} cannot be reached: {reason}")
        except (TimeoutError, httpx.TimeoutException):
            return Failure("unknown", "timeout", f"{origin(url)} did not answer within {timeout_s:g} s")
        except (httpx.InvalidURL, httpx.LocalProtocolError, httpx.UnsupportedProtocol, ValueError, TypeError):
            return _bad_request(url)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            return Failure("unknown", "connection_lost", f"{origin(url)} broke the connection: {reason}")

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None, timeout_s: float
    ) -> Response | Failure:
        direct = is_loopback(url)
        client = self._clients.get(direct)
        if client is None:
            client = self._clients[direct] = httpx.AsyncClient(trust_env=not direct)
        options: dict[str, Any] = {"headers": dict(headers or {}), "content": body, "timeout": timeout_s}
        async with client.stream(method, url, **options) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > self._max_bytes:
                    return _too_large(url, self._max_bytes, response.status_code)
            return Response(response.status_code, response.headers, bytes(content))
