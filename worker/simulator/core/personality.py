"""What a personality is, and how they are found: every module of worker/simulator that has a PERSONALITY."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from worker.simulator.core.config import Scenario, parse
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.server import Server

Handler = Callable[[Server, Request], Awaitable[Reply]]
Routes = Mapping[tuple[str, str], Handler]

PACKAGE = "worker.simulator"


class Personality(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor's surface. A path may hold {names}, which reach the handler in `request.args`; `base_path` is what a
    client's base URL ends with; `defaults` are the configuration keys that differ from the common ones; `elsewhere` answers at
    any other path, where that is no 404."""

    routes: Routes
    base_path: str = "/v1"
    defaults: Mapping[str, Any] = {}
    elsewhere: Handler | None = None


@cache
def personalities() -> dict[str, Personality]:
    """All of them by name, which is the name of their file."""
    found = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent.parent)]):
        if not (module.ispkg or module.name.startswith("_")):
            loaded = getattr(importlib.import_module(f"{PACKAGE}.{module.name}"), "PERSONALITY", None)
            if isinstance(loaded, Personality):
                found[module.name] = loaded
    return found


def parse_scenario(config: Mapping[str, Any]) -> Scenario:
    """A checked scenario from plain values. Raises ConfigError."""
    return parse(config, {name: each.defaults for name, each in personalities().items()})


class Router:
    """Finds the handler of a request."""

    def __init__(self, routes: Routes) -> None:
        self._exact = {key: handler for key, handler in routes.items() if "{" not in key[1]}
        self._patterns = [
            (method, _pattern(path), handler) for (method, path), handler in routes.items() if "{" in path
        ]

    def find(self, request: Request) -> Handler | None:
        handler = self._exact.get((request.method, request.path))
        if handler is not None:
            return handler
        for method, pattern, each in self._patterns:
            found = pattern.fullmatch(request.path) if method == request.method else None
            if found:
                request.args = found.groupdict()
                return each
        return None


def serving(server: Server, personality: Personality) -> Callable[[Request], Awaitable[Reply]]:
    """The HTTP handler of one server."""
    router = Router(personality.routes)

    async def handle(request: Request) -> Reply:
        handler = router.find(request) or personality.elsewhere
        if handler is None:
            message = f"Unknown request URL: {request.method} {request.path}."
            return json_reply(
                {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}, 404
            )
        if server.is_down and request.method == "GET":
            return json_reply({"error": {"message": "The server is down.", "type": "server_error"}}, 503)
        return await handler(server, request)

    return handle


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    return re.compile(
        "".join(f"(?P<{part}>[^/]+?)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    )
