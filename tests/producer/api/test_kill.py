"""A server that is killed at any moment loses no batch and doubles none; workers that are killed neither; no notice is lost."""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support_hook import SECRET, receiver
from tests.support_program import CLOUD, GPU, Program, wait_until
from tests.support_redis import redis_server
from tests.support_serving import ADMIN, CHAT, Server, jsonl, line
from tests.support_team import team
from tests.support_upstream import Upstream

BATCHES, ROWS, KILLS = 6, 60, 5
MESSAGE_BATCHES, MESSAGES, NOTICES = 5, 20, 3
PATIENCE_S = 240
pytestmark = pytest.mark.timeout(600)
"""A server that is killed is started again, which takes its time on a busy machine."""
VERSION = {"anthropic-version": "2023-06-01"}


def test_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(5)
    gpu = {**GPU, "latency_ms": 60}
    with Upstream({"servers": {"gpu": gpu, "cloud": CLOUD}}) as upstream, redis_server() as redis_url:
        program = Program(tmp_path, upstream, api={"admin_key": ADMIN})
        with team(program, redis_url) as workers:
            server = Server(program, redis_url=redis_url)
            try:
                made = [_submit(server, number) for number in range(BATCHES)]
                for number in range(KILLS):
                    time.sleep(chance.uniform(0.05, 0.6))
                    server.kill()
                    if number == 1:
                        workers[1].kill()
                    server.start()
                for number, batch_id in enumerate(made):
                    _check(server, number, _ended(server, batch_id))
                assert len(_get(server, "/v1/batches?limit=100")["data"]) == BATCHES
            finally:
                server.stop()
        billed = upstream.bill("gpu")["calls"] + upstream.bill("cloud")["calls"]
        assert BATCHES * ROWS <= billed <= BATCHES * ROWS + gpu["slots"] + 64, (
            "at most what was in flight is paid twice"
        )
        runs = list((program.data / "runs").glob("*.json"))
        assert len(runs) == BATCHES, "one run for each batch"


def _submit(server: Server, number: int) -> str:
    lines = [line(f"b{number}-{row}", f"Name the colour of object {number * ROWS + row}.") for row in range(ROWS)]
    for each in lines:
        each["body"]["model"] = "qwen"
    with server.http() as http:
        file = http.post("/v1/files", files={"file": ("a.jsonl", jsonl(lines))}, data={"purpose": "batch"}).json()
        asked = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
        return str(http.post("/v1/batches", json=asked).json()["id"])


def _get(server: Server, path: str, headers: dict[str, str] | None = None) -> Any:
    with server.http() as http:
        return http.get(path, headers=headers).json()


def _ended(server: Server, batch_id: str) -> dict[str, Any]:
    until = time.monotonic() + PATIENCE_S
    while True:
        batch: dict[str, Any] = _get(server, f"/v1/batches/{batch_id}")
        if batch["status"] in ("completed", "failed", "expired", "cancelled"):
            return batch
        assert time.monotonic() < until, batch
        time.sleep(0.1)


def _check(server: Server, number: int, batch: dict[str, Any]) -> None:
    assert batch["status"] == "completed", batch
    assert batch["request_counts"] == {"total": ROWS, "completed": ROWS, "failed": 0}
    with server.http() as http:
        lines = http.get(f"/v1/files/{batch['output_file_id']}/content").text.splitlines()
    ids = [json.loads(each)["custom_id"] for each in lines]
    assert sorted(ids) == sorted(f"b{number}-{row}" for row in range(ROWS))


def test_a_form_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    with redis_server() as redis_url:
        server = Server(Program(tmp_path, api={"admin_key": ADMIN}), redis_url=redis_url)
        try:
            kind = {"content-type": "multipart/form-data; boundary=b", "authorization": f"Bearer {server.key()}"}
            head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n{}\n'
            reply = httpx.post(f"{server.url}/v1/files", content=head, headers=kind, trust_env=False)
            assert reply.status_code == 400 and "cut off" in reply.json()["error"]["message"]
            assert (
                not list((server.program.data / "files").glob("*"))
                if (server.program.data / "files").exists()
                else True
            )
            assert _get(server, "/v1/files")["data"] == []
        finally:
            server.stop()


def test_who_repeats_a_request_after_a_kill_gets_the_same_run(tmp_path: Path) -> None:
    """Requests with a key each, repeated until they are answered, while the server is killed again and again."""
    chance, bodies = random.Random(3), [{"prompts": [f"Name colour {n}-{i}." for i in range(5)]} for n in range(12)]
    with redis_server() as redis_url:
        server = Server(Program(tmp_path, api={"admin_key": ADMIN}), redis_url=redis_url)
        try:
            server.key()
            with ThreadPoolExecutor(len(bodies)) as pool:
                asked = [pool.submit(_until_answered, server, f"key {n}", body) for n, body in enumerate(bodies)]
                for _ in range(2):
                    time.sleep(chance.uniform(0.02, 0.3))
                    server.kill()
                    server.start()
                made = [each.result() for each in asked]
            again = [_until_answered(server, f"key {n}", body) for n, body in enumerate(bodies)]
            assert made == again and len(set(made)) == len(bodies)
            listed = [run["id"] for run in _get(server, "/v1/runs?limit=100")["data"]]
            assert sorted(listed) == sorted(made), "one run for each request"
        finally:
            server.stop()


def _until_answered(
    server: Server, key: str, body: dict[str, Any], path: str = "/v1/runs", headers: dict[str, str] | None = None
) -> str:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            with server.http() as http:
                reply = http.post(path, json=body, headers={"Idempotency-Key": key, **(headers or {})})
        except httpx.TransportError:
            reply = None
        if reply is not None and reply.status_code == 200:
            return str(reply.json()["id"])
        assert reply is None or reply.status_code in (409, 503), reply.text
        time.sleep(0.1)
    raise AssertionError("no answer")


def test_a_message_batch_that_is_repeated_after_kills_is_one_batch_and_one_run(tmp_path: Path) -> None:
    chance = random.Random(7)
    with Upstream({"servers": {"gpu": GPU}}) as upstream, redis_server() as redis_url:
        program = Program(tmp_path, upstream, api={"admin_key": ADMIN})
        with team(program, redis_url, lanes=1):
            server = Server(program, redis_url=redis_url)
            try:
                server.key()
                with ThreadPoolExecutor(MESSAGE_BATCHES) as pool:
                    asked = [pool.submit(_message_batch, server, number) for number in range(MESSAGE_BATCHES)]
                    for _ in range(KILLS):
                        time.sleep(chance.uniform(0.02, 0.5))
                        server.kill()
                        server.start()
                    made = [each.result() for each in asked]
                assert made == [_message_batch(server, number) for number in range(MESSAGE_BATCHES)]
                for number, batch_id in enumerate(made):
                    _check_messages(server, number, batch_id)
                listed = _get(server, "/v1/messages/batches?limit=100", VERSION)["data"]
                assert sorted(each["id"] for each in listed) == sorted(made), "one batch for each request"
            finally:
                server.stop()
        assert len(list((program.data / "runs").glob("*.json"))) == MESSAGE_BATCHES, "one run for each batch"
        assert upstream.bill("gpu")["calls"] == MESSAGE_BATCHES * MESSAGES, "no server's death pays twice"


def _message_batch(server: Server, number: int) -> str:
    """The id, asked for with the same key until somebody answers."""
    messages = [[{"role": "user", "content": f"Name the colour of message {number}-{row}."}] for row in range(MESSAGES)]
    requests = [
        {"custom_id": f"m{number}-{row}", "params": {"model": "qwen", "max_tokens": 20, "messages": each}}
        for row, each in enumerate(messages)
    ]
    return _until_answered(
        server, f"messages {number}", {"requests": requests}, path="/v1/messages/batches", headers=VERSION
    )


def _check_messages(server: Server, number: int, batch_id: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while (batch := _get(server, f"/v1/messages/batches/{batch_id}", VERSION))["processing_status"] != "ended":
        assert time.monotonic() < until, batch
        time.sleep(0.1)
    assert batch["request_counts"]["succeeded"] == MESSAGES, batch
    with server.http() as http:
        lines = http.get(f"/v1/messages/batches/{batch_id}/results", headers=VERSION).text.splitlines()
    assert sorted(json.loads(each)["custom_id"] for each in lines) == sorted(
        f"m{number}-{row}" for row in range(MESSAGES)
    )


def test_a_webhook_that_is_owed_is_sent_whoever_dies_and_at_most_twice(tmp_path: Path) -> None:
    """The server is killed from each batch's creation to its end; then a worker, with a notice on its way."""
    with receiver() as hook, Upstream({"servers": {"gpu": GPU}}) as upstream, redis_server() as redis_url:
        acme = {"webhook": hook.url, "webhook_secret": SECRET}
        program = Program(tmp_path, upstream, api={"admin_key": ADMIN}, clients={"acme": acme})
        with team(program, redis_url, lanes=1) as workers:
            server = Server(program, redis_url=redis_url)
            chance, made = random.Random(11), set()
            try:
                for number in range(NOTICES):
                    made.add(_submit(server, number))
                    time.sleep(chance.uniform(0.0, 0.3))
                    server.kill()
                    server.start()
                for batch_id in made:
                    _ended(server, batch_id)
            finally:
                server.stop()
            wait_until(lambda: hook.told(made) == made, PATIENCE_S)
            hook.holds.set()  # from now on a notice is heard and its sender hears nothing
            server.start()
            try:
                last = _submit(server, NOTICES)
                wait_until(lambda: last in hook.told({last}), PATIENCE_S)
            finally:
                server.kill()
            for worker in workers:
                worker.kill()
                worker.wait()
            hook.holds.clear()
        with team(program, redis_url, lanes=1):
            wait_until(lambda: hook.heard[last] == 2, PATIENCE_S)
    assert set(hook.heard) == {*made, last}
    assert max(hook.heard.values()) <= 2, hook.heard
