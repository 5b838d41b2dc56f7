"""The way past FastAPI for the endpoints that are asked hundreds of times a second: it takes longer than they do.

They are in the description of the API like all others, and are called by it where this is not in front of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from producer.api import errors


class _Route(NamedTuple):
    """As the meter looks at one."""

    path: str


class Direct:
    """Pure ASGI; `endpoints` answer the POSTs of their paths and say by exceptions what any endpoint says by them."""

    def __init__(self, app: FastAPI, endpoints: Mapping[str, Callable[[Request], Awaitable[Response]]]) -> None:
        self._app: ASGIApp = app
        self._more = {"app": app}
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope.update(self._more, route=_Route(scope["path"]))
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except Exception as error:
            response = await errors.answer(request, error)
        await response(scope, receive, send)
