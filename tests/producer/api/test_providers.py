"""Whichever provider answers, an OpenAI client reads OpenAI's answers and an Anthropic client Anthropic's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import Anthropic
from openai.types.chat import ChatCompletion

from tests.producer.api.test_messages import asked, results
from tests.producer.api.test_messages import ended as messages_ended
from tests.producer.api.test_runs import ended as run_ended
from tests.producer.api.test_runs import fresh
from tests.producer.api.test_runs import lines as run_lines
from tests.support_program import CLOUD, GPU, Program
from tests.support_serving import ADMIN, Server, ended, jsonl, line, lines_of, make, put, serving
from tests.support_upstream import Upstream

SERVERS = {
    "claude": {**CLOUD, "personality": "anthropic", "model": "claude-x"},
    "gem": {**CLOUD, "personality": "gemini", "model": "gemini-x"},
    "llama": {**GPU, "personality": "ollama", "model": "llama-x"},
    "gpt": CLOUD,
}
NAMES = tuple(SERVERS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Upstream({"servers": SERVERS}) as upstream:
        routes = {f"to-{name}": {"targets": [name], "models": [name], "dedupe": "exact"} for name in NAMES}
        api = {"admin_key": ADMIN, "inbox_open": "5s"}
        program = Program(tmp_path_factory.mktemp("providers"), upstream, routes=routes, api=api)
        with serving(program, "--workers") as found:
            yield found


def check(answer: ChatCompletion, name: str) -> None:
    assert (answer.object, answer.model) == ("chat.completion", SERVERS[name]["model"])
    [choice] = answer.choices
    assert choice.message.role == "assistant" and choice.message.content and choice.finish_reason == "stop"
    usage: Any = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and usage.prompt_tokens > 0


def test_chat_completions(server: Server) -> None:
    with server.openai() as client:
        for name in NAMES:
            prompt: Any = [{"role": "user", "content": fresh(1)[0]}]
            first = client.chat.completions.create(model=name, messages=prompt)
            check(first, name)
            again: Any = client.chat.completions.create(model=name, messages=prompt)
            check(again, name)
            assert again.spillway["status"] == "duplicate" and again.choices == first.choices


def test_batches(server: Server) -> None:
    lines = [line(name, fresh(1)[0], body={"model": name}) for name in NAMES]
    with server.openai() as client:
        done = ended(client, make(client, put(client, jsonl(lines)).id).id)
        out = {each["custom_id"]: each["response"]["body"] for each in lines_of(client, done.output_file_id)}
        assert set(out) == set(NAMES), lines_of(client, done.error_file_id)
        for name, body in out.items():
            check(ChatCompletion.model_validate(body, strict=True), name)
        total = sum(body["usage"]["total_tokens"] for body in out.values())
        assert done.usage is not None and done.usage.total_tokens == total, "the batch counts what its lines say"


def test_message_batches(server: Server) -> None:
    with Anthropic(base_url=server.url, api_key=server.key(), max_retries=0) as client:
        requests = [asked(name, fresh(1)[0], model=name) for name in NAMES]
        batch = messages_ended(client, client.messages.batches.create(requests=requests).id)
        assert batch.request_counts.succeeded == len(NAMES)
        for name, found in results(client, batch.id).items():
            message = found.message
            assert (message.type, message.role, message.model) == ("message", "assistant", SERVERS[name]["model"])
            [block] = message.content
            assert block.type == "text" and block.text and message.stop_reason == "end_turn"
            assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0


def test_the_lines_of_a_runs_results(server: Server) -> None:
    with server.http() as http:
        prompts = [{"prompt": fresh(1)[0], "id": name, "model": name} for name in NAMES]
        run = http.post("/v1/runs", json={"prompts": prompts}).json()
        assert run_ended(http, run["id"])["ok"] == len(NAMES)
        for each in run_lines(http, run["id"], "openai"):
            check(ChatCompletion.model_validate(each["response"]["body"], strict=True), each["custom_id"])
