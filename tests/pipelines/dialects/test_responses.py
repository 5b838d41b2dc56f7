"""Responses as chat completions and back; the official client's own types read what comes out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response

from pipelines.dialects.openai_lines import Line, Wrong, checked, line_of
from pipelines.dialects.responses import Cannot, chat
from pipelines.shard import parse_record
from pipelines.types import BadRow, Row
from producer.exports import line_bytes
from tests.pipelines.dialects.test_completions import GEMINI_TOOL, MESSAGE, ROW

URL = "/v1/responses"
USER = {"role": "user", "content": "hi"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def messages(*items: Any) -> Any:
    return chat({"model": "m", "input": list(items)})["messages"]


def test_parameters() -> None:
    tool = {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}
    found = chat({
        "model": "m", "instructions": "Be brief.", "input": "hi", "max_output_tokens": 9, "temperature": 0.5, "top_p": 0.9,
        "parallel_tool_calls": False, "metadata": {"k": "v"}, "user": "u", "store": True, "truncation": "disabled",
        "background": False, "service_tier": "auto", "previous_response_id": None, "stream": False, "max_tool_calls": 3,
        "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
        "top_logprobs": 2, "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
        "tools": [{"type": "function", **tool}], "tool_choice": {"type": "function", "name": "f"},
    })  # fmt: skip
    assert found == {
        "model": "m", "messages": [{"role": "system", "content": "Be brief."}, USER], "max_completion_tokens": 9,
        "temperature": 0.5, "top_p": 0.9, "parallel_tool_calls": False, "metadata": {"k": "v"}, "user": "u",
        "service_tier": "auto", "stream": False, "reasoning_effort": "low", "verbosity": "low", "logprobs": True,
        "top_logprobs": 2, "tools": [{"type": "function", "function": tool}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    }  # fmt: skip
    assert chat({"model": "m", "input": "hi", "text": {"format": {"type": "text"}}, "tools": [], "top_logprobs": 0}) == {
        "model": "m", "messages": [USER], "response_format": {"type": "text"},
    }  # fmt: skip


def test_turns() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}
    text, said = {"type": "input_text", "text": "t"}, {"type": "output_text", "text": "t", "annotations": []}
    assert messages({"role": "user", "content": "hi"}) == [USER]
    assert messages({"type": "message", "role": "developer", "content": [text]}) == [
        {"role": "developer", "content": "t"}
    ]
    assert messages({"role": "user", "content": [text, image]}) == [
        {"role": "user", "content": [{"type": "text", "text": "t"},
                                     {"type": "image_url", "image_url": {"url": image["image_url"], "detail": "low"}}]}
    ]  # fmt: skip
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}
    [asked] = messages({"role": "user", "content": [file]})
    assert asked["content"] == [{"type": "file", "file": {"filename": "a.pdf", "file_data": file["file_data"]}}]
    calls = [
        {"type": "function_call", "id": f"fc_{n}", "call_id": n, "name": "f", "arguments": "{}"} for n in ("a", "b")
    ]
    output = {"type": "function_call_output", "call_id": "a", "output": "42"}
    function = {"name": "f", "arguments": "{}"}
    assert messages(USER, {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [said]}, *calls, output) == [
        USER,
        {"role": "assistant", "content": "t", "tool_calls": [
            {"id": "a", "type": "function", "function": function}, {"id": "b", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "a", "content": "42"},
    ]  # fmt: skip
    assert messages(USER, calls[0])[1]["content"] is None


CANNOT: list[tuple[dict[str, Any], str]] = [
    ({"previous_response_id": "resp_1"}, "previous_response_id"), ({"conversation": "c"}, "conversation"), ({"prompt": {"id": "p"}}, "prompt"),
    ({"background": True}, "background"), ({"truncation": "auto"}, "truncation"), ({"include": ["file_search_call.results"]}, "file_search"),
    ({"tools": [{"type": "web_search"}]}, "web_search"), ({"tools": ["x"]}, "tools[0]"), ({"tools": [{"type": "function", "name": "f", "defer_loading": True}]}, "defer_loading"),
    ({"tool_choice": {"type": "allowed_tools"}}, "allowed_tools"), ({"tool_choice": 7}, "tool_choice"), ({"text": {"format": {"type": "grammar"}}}, "grammar"),
    ({"text": {"more": 1}}, "text.more"), ({"reasoning": {"mode": "x"}}, "reasoning.mode"), ({"instructions": ["x"]}, "instructions"), ({"n": 2}, "`n`"),
    ({"input": 7}, "input"), ({"input": ["x"]}, "input[0]"), ({"input": [{"type": "reasoning", "summary": []}]}, "reasoning"), ({"input": [{"type": ["x"]}]}, "input[0]"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "item_reference"), ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "file_id"),
    ({"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "http://x"}]}]}, "file_url"), ({"input": [{"role": "user", "content": [7]}]}, "content[0]"),
    ({"input": [{"role": "user", "content": [{"type": "computer_screenshot"}]}]}, "computer_screenshot"), ({"input": [{**USER, "name": "x"}]}, "name"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "named"), CANNOT, ids=range(len(CANNOT)))
def test_what_has_no_counterpart_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    body = {"model": "m", "input": "hi", **wrong}
    with pytest.raises(Cannot) as caught:
        chat(body)
    assert named in str(caught.value) and len(str(caught.value)) < 300
    row = parse_record(0, {"custom_id": "a", "url": URL, "body": body})
    assert isinstance(row, BadRow) and row.code == "unsupported_parameter", "and fails no other row"


def test_a_line_for_responses_is_a_row_like_its_chat_completion() -> None:
    body = {"model": "m", "input": "hi", "metadata": {"k": "v"}, "max_output_tokens": 5}
    row = parse_record(0, {"custom_id": "a", "method": "POST", "url": URL, "body": body})
    assert isinstance(row, Row)
    assert (row.model, row.body, row.tags) == (
        "m",
        {"messages": [USER], "max_completion_tokens": 5},
        {"metadata": {"k": "v"}},
    )
    for wrong, code in (({"messages": [USER]}, "no_prompt"), ({"input": [{"role": "x", "content": "y"}]}, "invalid_messages"),
                        ({"input": [{"role": "user"}]}, "invalid_messages"), ({"input": "  "}, "empty_prompt"),
                        ({"input": "hi", "max_output_tokens": "x"}, "invalid_parameter")):  # fmt: skip
        bad = parse_record(0, {"url": URL, "body": {"model": "m", **wrong}})
        assert isinstance(bad, BadRow) and bad.code == code
    for url in ("/v1/embeddings", ["x"], 7):
        bad = parse_record(0, {"url": url, "body": body})
        assert isinstance(bad, BadRow) and bad.code == "unsupported_url" and URL in bad.message


@pytest.mark.parametrize("input_", ["hi", [USER]])
def test_a_files_line_must_say_what_is_asked(input_: Any) -> None:
    line = {"custom_id": "a", "method": "POST", "url": URL, "body": {"model": "m", "input": input_}}
    assert checked(1, line, URL, None) == Line("a", "m")
    for body in (
        {"model": "m"},
        {"model": "m", "input": []},
        {"model": "m", "input": 7},
        {"model": "m", "messages": [USER]},
    ):
        wrong = checked(1, {**line, "body": body}, URL, None)
        assert isinstance(wrong, Wrong) and (wrong.code, wrong.param) == ("invalid_request", "body.input")
    mixed = checked(1, {**line, "url": "/v1/chat/completions"}, URL, None)
    assert isinstance(mixed, Wrong) and mixed.code == "invalid_url"


def of(body: Any = None, **row: Any) -> Any:
    """As the official client reads it."""
    line = json.loads(line_bytes(line_of({**ROW, "response": body and json.dumps(body), **row}, URL)))
    return Response.model_validate(line["response"]["body"], strict=True)


def test_answers_become_responses() -> None:
    found = of()
    assert (found.id, found.object, found.status, found.model) == ("resp_r-3", "response", "completed", "m-1")
    assert found.output_text == "Blue." and found.error is None and found.created_at == 1772323200
    usage = found.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (10, 2, 12)
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (4, 1)
    assert of(MESSAGE).output_text == "Blue." and of(MESSAGE).model == "claude-x"
    [call] = of(GEMINI_TOOL, output="").output
    assert (call.type, call.call_id, call.name, json.loads(call.arguments)) == (
        "function_call",
        "call_0",
        "paint",
        {"colour": "blue"},
    )
    cut = of(finish_reason="length")
    assert (cut.status, cut.incomplete_details.reason, cut.output[0].status) == (
        "incomplete",
        "max_output_tokens",
        "incomplete",
    )
    refused = {
        "choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": None, "refusal": "No."}}],
        "created": 1,
    }
    assert of(refused, output="", status="refused").output[0].content[0].refusal == "No."
    own = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": [], "parallel_tool_calls": True,
           "tool_choice": "auto", "tools": [], "status": "completed", "instructions": "Be brief."}  # fmt: skip
    assert of(own).to_dict() == own, "its own is left as it is"
    token = {"token": "x", "logprob": -1.0, "bytes": [120], "top_logprobs": []}
    told = {"choices": [{"message": {"content": "x"}, "logprobs": {"content": [token]}}]}
    assert of(told).output[0].content[0].logprobs[0].logprob == -1.0


@pytest.mark.parametrize("body", [{"choices": []}, {"choices": [1]}, {"choices": [{"message": 1, "logprobs": []}], "usage": 1},
                                  {"choices": [{"message": {"tool_calls": [1, {"function": 2}]}, "finish_reason": ["x"]}]}])  # fmt: skip
def test_what_a_provider_should_never_say_breaks_no_line(body: Any) -> None:
    assert of(body).output_text == "Blue."
