"""`Hot` sends the paid calls; the only file that imports pyreqwest, the fastest client that measured well here.

It neither retries, follows redirects, keeps cookies nor raises for what a network does: trouble is a `Failure` that
says whether anything was sent, since only what was sent can have been paid.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import (
    DetailedPyreqwestError,
    PoolTimeoutError,
    PyreqwestError,
    ReadTimeoutError,
    RequestTimeoutError,
)
from pyreqwest.http import HeaderMap
from pyreqwest.response import Response as HotResponse

from pipelines.types import Failure
from worker.backends import streams
from worker.backends.exchange import (
    MAX_BYTES,
    Response,
    bad_request,
    hushed,
    is_loopback,
    origin,
    too_large,
    unzipped,
)

CONNECT_TIMEOUT_S = 5.0
IDLE_S = {"https": 4.0, "http": 1.5}
"""Servers close idle connections after two seconds (gunicorn) or five (uvicorn, Node, cpp-httplib), and a call that
races that is lost. So ours are closed first; earlier without TLS, where a new one costs little."""

ZIPPED = frozenset({"gzip", "x-gzip", "deflate"})
"""Never asked for, since it costs more than it saves on the way to a model; some proxies compress all the same."""

# The exception's class does not tell (a reset after sending is a ConnectError too); the chain of causes does. These are
# the steps at which hyper had not begun to write the request.
NOT_SENT = frozenset(
    {"client error (Connect)", "client error (Canceled)", "client error (ChannelClosed)", "operation was canceled"}
)


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
            return bad_request(url)
        try:
            async with request as response:
                content, told = await _read(response, max_bytes), _Headers(response.headers)
                if content is not None and told.get("content-encoding", "identity") in ZIPPED:
                    content = unzipped(content, max_bytes)
                if content is None:
                    return too_large(url, max_bytes, response.status)
                if told.get("content-type", "").startswith(streams.TYPE):
                    content = streams.whole(content)
                return Response(response.status, told, hushed(content, headers))
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


class _Headers(Mapping[str, str]):
    """Headers by name; one that is no text, which pyreqwest raises for, is as if it were not there."""

    __slots__ = ("_told",)

    def __init__(self, told: HeaderMap) -> None:
        self._told = told

    def __getitem__(self, name: str) -> str:
        try:
            return self._told[name]
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._told)

    def __len__(self) -> int:
        return len(self._told)


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
