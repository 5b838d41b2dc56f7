"""Anthropic's Message Batches with the official client, sync and async, over the same queue and real workers."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types.messages import MessageBatch

from tests.support_serving import Server, make, put

HEADERS = {"anthropic-version": "2023-06-01"}


@pytest.fixture
def sync(server: Server) -> Iterator[Callable[..., Anthropic]]:
    """The official client of a name, closed at the end."""
    with ExitStack() as stack:
        yield lambda name="acme": stack.enter_context(
            Anthropic(base_url=server.url, api_key=server.key(name), max_retries=0)
        )


def asked(custom_id: str, prompt: str, **params: Any) -> Any:
    given = {"model": "gpt-4o-mini", "max_tokens": 64, "messages": [{"role": "user", "content": prompt}], **params}
    return {"custom_id": custom_id, "params": given}


def ended(client: Anthropic, batch_id: str, seconds: float = 90) -> MessageBatch:
    until = time.monotonic() + seconds
    while (batch := client.messages.batches.retrieve(batch_id)).processing_status != "ended":
        assert time.monotonic() < until, batch
        assert batch.request_counts.succeeded == 0 and batch.results_url is None
        time.sleep(0.05)
    return batch


def results(client: Anthropic, batch_id: str) -> dict[str, Any]:
    return {each.custom_id: each.result for each in client.messages.batches.results(batch_id)}


def test_a_batch_from_its_creation_to_its_results(server: Server, sync: Callable[..., Anthropic]) -> None:
    client = sync()
    made = client.messages.batches.create(
        requests=[
            asked("good", "one question"), asked("refused-by-server", "REFUSE this"),
            asked("unknown-model", "x", model="no-such-model"), asked("thinks", "x", thinking={"type": "enabled", "budget_tokens": 1024}),
            asked("no-tokens", "x", max_tokens=0),
        ]
    )  # fmt: skip
    assert (made.type, made.processing_status, made.request_counts.processing) == ("message_batch", "in_progress", 5)
    assert made.id.startswith("msgbatch_") and (made.expires_at - made.created_at).total_seconds() == 86_400
    batch = ended(client, made.id)
    counts = batch.request_counts
    assert (counts.processing, counts.succeeded, counts.errored, counts.canceled, counts.expired) == (0, 1, 4, 0, 0)
    assert batch.ended_at is not None and batch.results_url == f"{server.url}/v1/messages/batches/{made.id}/results"
    found = results(client, made.id)
    assert set(found) == {"good", "refused-by-server", "unknown-model", "thinks", "no-tokens"}
    message = found["good"].message
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    assert message.content[0].text and message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    errors = {name: (one.error.error.type, one.error.error.message) for name, one in found.items() if name != "good"}
    assert errors["unknown-model"] == ("not_found_error", "model: no-such-model")
    assert errors["thinks"][0] == "invalid_request_error" and "thinking" in errors["thinks"][1]
    assert errors["no-tokens"][1].startswith("max_tokens:")
    assert errors["refused-by-server"][0] == "invalid_request_error"
    assert client.messages.batches.delete(made.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(made.id)


def test_everything_a_request_may_hold_reaches_the_server(sync: Callable[..., Anthropic]) -> None:
    """Turns, images, tools and their results, a system prompt: what the upstream billed shows that it was asked."""
    client = sync()
    pixel = base64.b64encode(b"\x89PNG").decode()
    rich = asked(
        "rich", "", system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        stop_sequences=["END"], temperature=0.0, top_p=0.9, metadata={"user_id": "u-1"},
        tools=[{"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        messages=[
            {"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": pixel}},
                {"type": "text", "text": "What is this?"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {"at": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a pixel"},
                                         {"type": "text", "text": "Go on."}]},
        ],
    )  # fmt: skip
    made = client.messages.batches.create(requests=[rich])
    assert ended(client, made.id).request_counts.succeeded == 1
    assert results(client, made.id)["rich"].message.content


async def test_the_async_client(server: Server) -> None:
    import asyncio

    async with AsyncAnthropic(base_url=server.url, api_key=server.key(), max_retries=0) as client:
        made = await client.messages.batches.create(requests=[asked(f"r{n}", f"async {n}") for n in range(3)])
        async with asyncio.timeout(90):
            while (await client.messages.batches.retrieve(made.id)).processing_status != "ended":
                await asyncio.sleep(0.05)
        found = [each async for each in await client.messages.batches.results(made.id)]
        assert {each.custom_id for each in found} == {"r0", "r1", "r2"}
        assert all(each.result.type == "succeeded" for each in found)
        assert (await client.messages.batches.list(limit=1)).data[0].id == made.id
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.batches.cancel(made.id)


def test_a_cancelled_batch_keeps_what_was_answered(sync: Callable[..., Anthropic], upstream: Any) -> None:
    client = sync("canceller")
    for name in ("gpu", "cloud"):
        upstream.control(name, latency_ms=60_000)
    try:
        made = client.messages.batches.create(requests=[asked(f"r{n}", f"slow {n}") for n in range(4)])
        cancelled = client.messages.batches.cancel(made.id)
        assert cancelled.processing_status == "canceling" and cancelled.cancel_initiated_at is not None
        with pytest.raises(anthropic.BadRequestError, match="cancel it before"):
            client.messages.batches.delete(made.id)
    finally:
        for name in ("gpu", "cloud"):
            upstream.control(name, latency_ms=20)
    batch = ended(client, made.id)
    counts = batch.request_counts
    assert counts.canceled > 0 and counts.canceled + counts.succeeded == 4
    kinds = [one.type for one in results(client, made.id).values()]
    assert kinds.count("canceled") == counts.canceled and len(kinds) == 4


def test_lists_go_both_ways_and_are_apart_from_openais(server: Server, sync: Callable[..., Anthropic]) -> None:
    client = sync("lister")
    ids = [client.messages.batches.create(requests=[asked("a", f"list {n}")]).id for n in range(5)]
    newest = ids[::-1]
    assert [each.id for each in client.messages.batches.list(limit=2)] == newest, "automatic paging, newest first"
    page = client.messages.batches.list(before_id=newest[3], limit=2)
    assert ([each.id for each in page.data], page.has_more) == (newest[1:3], True)
    assert [each.id for each in client.messages.batches.list(after_id=newest[3]).data] == newest[4:]
    with server.openai("lister") as openai:
        assert list(openai.batches.list()) == [] and list(openai.files.list()) == []
        batch = make(openai, put(openai, b'{"custom_id": "a"}\n').id)
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(batch.id)
    with server.http("lister") as http:
        assert http.get(f"/v1/batches/{newest[0]}").status_code == 404
    other = sync("nosy")
    assert list(other.messages.batches.list()) == []
    for call in (other.messages.batches.retrieve, other.messages.batches.cancel, other.messages.batches.delete):
        with pytest.raises(anthropic.NotFoundError):
            call(ids[0])
    with server.http("nosy") as http:
        assert http.get(f"/v1/messages/batches/{ids[0]}/results", headers=HEADERS).status_code == 404


WRONG: list[tuple[Any, str]] = [
    (b"{", "JSON"), (b"[]", "requests"), (b"null", "requests"), ({"requests": []}, "requests"), ({"requests": {}}, "requests"),
    ({"requests": [1]}, "requests.0"), ({"requests": [{"params": {}}]}, "requests.0.custom_id"),
    ({"requests": [{"custom_id": "a"}]}, "requests.0.params"), ({"requests": [asked("a b", "x")]}, "requests.0.custom_id"),
    ({"requests": [asked("a", "x"), asked("a", "y")]}, "requests.1.custom_id"),
    ({"requests": [{**asked("a", "x"), "more": 1}]}, "requests.0.more"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "said"), WRONG, ids=range(len(WRONG)))
def test_what_is_no_list_of_requests_is_refused_in_anthropics_shape(server: Server, body: Any, said: str) -> None:
    with server.http() as http:
        given: Any = {"content": body} if isinstance(body, bytes) else {"json": body}
        reply = http.post("/v1/messages/batches", headers=HEADERS, **given)
        assert reply.status_code == 400, reply.text
        told = reply.json()
        assert told["type"] == "error" and told["error"]["type"] == "invalid_request_error"
        assert said in told["error"]["message"]


def test_keys_and_versions_are_asked_for(server: Server) -> None:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http:
        reply = http.get("/v1/messages/batches", headers=HEADERS)
        assert (reply.status_code, reply.json()["error"]["type"]) == (401, "authentication_error")
        key = {"x-api-key": server.key()}
        assert http.get("/v1/messages/batches", headers={**key, **HEADERS}).status_code == 200
        reply = http.get("/v1/messages/batches", headers=key)
        assert reply.status_code == 400 and "anthropic-version" in reply.json()["error"]["message"]
        reply = http.get("/v1/messages/batches/x", headers={**key, **HEADERS})
        assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")
