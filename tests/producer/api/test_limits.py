"""How many requests are taken at once, and that the short way past FastAPI says what the long one does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from producer import clients
from producer.api import limits
from producer.api.auth import who
from producer.api.errors import ApiError, respond
from producer.api.limits import Limits
from producer.api.state import State
from tests.support_program import Program
from tests.support_serving import ADMIN, Server, serving


class Slow:
    """An application that answers when it may go on, and whose requests are known to have begun."""

    def __init__(self) -> None:
        self.go_on, self._begun = asyncio.Event(), asyncio.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._begun.release()
        if scope["path"] != limits.ALWAYS:
            await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def begin(self, http: httpx.AsyncClient, *paths: str) -> list[asyncio.Task[httpx.Response]]:
        asking = [asyncio.create_task(http.get(path)) for path in paths]
        for _ in asking:
            await self._begun.acquire()
        return asking


def inside(app: ASGIApp) -> httpx.AsyncClient:
    """Asks an application behind the limits, in process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(Limits(app, 100, {})), base_url="http://server")


async def test_what_is_too_much_at_once_is_told_at_once_and_health_is_always_answered(monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "OPEN_MOST", 2)
    slow = Slow()
    async with inside(slow) as http:
        first = await slow.begin(http, "/v1/batches", "/v1/batches")
        refused, anthropics = await http.get("/v1/batches"), await http.get("/v1/messages/batches")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert refused.headers["retry-after"] and refused.headers["x-request-id"]
        assert anthropics.json()["error"]["type"] == "overloaded_error"
        assert (await http.get("/health")).status_code == 200
        slow.go_on.set()
        assert [(await each).status_code for each in first] == [200, 200]
        assert (await http.get("/v1/batches")).status_code == 200, "those that have ended count no more"


async def test_one_client_leaves_places_for_others(monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "CLIENT_MOST", 2)
    slow = Slow()

    async def of_its_path(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            limits.take_place(scope, scope["path"])
        except ApiError as error:
            await respond(error, scope)(scope, receive, send)
        else:
            await slow(scope, receive, send)

    async with inside(of_its_path) as http:
        first = await slow.begin(http, "/greedy", "/greedy")
        refused = await http.get("/greedy")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_requests")
        assert refused.headers["retry-after"]
        first += await slow.begin(http, "/modest")
        slow.go_on.set()
        assert [(await each).status_code for each in first] == [200] * 3
        assert (await http.get("/greedy")).status_code == 200, "those that have ended count no more"


async def test_whoever_is_known_takes_a_place_of_its_client_and_nobody_else_does(here: State) -> None:
    """In process, since a real server would have to be filled; that every endpoint asks who it is, test_tenants.py says."""
    key, _ = await clients.add(here.redis, here.keys, "acme")
    taken = []

    async def asks(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ApiError):
            await who(Request(scope), here)
        taken.append({name for name, count in places._of.items() if count})

    places = Limits(asks, 100, {})
    for given in (key, ADMIN, "nobody"):
        headers = [(b"x-api-key", given.encode())]
        await places({"type": "http", "path": "/v1/files", "headers": headers}, _silent, _said)
    assert taken == [{"acme"}, {""}, set()]


async def _silent() -> Any: ...


async def _said(message: Any) -> None: ...


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """One that answers the short way, and one that cannot, since it says who may ask from other pages."""
    gpu = {"gpu": {"kind": "lmstudio", "base_url": "http://127.0.0.1:9/v1", "model": "qwen"}}

    def program(name: str, **api: Any) -> Program:
        folder: Path = tmp_path_factory.mktemp(name)
        return Program(folder, targets=gpu, api={"admin_key": ADMIN, "max_body_bytes": 4096, **api})

    with serving(program("short")) as short, serving(program("long", cors_origins=["https://page.example"])) as long:
        yield short, long


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("no key", {"headers": {"authorization": ""}}), ("a wrong key", {"headers": {"authorization": "Bearer x"}}),
    ("the admin's key", {"headers": {"authorization": f"Bearer {ADMIN}"}}), ("no JSON", {"content": b"{"}),
    ("a list", {"json": []}), ("nothing", {"content": b""}), ("no prompt", {"json": {"model": "qwen"}}),
    ("an unknown model", {"json": {"model": "x", "messages": [{"role": "user", "content": "x"}], "input": "x"}}),
    ("an odd wait", {"json": {"messages": [{"role": "user", "content": "x"}], "input": "x"}, "headers": {"x-spillway-wait-s": "x"}}),
    ("too much", {"content": b" " * 5000}), ("too much in pieces", {"content": iter([b" " * 3000] * 2)}),
    ("another method", {"method": "PUT"}),
]  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize(("what", "asked"), ASKED, ids=[what for what, _ in ASKED])
def test_both_ways_say_the_same(servers: tuple[Server, Server], path: str, what: str, asked: dict[str, Any]) -> None:
    told = []
    for server in servers:
        with server.http() as http:
            given = {"method": "POST", **asked}
            if what == "too much in pieces":
                given["content"] = iter([b" " * 3000] * 2)
            reply = http.request(url=path, **given)
            headers = {name: reply.headers.get(name) for name in ("content-type", "www-authenticate", "allow")}
            told.append((reply.status_code, reply.json(), headers))
    assert told[0] == told[1] and told[0][0] >= 400


def test_a_request_is_counted_by_its_path_either_way(servers: tuple[Server, Server]) -> None:
    for server in servers:
        with server.http() as http:
            accepted = http.post("/v1/responses", json={"input": "x"}, headers={"x-spillway-wait-s": "0"})
            assert (accepted.status_code, accepted.json()["object"]) == (202, "response.accepted")
        with server.http(None) as boss:
            text = boss.get("/metrics", headers={"x-api-key": ADMIN}).text
        assert 'spillway_http_requests_total{method="POST",path="/v1/responses",status="202"} 1.0' in text


def test_pages_of_the_configured_origin_may_ask(servers: tuple[Server, Server]) -> None:
    asked = {"origin": "https://page.example", "access-control-request-method": "POST"}
    allowed = []
    for server in servers:
        with server.http() as http:
            reply = http.options("/v1/chat/completions", headers=asked)
            allowed.append(reply.headers.get("access-control-allow-origin"))
    assert allowed == [None, "https://page.example"]
