"""Counts requests and how long they take, by method, route and status. Pure ASGI; what is counted is shown by `metrics.py`."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 60)
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})

REQUESTS = CollectorRegistry()
_requests = Counter(
    "spillway_http_requests", "Requests by this server.", ("method", "path", "status"), registry=REQUESTS
)
_seconds = Histogram(
    "spillway_http_request_seconds", "Time to the first byte of the reply.", ("method", "path"), buckets=BUCKETS_S,
    registry=REQUESTS,
)  # fmt: skip


class Meter:
    """Paths are those of the description, never what somebody typed: a label must not grow without end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        method = scope["method"] if scope["method"] in METHODS else "other"

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = getattr(scope.get("route"), "path", "other")
                _requests.labels(method, path, message["status"]).inc()
                _seconds.labels(method, path).observe(time.perf_counter() - began_s)
            await send(message)

        await self._app(scope, receive, counting)
