"""`spillway serve` as a program: it starts what it needs, ends what it started, and stays light."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from pipelines.settings import load_settings
from producer.api.app import create_app
from producer.api.errors import answer
from producer.api.meter import REQUESTS
from tests.support_net import free_port
from tests.support_program import CLOUD, Program, wait_until
from tests.support_serving import ADMIN, CHAT, Server, ended, jsonl, line, make, put, serving
from tests.support_upstream import ROOT, Upstream


def test_it_ends_its_redis_and_workers_and_knows_everything_when_it_comes_back(tmp_path: Path) -> None:
    api = {"admin_key": ADMIN}
    with Upstream({"servers": {"cloud": CLOUD}}) as upstream:
        program = Program(tmp_path, upstream, api=api)
        program.warm = False
        with serving(program, "--workers") as server:
            wait_until(lambda: any("no client has a key" in each for each in server.said))
            wait_until(lambda: len(program.workers()) >= 2)
            with server.openai() as client:
                done = ended(client, make(client, put(client, jsonl([line("a", "Name a metal.")])).id).id)
                assert done.status == "completed"
            assert server.peak_bytes() < 200 << 20
            keys = server.keys
            os.kill(program.workers()[0], signal.SIGKILL)
            wait_until(lambda: any("a worker ended" in each for each in server.said))
            with server.http(None) as http:
                assert http.get("/health").status_code == 200
        assert program.workers() == []
        assert not (program.data / "redis/redis.sock").exists(), "Redis went with its last user"
        with serving(program) as server:
            server.keys = keys
            with server.openai() as client:
                assert client.batches.retrieve(done.id) == done
                assert client.files.content(done.output_file_id or "").text


def test_requests_in_flight_end_before_it_does(tmp_path: Path) -> None:
    with serving(Program(tmp_path, api={"admin_key": ADMIN})) as server:
        server.key()

        def slowly() -> Any:
            head = '--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\n'
            yield (head + 'content-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n').encode()
            server.process.terminate()
            for _ in range(4):
                time.sleep(0.25)
                yield b'{"a": 1}\n'
            yield b"\r\n--b--\r\n"

        with server.http() as http:
            reply = http.post(
                "/v1/files", content=slowly(), headers={"content-type": "multipart/form-data; boundary=b"}
            )
        assert reply.status_code == 200 and reply.json()["bytes"] == 36


def test_who_waits_for_an_answer_when_it_ends_is_told_where_it_will_be(tmp_path: Path) -> None:
    """And is not cut off, however slow the answer is: official clients would ask it once more."""
    gpu = {"gpu": {"kind": "lmstudio", "base_url": "http://127.0.0.1:9/v1", "model": "gpt-4o-mini"}}
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]}
    with serving(Program(tmp_path, targets=gpu, api={"admin_key": ADMIN})) as server:
        server.key()

        def wait(_: int) -> httpx.Response:
            with server.http() as http:
                return http.post("/v1/chat/completions", json=asked)

        def accepted() -> int:
            return sum(len(each.read_bytes().splitlines()) for each in server.program.data.glob("inbox/*/*.jsonl"))

        with ThreadPoolExecutor(5) as pool:
            waiting = [pool.submit(wait, number) for number in range(5)]
            wait_until(lambda: accepted() == 5)
            server.process.terminate()
            for each in waiting:
                reply = each.result()
                assert (reply.status_code, reply.json()["error"]["code"]) == (504, "answer_pending"), reply.text
                assert "/v1/chat/completions/chatcmpl-" in reply.json()["error"]["message"]
                assert reply.headers["x-should-retry"] == "false"
    assert not [each for each in server.said if "Traceback" in each]


def test_it_takes_more_connections_than_a_process_usually_may(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        server = Server(Program(tmp_path, api={"admin_key": ADMIN}))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    host, port = server.url.removeprefix("http://").split(":")
    with ExitStack() as idle:
        for _ in range(400):
            idle.enter_context(socket.create_connection((host, int(port)), timeout=10))
        with server.http(None) as http:
            assert http.get("/health", timeout=10).status_code == 200
    assert server.stop() == 0


def test_an_address_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = Program(tmp_path).run("serve", "--port", port, code=1).stderr
    assert f"cannot listen on 127.0.0.1:{port}" in said.splitlines()[-1] and "Traceback" not in said


def test_a_redis_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    said = Program(tmp_path).run("serve", "--redis", f"redis://127.0.0.1:{free_port()}", code=None).stderr
    assert "cannot reach Redis" in said and "Traceback" not in said


def test_the_server_loads_nothing_heavy() -> None:
    heavy = ("torch", "faiss", "polars", "sentence_transformers", "tiktoken", "numpy", "pyarrow")
    code = f"import sys, producer.cli.serve, producer.api.server; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_an_error_of_ours_has_an_id_and_is_counted_like_every_reply() -> None:
    app = create_app(load_settings(None, environ={}, env_file=None), "redis://127.0.0.1:9")
    inside = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=inside, base_url="http://server") as http:
        reply = await http.get("/health")  # of a server that was never opened
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
    assert reply.headers["x-request-id"].startswith("req_")
    labels = {"method": "GET", "path": "/health", "status": "500"}
    assert REQUESTS.get_sample_value("spillway_http_requests_total", labels) == 1


async def test_an_error_of_ours_is_logged_without_the_key_of_who_asked(caplog: pytest.LogCaptureFixture) -> None:
    headers = [(b"authorization", b"Bearer sw-not-for-the-log"), (b"x-api-key", b"sw-not-for-the-log")]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers, "query_string": b""}
    request = Request({**scope, "server": ("server", 80), "scheme": "http"})
    assert (await answer(request, ZeroDivisionError())).status_code == 500
    assert "POST /v1/chat/completions failed" in caplog.text and "not-for-the-log" not in caplog.text


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server as it is without any setting, and nobody who works."""
    with serving(Program(tmp_path_factory.mktemp("alone"), api={"admin_key": ADMIN})) as found:
        yield found


ODD = ["", "\x00", "../../x", "a" * 5000, "é", "\ud800", "{}", "%00", "batch_" + "g" * 32, "0", "-1", "null", "a\nb"]


def test_nothing_that_is_sent_is_an_internal_error(alone: Any) -> None:
    """Odd ids, queries and bodies against every path of the description."""
    with alone.http() as http, alone.http(None) as boss:
        boss.headers["x-api-key"] = ADMIN
        paths = http.get("/openapi.json").json()["paths"]
        assert {"/v1/files", "/v1/files/{file_id}/content", "/v1/batches/{batch_id}/cancel", "/health"} <= set(paths)
        bodies: list[Any] = [
            b"", b"[]", b"null", b"\xff\xfe", b"{", b'{"a": ' * 2000, b'{"metadata": "\\ud800"}',
            *(json.dumps({"input_file_id": each, "endpoint": CHAT, "completion_window": "24h", "name": each,
                          "metadata": {each: each}}).encode() for each in ODD),
        ]  # fmt: skip
        for path, methods in paths.items():
            for method in methods:
                for number, odd in enumerate(ODD):
                    url = "/".join(_quoted(odd) if part.startswith("{") else part for part in path.split("/"))
                    query = {"limit": odd, "after": odd, "order": odd, "purpose": odd} if number % 2 else {"after": odd}
                    asking = (http, boss)[number // 2 % 2]
                    reply = asking.request(
                        method,
                        url,
                        params={name: value.encode("utf-8", "replace").decode() for name, value in query.items()},
                        content=bodies[number % len(bodies)] if method == "post" else None,
                        headers={"content-type": "application/json", "anthropic-version": "2023-06-01", "idempotency-key": odd.encode("utf-8", "replace")
                                 if odd.isprintable() else "k"},
                    )  # fmt: skip
                    assert reply.status_code < 500, (method, url, reply.text)
                    if reply.status_code >= 400:
                        anthropics = path.startswith("/v1/messages")
                        wanted = {"message", "type"} if anthropics else {"message", "type", "param", "code"}
                        assert set(reply.json()["error"]) == wanted
        for body in bodies:
            assert http.post("/v1/batches", content=body).status_code < 500
            versioned = {"anthropic-version": "2023-06-01"}
            assert http.post("/v1/messages/batches", content=body, headers=versioned).status_code == 400
            assert (
                boss.post("/v1/clients", content=body, headers={"content-type": "application/json"}).status_code < 500
            )


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text.encode("utf-8", "replace"), safe="")


FORMS = [
    b"", b"--b", b"--b\r\n\r\n\r\n--b--", b"--b\r\ncontent-disposition: x\r\n\r\n{}\r\n--b--\r\n", b"\x00" * 100,
    b"--b\r\n" + b"a" * 9000 + b": b\r\n\r\n{}\r\n--b--\r\n",
    b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n{}\r\n--b--\r\n',
    b'--b\r\ncontent-disposition: form-data; name="other"; filename="a"\r\n\r\n{}\r\n--b--\r\n',
    (b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n{}\r\n' * 2) + b"--b--\r\n",
    b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n' + b"x" * 9000 + b"\r\n--b--\r\n",
    b"".join(b'--b\r\ncontent-disposition: form-data; name="f%d"\r\n\r\n1\r\n' % i for i in range(50)) + b"--b--\r\n",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
def test_a_form_that_is_not_in_order_is_a_400(alone: Any, form: bytes) -> None:
    with alone.http() as http:
        for kind in (
            "multipart/form-data; boundary=b",
            "multipart/form-data",
            "text/plain",
            "multipart/form-data; boundary=",
        ):
            reply = http.post("/v1/files", content=form, headers={"content-type": kind})
            assert reply.status_code == 400, reply.text
    folder = alone.program.data / "files"
    assert not folder.exists() or not [each for each in folder.iterdir() if each.stat().st_size != 2]


@pytest.mark.parametrize("window", ["1h", "48h", "", "2d", "24H", "1d"])
def test_only_openais_window_is_taken_without_the_setting(alone: Any, window: str) -> None:
    with alone.http() as http:
        asked = {"input_file_id": "file-x", "endpoint": CHAT, "completion_window": window}
        reply = http.post("/v1/batches", json=asked)
        assert reply.status_code == 400 and "completion_window" in reply.json()["error"]["message"]


READERS = ("/v1/batches", "/v1/chat/completions", "/v1/runs", "/v1/messages/batches", "/v1/files")


@pytest.mark.parametrize("path", READERS)
def test_who_hangs_up_in_the_middle_of_a_body_is_no_error_of_ours(alone: Any, path: str) -> None:
    address = ("127.0.0.1", int(alone.url.rpartition(":")[2]))
    kind = "multipart/form-data; boundary=b" if path == "/v1/files" else "application/json"
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {alone.key()}\r\nanthropic-version: 2023-06-01\r\n"
        f"content-type: {kind}\r\ncontent-length: 100\r\n\r\n--b\r\n"
    )
    before, said = _told(alone, path), len(alone.said)
    with socket.create_connection(address) as client:
        client.sendall(head.encode())
    wait_until(lambda: _told(alone, path) > before or len(alone.said) > said)
    assert alone.said[said:] == []


def _told(server: Any, path: str) -> float:
    """How many requests to `path` were told 400."""
    with server.http(None) as http:
        text = http.get("/metrics", headers={"x-api-key": ADMIN}).text
    wanted = f'spillway_http_requests_total{{method="POST",path="{path}",status="400"}} '
    return float(next((line.removeprefix(wanted) for line in text.splitlines() if line.startswith(wanted)), "0"))
