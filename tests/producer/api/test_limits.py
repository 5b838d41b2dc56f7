"""How many requests are taken at once, and that the short way past FastAPI says what the long one does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from pipelines import wire
from pipelines.settings import parse_settings
from producer import clients
from producer.api import limits
from producer.api.auth import who
from producer.api.errors import ApiError, respond
from producer.api.limits import Limits
from producer.queue import connected
from producer.together import Together
from tests.support_program import Program
from tests.support_redis import redis_server
from tests.support_serving import ADMIN, Server, serving


async def test_what_is_too_much_at_once_is_told_at_once_and_health_is_always_answered(monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "OPEN_MOST", 2)
    go_on, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        begun.release()
        if scope["path"] != "/health":
            await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    inside = httpx.ASGITransport(Limits(slow, 100, {}))
    async with httpx.AsyncClient(transport=inside, base_url="http://server") as http:
        first = [asyncio.create_task(http.get("/v1/batches")) for _ in range(2)]
        for _ in first:
            await begun.acquire()
        refused, anthropics = await http.get("/v1/batches"), await http.get("/v1/messages/batches")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert refused.headers["retry-after"] and refused.headers["x-request-id"]
        assert anthropics.json()["error"]["type"] == "overloaded_error"
        assert (await http.get("/health")).status_code == 200
        go_on.set()
        assert [(await each).status_code for each in first] == [200, 200]
        assert (await http.get("/v1/batches")).status_code == 200, "those that have ended count no more"


async def test_a_body_that_ends_nowhere_gives_its_place_back(monkeypatch: Any) -> None:
    """And one that is read to its end may be answered as late as one likes."""
    monkeypatch.setattr(limits, "SILENT_S", 0.2)
    told: list[int] = []

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            while (await receive()).get("more_body"):
                pass
            with suppress(TimeoutError):
                await asyncio.wait_for(receive(), 0.5)
            told.append(200)
        except ApiError as error:
            told.append(error.status_code)

    async def asks(*blocks: bytes, ends: bool) -> None:
        bodies = [{"type": "http.request", "body": each, "more_body": True} for each in blocks]
        waiting = iter([*bodies, *([{"type": "http.request", "body": b"", "more_body": False}] if ends else [])])

        async def receive() -> Any:
            if (message := next(waiting, None)) is None:
                await asyncio.Event().wait()
            return message

        await places({"type": "http", "path": "/v1/files", "headers": []}, receive, _said)

    places = Limits(reading, 100, {})
    await asks(b"a", ends=True)
    await asks(b"a", b"b", ends=False)
    assert told == [200, 408] and places._open == 0


async def _said(message: Any) -> None: ...


async def test_one_client_leaves_places_for_others(monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "CLIENT_MOST", 2)
    go_on, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        client = scope["path"].removeprefix("/")
        try:
            limits.take_place(scope, client)
        except ApiError as error:
            await respond(error, scope)(scope, receive, send)
            return
        begun.release()
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    inside = httpx.ASGITransport(Limits(slow, 100, {}))
    async with httpx.AsyncClient(transport=inside, base_url="http://server") as http:
        first = [asyncio.create_task(http.get("/greedy")) for _ in range(2)]
        for _ in first:
            await begun.acquire()
        refused = await http.get("/greedy")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_requests")
        assert refused.headers["retry-after"]
        other = asyncio.create_task(http.get("/modest"))
        await begun.acquire()
        go_on.set()
        assert [(await each).status_code for each in [*first, other]] == [200] * 3
        assert (await http.get("/greedy")).status_code == 200, "those that have ended count no more"


async def test_whoever_is_known_takes_a_place_of_its_client_and_nobody_else_does() -> None:
    """In process, since a real server would have to be filled; that every endpoint asks who it is, test_tenants.py says."""
    settings, keys = parse_settings({"api": {"admin_key": ADMIN}}), wire.Keys()
    with redis_server() as url:
        async with connected(url) as redis:
            here: Any = SimpleNamespace(settings=settings, finder=Together(partial(clients.find_all, redis, keys)))
            key, _ = await clients.add(redis, keys, "acme")
            places = Limits(_nothing, 100, {})
            taken = []
            for given in (key, ADMIN, "nobody"):

                async def asked(scope: Scope, receive: Receive, send: Send, given: str = given) -> None:
                    request = Request({**scope, "headers": [(b"x-api-key", given.encode())]})
                    with suppress(ApiError):
                        await who(request, here)
                    taken.append(dict(places._of))

                places._app = asked
                async with httpx.AsyncClient(transport=httpx.ASGITransport(places), base_url="http://server") as http:
                    with suppress(AssertionError):  # nothing is answered
                        await http.get("/")
    assert [{name for name, count in each.items() if count} for each in taken] == [{"acme"}, {""}, set()]


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None: ...


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
