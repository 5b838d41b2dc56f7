"""`/v1/responses` with the official client, at once and in batches; and the models that may be named."""

from __future__ import annotations

from typing import Any

import msgspec
import openai
import pytest

from pipelines.told import COLUMNS
from producer.api import streams
from producer.api.replies import CHAT, RESPONSES, told
from tests.producer.api.test_runs import fresh
from tests.support_serving import Server, ended, jsonl, lines_of, make, put

URL = "/v1/responses"
MODEL = "gpt-4o-mini"


def line(custom_id: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": URL, "body": {"model": MODEL, **body}}


def test_a_response_is_asked_for_and_found_again(server: Server) -> None:
    with server.openai() as client:
        asked: Any = {"temperature": 0.0, "instructions": "Be brief.", "metadata": {"k": "v"}}
        answer: Any = client.responses.create(model=MODEL, input=fresh(1)[0], **asked)
        assert (answer.object, answer.status, answer.instructions, answer.metadata) == (
            "response",
            "completed",
            "Be brief.",
            {"k": "v"},
        )
        assert answer.output_text and answer.usage.total_tokens > 0 and answer.spillway["id"] == answer.id
        assert client.responses.retrieve(answer.id).output_text == answer.output_text
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve("resp_nobodys-1")
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model=MODEL, input="x", previous_response_id=answer.id)
        assert refused.value.code == "unsupported_parameter" and "previous_response_id" in refused.value.message


def test_a_response_streams_as_the_official_client_expects(server: Server) -> None:
    prompt = fresh(1)[0]
    with server.openai() as client, client.responses.stream(model=MODEL, input=prompt) as stream:
        seen = [event.type for event in stream]
        final = stream.get_final_response()
        plain = client.responses.create(model=MODEL, input=prompt)
    assert final.output_text == plain.output_text != "" and final.status == "completed"
    assert seen[0] == "response.created" and seen[-1] == "response.completed" and "response.output_text.delta" in seen


def test_a_batch_of_responses(server: Server) -> None:
    good = [
        line("text", input=fresh(1)[0]),
        line("turns", input=[{"role": "user", "content": fresh(1)[0]}], max_output_tokens=20),
    ]
    lines = [*good, line("tool", input="x", tools=[{"type": "web_search"}]), line("refused", input="REFUSE this")]
    with server.openai() as client:
        done = ended(client, make(client, put(client, jsonl(lines)).id, endpoint=URL).id)
        assert done.status == "completed" and done.endpoint == URL, done
        out, wrong = lines_of(client, done.output_file_id), lines_of(client, done.error_file_id)
        with server.http() as http:
            assert http.get(f"/v1/batches/{done.id}/results").text.count('"object":"response"') == 2
        chat = ended(client, make(client, put(client, jsonl(lines)).id).id)
        assert chat.errors is not None and chat.errors.data is not None
        assert {each.code for each in chat.errors.data} == {"invalid_url"}, (
            "an endpoint's file holds its own lines alone"
        )
    answers = {
        each["custom_id"]: openai.types.responses.Response.model_validate(each["response"]["body"]) for each in out
    }
    assert set(answers) == {"text", "turns"} and all(each.output_text for each in answers.values())
    errors = {each["custom_id"]: each["response"] for each in wrong}
    assert {name: each["status_code"] for name, each in errors.items()} == {"tool": 400, "refused": 400}
    assert "web_search" in errors["tool"]["body"]["error"]["message"]


def test_the_models_that_may_be_named(server: Server) -> None:
    with server.openai() as client:
        assert MODEL in [each.id for each in client.models.list()]
        assert client.models.retrieve(MODEL).object == "model"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("org/nobody-knows")


def test_any_body_of_a_server_can_be_streamed() -> None:
    """In process: what a lenient server leaves out, or has of another type, costs nobody his answer."""
    own: dict[str, Any] = {
        "id": "resp_1", "object": "response", "status": "completed",
        "output": [
            "no item",
            {"type": "reasoning", "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}, 7, {"type": "x"}]},
            {"type": "function_call", "name": "f"},
        ],
    }  # fmt: skip
    said = b"".join(streams.events(own, True)).decode()
    assert '"delta":"yes"' in said and said.split("event: ")[-1].startswith("response.completed\n")
    chat: dict[str, Any] = {"choices": ["no choice", {"message": "no message"}, {"message": {"content": "yes"}}]}
    assert b'"content":"yes"' in b"".join(streams.chunks(chat, True))


def test_a_servers_own_response_goes_by_our_id() -> None:
    """In process: under its own the official client would never find it again."""
    body = '{"id":"resp_theirs","object":"response","status":"completed","output":[]}'
    row = {**dict.fromkeys(COLUMNS), "run_id": "r", "row": 3, "status": "ok", "output": "", "response": body}
    for form, name in ((RESPONSES, "resp_r-3"), (CHAT, "chatcmpl-r-3")):
        for asked in (None, {}):
            said = told(form, row, ("r", 3), {}, asked)
            assert msgspec.json.decode(said.body)["id"] == name
