"""Every reply that OpenAI's and Anthropic's own clients get from our server is what their vendors' published descriptions say.

The clients are driven through everything that there is here; the descriptions judge each reply as it came over the wire.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from tests.contracts.description import Description
from tests.producer.api.test_runs import fresh
from tests.support_serving import CHAT, Server, ended, jsonl, line, lines_of, make, put
from tests.support_upstream import Upstream

Reply = tuple[str, str, int, Any]
"""Method, path, status and body."""


@pytest.fixture(scope="module")
def of_openai() -> Description:
    return Description("openai", "/v1")


@pytest.fixture(scope="module")
def of_anthropic() -> Description:
    return Description("anthropic", "")


class Heard:
    """Every JSON reply that a client got."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []

    def keep(self, response: Any) -> None:
        if response.headers["content-type"] == "application/json":
            response.read()
            self._keep(response)

    async def akeep(self, response: Any) -> None:
        if response.headers["content-type"] == "application/json":
            await response.aread()
            self._keep(response)

    def _keep(self, response: Any) -> None:
        assert response.headers["x-request-id"]
        self.replies.append((response.request.method, response.url.path, response.status_code, response.json()))

    def judged_by(self, description: Description) -> set[str]:
        """The kinds of calls that were heard, all of them in order."""
        for method, path, status, body in self.replies:
            wrong = description.wrong(method, path, status, body)
            assert not wrong, (method, path, status, wrong, body)
        return {f"{method} {status}" for method, _, status, _ in self.replies}


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def client(server: Server, heard: Heard) -> Iterator[OpenAI]:
    hooks = {"response": [heard.keep]}
    with server.openai("judged", http_client=openai.DefaultHttpxClient(event_hooks=hooks)) as found:
        yield found


def asked(**more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": fresh(1)[0]}], **more}


def test_files_and_batches_in_all_their_states(
    client: OpenAI,
    heard: Heard,
    of_openai: Description,
    upstream: Upstream,
) -> None:
    lines = [line("a", fresh(1)[0]), line("b", "REFUSE this."), line("ü 漢字 \U0001f600", fresh(1)[0])]
    file = put(client, jsonl(lines), expires_after={"anchor": "created_at", "seconds": 2_592_000})
    batch = make(client, file.id, metadata={"k" * 64: "v" * 512, **{str(n): "" for n in range(15)}})
    done = ended(client, batch.id)
    assert done.status == "completed"
    for each in (client.files.list(limit=1), client.files.list(purpose="batch_output"), client.batches.list(limit=1)):
        assert each.data
    client.files.retrieve(done.output_file_id or "")
    out, wrong = lines_of(client, done.output_file_id), lines_of(client, done.error_file_id)
    assert {each["custom_id"] for each in out} == {"a", "ü 漢字 \U0001f600"}
    for each in out:
        assert not of_openai.mistakes("CreateChatCompletionResponse", each["response"]["body"])
    for each in wrong:
        assert not of_openai.mistakes("ErrorResponse", each["response"]["body"])
    for refused in (make(client, "file-none"), make(client, put(client, b"{}\n7\n").id)):
        assert ended(client, refused.id).errors is not None
    upstream.control("*", latency_ms=900)
    try:
        for window, stop in (("24h", True), ("4s", False)):
            many = jsonl([line(f"r{n}", each) for n, each in enumerate(fresh(400))])
            batch = make(client, put(client, many).id, completion_window=window)
            if stop:
                client.batches.cancel(batch.id)
            assert ended(client, batch.id).status == ("cancelled" if stop else "expired")
    finally:
        upstream.control("*", latency_ms=20)
    client.files.delete(done.error_file_id or "")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-spill-nobody").batches.list()
    for status, call in REFUSED:
        with pytest.raises(status):
            call(client)
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(done.id)
    assert heard.judged_by(of_openai) >= {"POST 200", "GET 200", "DELETE 200", "POST 400", "GET 404", "POST 409"}


REFUSED: list[tuple[type[openai.APIStatusError], Any]] = [
    (openai.BadRequestError, lambda client: put(client, b"")),
    (openai.BadRequestError, lambda client: client.files.create(file=("a", b"{}"), purpose="vision")),
    (openai.BadRequestError, lambda client: client.files.list(limit=0)),
    (openai.BadRequestError, lambda client: client.files.list(limit=10_001)),
    (openai.BadRequestError, lambda client: client.files.list(order="up")),
    (openai.BadRequestError, lambda client: client.files.list(after="5")),
    (openai.BadRequestError, lambda client: client.batches.list(limit=0)),
    (openai.BadRequestError, lambda client: client.batches.list(limit=101)),
    (openai.BadRequestError, lambda client: client.batches.list(after="20")),
    (openai.BadRequestError, lambda client: make(client, "file-x", endpoint="/v1/videos")),
    (openai.BadRequestError, lambda client: make(client, "file-x", completion_window="1y")),
    (openai.BadRequestError, lambda client: make(client, "file-x", metadata={"k" * 65: "v"})),
    (openai.NotFoundError, lambda client: client.files.retrieve("file-none")),
    (openai.NotFoundError, lambda client: client.files.content("file-none")),
    (openai.NotFoundError, lambda client: client.files.delete("file-none")),
    (openai.NotFoundError, lambda client: client.batches.retrieve("batch_none")),
    (openai.NotFoundError, lambda client: client.batches.cancel("batch_none")),
    (openai.NotFoundError, lambda client: client.models.retrieve("no-such-model")),
]  # fmt: skip


def test_what_there_is_to_know_of_models_and_answers(client: OpenAI, heard: Heard, of_openai: Description) -> None:
    (model, *_) = client.models.list()
    assert client.models.retrieve(model.id) == model
    answer = client.chat.completions.create(**asked())
    assert client.chat.completions.retrieve(answer.id).choices == answer.choices
    response = client.responses.create(model="gpt-4o-mini", input=fresh(1)[0])
    assert client.responses.retrieve(response.id).output_text == response.output_text
    for wrong in (asked(model="no-such-model"), asked(messages=[]), asked(temperature="hot")):
        with pytest.raises((openai.NotFoundError, openai.BadRequestError)):
            client.chat.completions.create(**wrong)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**asked(messages=[{"role": "user", "content": "REFUSE"}]))
    assert heard.judged_by(of_openai) >= {"POST 200", "GET 200"}


def test_streams_are_made_of_the_events_that_are_described(client: OpenAI, of_openai: Description) -> None:
    chunks = [each.to_dict() for each in client.chat.completions.create(**asked(), stream=True)]
    assert len(chunks) > 1
    for each in chunks:
        assert not of_openai.mistakes("CreateChatCompletionStreamResponse", each)
    events = [each.to_dict() for each in client.responses.create(model="gpt-4o-mini", input=fresh(1)[0], stream=True)]
    assert events[-1]["type"] == "response.completed"
    for each in events:
        assert not of_openai.mistakes_of_event("ResponseStreamEvent", each), each


async def test_the_asynchronous_clients_hear_the_same(
    server: Server,
    heard: Heard,
    of_openai: Description,
    of_anthropic: Description,
) -> None:
    hooks = {"response": [heard.akeep]}
    http = openai.DefaultAsyncHttpxClient(event_hooks=hooks)
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key=server.key("judged"), http_client=http) as client:
        file = await client.files.create(file=("a.jsonl", jsonl([line("a", fresh(1)[0])])), purpose="batch")
        assert await client.files.retrieve(file.id) == file == await client.files.wait_for_processing(file.id)
        batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        while (batch := await client.batches.retrieve(batch.id)).status != "completed":
            await asyncio.sleep(0.05)
        other = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        assert (await client.batches.cancel(other.id)).status in ("cancelling", "cancelled")
        content = await client.files.content(batch.output_file_id or "")
        assert [json.loads(each)["custom_id"] async for each in await content.aiter_lines()] == ["a"]
        assert file.id in [each.id async for each in client.files.list(limit=2)]
        assert batch.id in [each.id async for each in client.batches.list(limit=2)]
        assert (await client.files.delete(file.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(file.id)
        answer = await client.chat.completions.create(**asked())
        assert (await client.chat.completions.retrieve(answer.id)).id == answer.id
        response = await client.responses.create(model="gpt-4o-mini", input=fresh(1)[0])
        assert (await client.responses.retrieve(response.id)).id == response.id
        assert [each.id async for each in client.models.list()]
    assert heard.judged_by(of_openai) >= {"POST 200", "GET 200", "DELETE 200", "GET 404"}
    heard.replies.clear()
    other_http = anthropic.DefaultAsyncHttpxClient(event_hooks=hooks)
    async with AsyncAnthropic(base_url=server.url, api_key=server.key("judged"), http_client=other_http) as messages:
        await _message_batches(messages)
    assert heard.judged_by(of_anthropic) >= {"POST 200", "GET 200", "DELETE 200", "GET 404"}


async def _message_batches(client: AsyncAnthropic) -> None:
    batches = client.messages.batches
    batch = await batches.create(requests=[{"custom_id": "a", "params": asked(max_tokens=9)}])  # type: ignore[list-item]
    while (batch := await batches.retrieve(batch.id)).processing_status != "ended":
        await asyncio.sleep(0.05)
    assert [each.custom_id async for each in await batches.results(batch.id)] == ["a"]
    assert batch.id in [each.id async for each in batches.list(limit=1)]
    await batches.delete(batch.id)
    with pytest.raises(anthropic.NotFoundError) as gone:
        await batches.retrieve(batch.id)
    assert gone.value.request_id == gone.value.response.headers["x-request-id"]


def test_message_batches(
    server: Server,
    heard: Heard,
    of_anthropic: Description,
    upstream: Upstream,
) -> None:
    http = anthropic.DefaultHttpxClient(event_hooks={"response": [heard.keep]})
    requests: list[Any] = [
        {"custom_id": "good", "params": asked(max_tokens=9)},
        {"custom_id": "refused", "params": asked(max_tokens=9, messages=[{"role": "user", "content": "REFUSE"}])},
        {"custom_id": "odd", "params": asked(max_tokens=0)},
        {"custom_id": "unknown", "params": asked(max_tokens=9, model="no-such-model")},
    ]
    with Anthropic(base_url=server.url, api_key=server.key("judged"), http_client=http, max_retries=0) as client:
        batches = client.messages.batches
        batch = batches.create(requests=requests)
        assert batch._request_id
        with pytest.raises(anthropic.BadRequestError):
            batches.delete(batch.id)
        while (batch := batches.retrieve(batch.id)).processing_status != "ended":
            time.sleep(0.05)
        results = [each.to_dict() for each in batches.results(batch.id)]
        assert {each["custom_id"] for each in results} == {"good", "refused", "odd", "unknown"}
        upstream.control("*", latency_ms=500)
        try:
            many: list[Any] = [{"custom_id": f"r{n}", "params": asked(max_tokens=9)} for n in range(100)]
            stopped = batches.cancel(batches.create(requests=many).id)
            while (stopped := batches.retrieve(stopped.id)).processing_status != "ended":
                time.sleep(0.05)
        finally:
            upstream.control("*", latency_ms=20)
        results += [each.to_dict() for each in batches.results(stopped.id)]
        for each in results:
            assert not of_anthropic.mistakes("MessageBatchIndividualResponse", each), each
        assert {each["result"]["type"] for each in results} >= {"succeeded", "errored", "canceled"}
        assert batches.list(limit=1).data and batches.list(before_id=batch.id).data
        with pytest.raises(anthropic.BadRequestError):
            batches.cancel(batch.id)
        batches.delete(batch.id)
        for wrong, call in (
            (anthropic.NotFoundError, lambda: batches.retrieve(batch.id)),
            (anthropic.NotFoundError, lambda: batches.cancel("msgbatch_none")),
            (anthropic.BadRequestError, lambda: batches.list(limit=1001)),
            (anthropic.BadRequestError, lambda: batches.create(requests=[])),
            (anthropic.NotFoundError, lambda: client.messages.create(**asked(max_tokens=9))),
        ):
            with pytest.raises(wrong) as refused:
                call()
            assert refused.value.request_id == refused.value.response.headers["x-request-id"]
        with pytest.raises(anthropic.AuthenticationError):
            client.with_options(api_key="nobody").messages.batches.list()
    assert heard.judged_by(of_anthropic) >= {"POST 200", "GET 200", "DELETE 200", "POST 400", "GET 404", "GET 401"}
