"""A POST that is sent twice: with an Idempotency-Key one object, and without it a line in the log; for all that make something."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from redis import Redis

from pipelines import wire
from producer.api.likely import Likely
from producer.queue import connected
from tests.producer.api.test_runs import fresh
from tests.support_program import Program, wait_until
from tests.support_redis import redis_server
from tests.support_serving import ADMIN, CHAT, Server, jsonl, line, put, serving

Send = Callable[[httpx.Client, str, dict[str, str]], httpx.Response]
"""Asks for the thing that a text names; the headers are the request's own."""
NOW = {"x-spillway-wait-s": "0"}


def _file(http: httpx.Client, text: str, headers: dict[str, str]) -> httpx.Response:
    form = {"file": ("a.jsonl", jsonl([line("a", text)])), "purpose": (None, "batch")}
    return http.post("/v1/files", files=form, headers=headers)


def _batch(http: httpx.Client, text: str, headers: dict[str, str]) -> httpx.Response:
    asked = {"input_file_id": "file-none", "endpoint": CHAT, "completion_window": "24h", "metadata": {"text": text}}
    return http.post("/v1/batches", json=asked, headers=headers)


def _run(http: httpx.Client, text: str, headers: dict[str, str]) -> httpx.Response:
    return http.post("/v1/runs", json={"prompts": [text]}, headers=headers)


def _form(http: httpx.Client, text: str, headers: dict[str, str]) -> httpx.Response:
    form = {"file": ("a.jsonl", jsonl([{"prompt": text}])), "options": (None, "{}")}
    return http.post("/v1/runs", files=form, headers=headers)


def _messages(http: httpx.Client, text: str, headers: dict[str, str]) -> httpx.Response:
    params = {"model": "gpt-4o-mini", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}
    asked = {"requests": [{"custom_id": "a", "params": params}]}
    return http.post("/v1/messages/batches", json=asked, headers={"anthropic-version": "2023-06-01", **headers})


def _chat(http: httpx.Client, text: str, headers: dict[str, str]) -> httpx.Response:
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}]}
    return http.post(CHAT, json=asked, headers={**NOW, **headers})


def _response(http: httpx.Client, text: str, headers: dict[str, str]) -> httpx.Response:
    return http.post("/v1/responses", json={"model": "gpt-4o-mini", "input": text}, headers={**NOW, **headers})


POSTS: dict[str, Send] = {
    "file": _file, "batch": _batch, "run": _run, "form": _form, "messages": _messages, "chat": _chat,
    "response": _response,
}  # fmt: skip
every = pytest.mark.parametrize("send", POSTS.values(), ids=POSTS)


def made(reply: httpx.Response) -> str:
    assert reply.status_code in (200, 202), reply.text
    return str(reply.json()["id"])


@every
def test_twenty_at_once_with_one_key_are_one(server: Server, send: Send) -> None:
    text, key = fresh(1)[0], {"idempotency-key": f"k {time.time_ns()}"}
    with server.http("twenty") as http, ThreadPoolExecutor(20) as pool:
        assert len({made(each) for each in pool.map(lambda _: send(http, text, key), range(20))}) == 1


@every
def test_a_key_that_comes_with_another_body_is_refused_and_nothing_of_it_is_kept(server: Server, send: Send) -> None:
    texts, key = fresh(2), {"idempotency-key": f"k {time.time_ns()}"}

    def kept() -> set[Path]:
        return set((server.program.data / "files").glob("*"))

    with server.http("keyed") as http:
        first, before = made(send(http, texts[0], key)), kept()
        refused = send(http, texts[1], key)
        assert refused.status_code == 400, refused.text
        error = refused.json()["error"]
        assert "another body" in error["message"]
        if send is not _messages:
            assert (error["code"], error["param"]) == ("idempotency_key_reused", "Idempotency-Key")
        assert made(send(http, texts[0], key)) == first
        assert kept() - before == set()
        with server.http("another") as theirs:
            assert made(send(theirs, texts[1], key)) != first, "a key is its client's own"


@every
def test_the_same_body_within_a_minute_is_told_in_the_log_once(server: Server, send: Send) -> None:
    def told(name: str) -> list[str]:
        return [each for each in server.said if f"likely a duplicate of {name};" in each]

    text, other = fresh(2)
    with server.http("twice") as http:
        key = {"idempotency-key": f"k {time.time_ns()}"}
        named = made(send(http, other, key))
        assert made(send(http, other, key)) == named
        first, *again = [made(send(http, text, {})) for _ in range(3)]
        assert first not in again and len(set(again)) == 2, "they are not merged"
        wait_until(lambda: told(first))
        (said,) = told(first)
        assert again[0] in said and "by twice" in said, "the second one; the third adds nothing"
        with server.http("somebody") as theirs:
            made(send(theirs, text, {}))
            again = [made(send(theirs, text, {}))]
        wait_until(lambda: [each for each in server.said if again[0] in each])
        assert len(told(first)) == 1, "others may say the same"
        assert not told(named), "who has a key knows"


async def test_what_is_told_is_the_same_for_all_servers_and_ends_with_the_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.api.likely.LIKELY_S", 1)
    with redis_server() as url:
        async with connected(url) as redis:
            one, other = (Likely(redis, wire.Keys()) for _ in range(2))
            one.note("acme", "/v1/runs", "d", "first")
            await one.tell()
            other.note("acme", "/v1/runs", "d", "second")
            other.note("acme", "/v1/files", "d", "a file")
            await other.tell()
            assert [each.message.split(";")[0] for each in caplog.records] == [
                "/v1/runs second by acme: likely a duplicate of first"
            ]
            while await redis.keys("*"):  # type: ignore[misc]
                pass
            one.note("acme", "/v1/runs", "d", "third")
            await one.tell()
            assert len(caplog.records) == 1
        one.note("acme", "/v1/runs", "d", "fourth")
    await one.tell()  # Redis is gone
    assert "is not known" in caplog.records[-1].message


def test_an_id_that_a_dead_server_reserved_is_made_by_the_next_try(tmp_path: Path) -> None:
    """What it leaves: the reservation, and nothing that is known under it."""
    gpu = {"gpu": {"kind": "lmstudio", "base_url": "http://127.0.0.1:9/v1", "model": "gpt-4o-mini"}}
    key = {"idempotency-key": "k"}
    with redis_server() as url, Redis.from_url(url, decode_responses=True) as redis:
        program = Program(tmp_path, targets=gpu, api={"admin_key": ADMIN})
        with serving(program, redis_url=url) as server, server.http() as http:
            reserved = made(_file(http, "x", key))
            redis.delete(wire.Keys().api_file(reserved))
            redis.delete(wire.Keys().api_files("acme"))
            before = http.get(f"/v1/files/{reserved}")
            assert before.status_code == 404
            (program.data / f"files/{reserved}.jsonl").unlink()
            assert made(_file(http, "x", key)) == reserved
            assert http.get(f"/v1/files/{reserved}/content").content == jsonl([line("a", "x")])
            assert [path.name for path in (program.data / "files").iterdir()] == [f"{reserved}.jsonl"]


def test_who_was_refused_need_not_wait_to_be_told_again(tmp_path: Path) -> None:
    gpu = {"gpu": {"kind": "lmstudio", "base_url": "http://127.0.0.1:9/v1", "model": "gpt-4o-mini"}}
    clients = {"acme": {"quota": {"rows_per_day": 1}}}
    key = {"idempotency-key": "k"}
    program = Program(tmp_path, targets=gpu, clients=clients, api={"admin_key": ADMIN})
    with serving(program) as server, server.http() as http, ThreadPoolExecutor(4) as pool:
        made(_chat(http, "first", {}))
        since = time.monotonic()
        assert {_chat(http, "second", key).status_code for _ in range(2)} == {429}
        at_once = {each.status_code for each in pool.map(lambda _: _chat(http, "second", key), range(4))}
        assert at_once == {429}, "those that wait for the first one are told too"
        assert time.monotonic() - since < 8, "the patience with a request that is being served is 10 s"


def test_a_file_of_another_name_is_another_body(server: Server) -> None:
    key = {"Idempotency-Key": f"k {time.time_ns()}"}
    with server.openai("keyed") as client, server.http("keyed") as http:
        content = jsonl([line("a", fresh(1)[0])])
        first = put(client, content, extra_headers=key)
        form = {"file": ("other.jsonl", content), "purpose": (None, "batch")}
        refused = http.post("/v1/files", files=form, headers=key)
        assert refused.status_code == 400 and refused.json()["error"]["code"] == "idempotency_key_reused"
        form = {"file": ("input.jsonl", content), "purpose": (None, "batch")}
        assert made(http.post("/v1/files", files=form, headers=key)) == first.id, "the order of a form says nothing"
