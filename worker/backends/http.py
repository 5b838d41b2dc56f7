"""`Web` does every request off the hot path (discovery, health, files, webhooks); the only file that imports httpx.

As in hot.py, trouble is a value: nothing is retried or followed, and nothing raises for what a network does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Self

import httpx

from pipelines.types import Failure
from worker.backends.exchange import Response, bad_request, hushed, is_loopback, origin, too_large


class Web:
    """Small requests off the hot path (discovery, health, files); use it with `async with`."""

    def __init__(self, timeout_s: float = 2.0, max_bytes: int = 8 * 1024 * 1024) -> None:
        self._timeout_s, self._max_bytes = timeout_s, max_bytes
        self._clients: dict[bool, httpx.AsyncClient] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
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
            return bad_request(url)
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
                    return too_large(url, self._max_bytes, response.status_code)
            return Response(response.status_code, response.headers, hushed(bytes(content), options["headers"]))
