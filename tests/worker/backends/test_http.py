"""What a network can do to a call, against real sockets, under both event loops."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.types import Failure
from tests.support_net import free_port
from tests.worker.backends.server import CLOSE, RESET, Play, Scripted, answer
from worker.backends.exchange import MAX_BYTES, Response, is_loopback, origin
from worker.backends.hot import Hot
from worker.backends.http import Web

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LOST: dict[str, Play] = {
    "closed before an answer": [CLOSE],
    "reset before an answer": [RESET],
    "torn head": [b"HTTP/1.1 200 OK\r\ncontent-le", CLOSE],
    "torn body": [HEAD + b"half", CLOSE],
    "reset in the body": [HEAD + b"half", 0.02, RESET],
    "torn chunks": [CHUNKED + b"4\r\nhalf\r\n", CLOSE],
    "no HTTP at all": [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 0.02, CLOSE],
}
SLOW: dict[str, Play] = {
    "silence": [30.0],
    "slow head": [step for i in range(100) for step in (b"HTTP/1.1 200 OK\r\n" if not i else b"x: y\r\n", 0.05)],
    "slow body": [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n",
        *[step for _ in range(100) for step in (b"x", 0.05)],
    ],
}


@pytest.fixture
async def hot() -> AsyncIterator[Hot]:
    client = Hot()
    yield client
    await client.close()


async def post(hot: Hot, url: str, timeout_s: float = 5.0, **more: Any) -> Response | Failure:
    return await hot.post(
        f"{url}/v1/x", {"content-type": "application/json", "x-key": "k"}, b'{"a":1}', timeout_s, **more
    )


async def test_an_answer_arrives_whole_with_lower_case_headers(hot: Hot) -> None:
    async with Scripted(answer(418, b"short and stout", {"X-Request-Id": "7"})) as server:
        response = await post(hot, server.url)
    assert isinstance(response, Response)
    assert (response.status, response.body) == (418, b"short and stout")
    assert response.headers.get("x-request-id") == "7"
    assert response.headers.get("absent") is None
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/v1/x", b'{"a":1}')
    assert request.headers["x-key"] == "k"
    assert "accept-encoding" not in request.headers
    assert "referer" not in request.headers


async def test_chunked_answers_are_joined(hot: Hot) -> None:
    async with Scripted([CHUNKED + b"3\r\nabc\r\n", 0.01, b"2\r\nde\r\n0\r\n\r\n"]) as server:
        response = await post(hot, server.url)
    assert isinstance(response, Response)
    assert response.body == b"abcde"


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_what_a_proxy_compressed_unasked_is_read(hot: Hot, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    headers = {"content-encoding": encoding}
    async with Scripted(answer(200, pack(b"x" * 5_000), headers), answer(200, b"plain", headers)) as server:
        response, plain = await post(hot, server.url, max_bytes=5_000), await post(hot, server.url)
    assert isinstance(response, Response)
    assert response.body == b"x" * 5_000
    assert isinstance(plain, Response), "a server that only says so"
    assert plain.body == b"plain"


async def test_a_small_answer_that_unpacks_to_a_large_one_is_too_large(hot: Hot) -> None:
    async with Scripted(answer(200, gzip.compress(b"x" * 5_000), {"content-encoding": "gzip"})) as server:
        failure = await post(hot, server.url, max_bytes=4_999)
    assert isinstance(failure, Failure)
    assert failure.code == "response_too_large"


@pytest.mark.parametrize("name", ["content-encoding", "x-request-id"])
async def test_a_header_that_is_no_text_is_as_if_it_were_not_there(hot: Hot, name: str) -> None:
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n%s: \xff\r\n\r\nwell" % name.encode()
    async with Scripted([raw]) as server:
        response = await post(hot, server.url)
    assert isinstance(response, Response)
    assert (response.body, response.headers.get(name)) == (b"well", None)


@pytest.mark.parametrize("play", LOST.values(), ids=LOST.keys())
async def test_what_was_sent_and_not_answered_may_be_paid(hot: Hot, play: Play) -> None:
    async with Scripted(play) as server:
        failure = await post(hot, server.url)
        assert isinstance(failure, Failure)
        assert (failure.kind, failure.code) == ("unknown", "connection_lost")
        assert len(server.requests) == 1, "a lost call is never sent twice"


@pytest.mark.parametrize("play", SLOW.values(), ids=SLOW.keys())
async def test_the_timeout_covers_everything_until_the_last_byte(hot: Hot, play: Play) -> None:
    async with Scripted(play) as server:
        began = asyncio.get_running_loop().time()
        failure = await post(hot, server.url, 0.3)
        took_s = asyncio.get_running_loop().time() - began
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.code) == ("unknown", "timeout")
    assert took_s < 1.5


async def test_nothing_was_sent_when_nobody_listens(hot: Hot) -> None:
    failure = await post(hot, f"http://127.0.0.1:{free_port()}")
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.code) == ("connect", "connect_failed")
    assert "refused" in failure.message


async def test_nothing_was_sent_when_a_name_is_unknown(hot: Hot) -> None:
    failure = await post(hot, "http://no-such-host.invalid")
    assert isinstance(failure, Failure)
    assert failure.kind == "connect"


@pytest.mark.parametrize(
    "greeting", [[CLOSE], [b"I do not speak TLS\r\n", CLOSE], [30.0]], ids=["closed", "plain", "mute"]
)
async def test_nothing_was_sent_when_tls_fails(hot: Hot, greeting: Play) -> None:
    async with Scripted([CLOSE], greeting=greeting) as server:
        failure = await post(hot, server.url.replace("http", "https"), connect_timeout_s=0.3)
    assert isinstance(failure, Failure)
    assert failure.kind == "connect"


async def test_connecting_may_not_use_up_the_whole_timeout(hot: Hot) -> None:
    """Else a timeout could not tell whether anything was sent."""
    async with Scripted([CLOSE], greeting=[30.0]) as server:
        failure = await post(hot, server.url.replace("http", "https"), 0.4, connect_timeout_s=60.0)
    assert isinstance(failure, Failure)
    assert failure.kind == "connect"


@pytest.mark.parametrize("goodbye", [CLOSE, RESET])
async def test_a_connection_closed_between_calls_costs_nothing(hot: Hot, goodbye: str) -> None:
    async with Scripted([*answer(200, b"{}"), 0.02, goodbye]) as server:
        for _ in range(4):
            assert isinstance(await post(hot, server.url), Response)
            await asyncio.sleep(0.06)
        assert (server.connections, len(server.requests)) == (4, 4)


async def test_connections_are_kept_and_reused(hot: Hot) -> None:
    async with Scripted(answer(200, b"{}")) as server:
        for _ in range(5):
            await asyncio.gather(*(post(hot, server.url) for _ in range(8)))
        assert server.connections <= 8
        assert len(server.requests) == 40


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
async def test_an_endless_answer_ends_at_the_limit(hot: Hot, chunked: bool) -> None:
    blob = b"x" * 65536
    head = CHUNKED if chunked else b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n"
    part = b"10000\r\n" + blob + b"\r\n" if chunked else blob
    async with Scripted([head, *[part] * 2000]) as server:
        failure = await post(hot, server.url, 20.0, max_bytes=1 << 20)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.code, failure.http_status) == ("unknown", "response_too_large", 200)


async def test_an_answer_of_just_the_limit_passes(hot: Hot) -> None:
    async with Scripted(answer(200, b"x" * 1000)) as server:
        assert isinstance(await post(hot, server.url, max_bytes=1000), Response)
        assert isinstance(await post(hot, server.url, max_bytes=999), Failure)
    assert MAX_BYTES == 32 * 1024 * 1024


async def test_redirects_and_cookies_are_not_followed(hot: Hot) -> None:
    headers = {"location": "/elsewhere", "set-cookie": "a=b"}
    async with Scripted(answer(302, b"", headers)) as server:
        first, second = await post(hot, server.url), await post(hot, server.url)
    assert isinstance(first, Response)
    assert isinstance(second, Response)
    assert (first.status, first.headers.get("location")) == (302, "/elsewhere")
    assert [request.path for request in server.requests] == ["/v1/x", "/v1/x"]
    assert "cookie" not in server.requests[1].headers


async def test_a_cancelled_call_lets_go_of_its_connection(hot: Hot) -> None:
    async with Scripted([5.0], answer(200, b"{}")) as server:
        call = asyncio.create_task(post(hot, server.url))
        await server.asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert isinstance(await post(hot, server.url), Response)


@pytest.mark.parametrize("bad", ["not an address", "http://[::1", "relative/path", "http://"])
async def test_a_bad_address_is_a_value(hot: Hot, bad: str) -> None:
    failure = await hot.post(bad, {}, b"", 1.0)
    assert isinstance(failure, Failure)
    assert failure.kind in ("invalid", "connect")


async def test_a_bad_header_is_a_value_and_stays_secret(hot: Hot) -> None:
    async with Scripted(answer(200, b"{}")) as server, Web() as web:
        headers = {"authorization": "Bearer sk-secret\nx"}
        failures = [await client.post(server.url, headers, b"", 1.0) for client in (hot, web)]
    for failure in failures:
        assert isinstance(failure, Failure)
        assert failure.kind == "invalid"
        assert "secret" not in failure.message


async def test_proxies_of_the_environment_serve_other_hosts_only(hot: Hot, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Scripted(answer(200, b"proxied")) as proxy, Scripted(answer(200, b"direct")) as server:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        fresh = Hot()
        far = await post(fresh, "http://gpu.example.com")
        near = await post(fresh, server.url)
        await fresh.close()
        async with Web() as web:
            far_web, near_web = await web.get("http://gpu.example.com/x"), await web.get(server.url)
    assert isinstance(far, Response)
    assert isinstance(near, Response)
    assert isinstance(far_web, Response)
    assert isinstance(near_web, Response)
    assert [far.body, near.body, far_web.body, near_web.body] == [b"proxied", b"direct", b"proxied", b"direct"]


async def test_small_requests_end_in_values_too() -> None:
    async with Web(0.3, max_bytes=10_000) as web:
        for play in [*LOST.values(), *SLOW.values(), answer(200, b"x" * 20_000)]:
            async with Scripted(play) as server:
                failure = await web.get(server.url)
                assert isinstance(failure, Failure)
                assert failure.kind == "unknown"
        refused = await web.get(f"http://127.0.0.1:{free_port()}/")
        assert isinstance(refused, Failure)
        assert refused.kind == "connect"


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://localhost:1234/v1", True), ("http://127.0.0.1/x", True), ("http://127.8.8.8/x", True),
        ("http://[::1]:8000/v1", True), ("http://gpu.localhost/", True), ("https://api.openai.com/v1", False),
        ("http://192.168.1.5/", False), ("http://localhost.example.com/", False), ("http://[::1", False),
    ],
)  # fmt: skip
def test_loopback_is_told_by_the_host(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


def test_messages_name_the_host_and_nothing_else_of_an_address() -> None:
    assert origin("https://user:pass@host.example:8443/v1/models?key=secret") == "host.example:8443"
    assert origin("https://host.example/v1") == "host.example"


EXIT = """
import asyncio, os, sys
from worker.backends.hot import Hot
async def main():
    hot = Hot()
    calls = [asyncio.ensure_future(hot.post(sys.argv[1], {}, b"{}", 5.0)) for _ in range(64)]
    await asyncio.sleep(float(sys.argv[2])) if sys.argv[2] != "all" else await asyncio.gather(*calls)
asyncio.run(main())
"""


@pytest.mark.parametrize("when", ["all", "0.001"])
async def test_a_program_ends_cleanly_right_after_its_last_call(when: str) -> None:
    """pyreqwest's thread outlives the event loop: without care the interpreter aborts at its end, mostly on one core."""
    one_core = "taskset -c 0 " if shutil.which("taskset") else ""
    async with Scripted(answer(200, b"{}")) as server:
        for _ in range(4):
            command = f"{one_core}{sys.executable} -c '{EXIT}' {server.url}/x {when}"
            done = await asyncio.create_subprocess_shell(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            )
            _, errors = await done.communicate()
            assert done.returncode == 0, errors.decode()[-500:]
