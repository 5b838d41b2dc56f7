"""The control port: the bill, what the servers do right now, and changes while they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from pipelines.errors import ConfigError
from worker.simulator.core.batches import desk
from worker.simulator.core.bill import Bill
from worker.simulator.core.config import ServerConfig
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.page import page
from worker.simulator.core.server import Server


def controlling(servers: Mapping[str, Server], bill: Bill) -> Callable[[Request], Awaitable[Reply]]:
    """The HTTP handler of the control port."""

    async def handle(request: Request) -> Reply:
        method, path = request.method, request.path
        wants_page = "text/html" in request.headers.get("accept", "")
        if method == "GET" and (path == "/" or (path == "/status" and wants_page)):
            return Reply(body=page(servers).encode(), content_type="text/html; charset=utf-8")
        if (method, path) == ("GET", "/status"):
            return json_reply({"servers": {name: server.figures() for name, server in servers.items()}})
        if path.startswith("/bill"):
            for server in servers.values():
                desk(server).settle()
        if (method, path) == ("GET", "/bill"):
            return json_reply({"servers": {name: _account(server) for name, server in servers.items()}})
        if (method, path) == ("GET", "/bill/calls"):
            return Reply(body=bill.lines(), content_type="application/jsonl")
        if (method, path) == ("POST", "/control"):
            return await _control(servers, request)
        if (method, path) == ("POST", "/reset"):
            bill.reset()
            for server in servers.values():
                await server.forget()
            return json_reply({"reset": True})
        known = "GET /status, /bill, /bill/calls; POST /control, /reset"
        return json_reply({"error": f"no {method} {path} here; there are {known}"}, 404)

    return handle


def _account(server: Server) -> dict[str, Any]:
    """One server's bill; the models and keys in it are strangers' texts and stay data."""
    account = dict(msgspec.to_builtins(server.account))
    if server.config.usd_per_hour:
        meter = server.meter
        account |= {
            "worker_s": round(meter.worker_s(), 3),
            "worker_cost_pusd": meter.cost_pusd(),
            "cold_starts": meter.cold_starts,
        }
    return {**account, "unfinished": server.in_flight}


async def _control(servers: Mapping[str, Server], request: Request) -> Reply:
    """POST /control {"server": NAME or "*", "down": bool, and any key of its configuration}."""
    try:
        asked = msgspec.json.decode(request.body, type=dict[str, Any])
        chosen = _chosen(servers, asked.pop("server", "*"))
        down = asked.pop("down", None)
        if not (down is None or isinstance(down, bool)):
            raise ConfigError("down is true or false; windows of time belong into the scenario")
        for server in chosen:
            server.configure(asked)
        for server in chosen if down is not None else []:
            await server.set_down(bool(down))
    except (msgspec.DecodeError, ConfigError) as error:
        return json_reply({"error": str(error)}, 400)
    return json_reply({"servers": {server.name: _shown(server.config) for server in chosen}})


def _shown(config: ServerConfig) -> Any:
    return msgspec.to_builtins(msgspec.structs.replace(config, api_key=None))


def _chosen(servers: Mapping[str, Server], name: str) -> list[Server]:
    if name == "*":
        return list(servers.values())
    if name not in servers:
        raise ConfigError(f"no server {name!r}; there are {', '.join(sorted(servers))}")
    return [servers[name]]
