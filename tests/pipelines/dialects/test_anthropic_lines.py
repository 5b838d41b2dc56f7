"""Anthropic's requests as rows and back, in both directions; what has no counterpart is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.dialects.anthropic_chat import chat
from pipelines.dialects.anthropic_lines import line_of, result_of, tally
from pipelines.dialects.anthropic_turns import Cannot
from pipelines.shard import parse_record
from pipelines.types import BadRow, Row

USER = {"role": "user", "content": "hi"}


def params(**more: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 5, "messages": [USER], **more}


def turns(*messages: Any) -> Any:
    return chat(params(messages=list(messages)))["messages"]


def test_parameters() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    found = chat(
        params(
            system="Be brief.", temperature=0.5, top_p=0.9, top_k=3, stop_sequences=["END"], stream=False,
            metadata={"user_id": "u"}, thinking={"type": "disabled"}, service_tier="auto", speed="standard",
            output_config={"effort": "low", "format": {"type": "json_schema", "schema": schema}},
            tools=[{"name": "f", "description": "d", "input_schema": schema, "cache_control": {"type": "ephemeral"}}],
            tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True}, container=None,
        )
    )  # fmt: skip
    assert found == {
        "model": "m", "max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "stop": ["END"], "user": "u",
        "messages": [{"role": "system", "content": "Be brief."}, USER], "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}},
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": False,
    }  # fmt: skip


def test_turns() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    text = {"type": "text", "text": "t"}
    assert turns({"role": "user", "content": [text]}) == [{"role": "user", "content": "t"}]
    assert turns({"role": "user", "content": [image, text]}) == [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}, text]}
    ]
    document = {"type": "document", "title": "a.pdf", "source": {**image["source"], "media_type": "application/pdf"}}  # type: ignore[dict-item]
    [said] = turns({"role": "user", "content": [document]})
    assert said["content"] == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}}
    ]
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [text], "is_error": True}
    assert turns(
        USER, {"role": "assistant", "content": [text, call]}, {"role": "user", "content": [result, text]}
    ) == [
        USER,
        {"role": "assistant", "content": "t",
         "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}]},
        {"role": "tool", "tool_call_id": "t1", "content": "Error: t"},
        {"role": "user", "content": "t"},
    ]  # fmt: skip


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model"), ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": True}, "max_tokens"),
    ({"messages": []}, "messages"), ({"messages": ["x"]}, "messages.0"), ({"messages": [{**USER, "name": "n"}]}, "messages.0.name"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"), ({"messages": [{"role": ["user"], "content": "x"}]}, "messages.0.role"),
    ({"messages": [USER, {"role": "assistant", "content": "The"}]}, "messages.1"),
    ({"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}, "search_result"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]}, "content.0.source"),
    ({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url"}}]}]}, "content.0.source"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "citations": {"enabled": True}}]}]}, "citations"),
    ({"messages": [USER, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]}, USER]}, "thinking"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}]}]}, "image"),
    ({"temperature": 1.5}, "temperature"), ({"top_k": "x"}, "top_k"), ({"stream": True}, "stream"), ({"stop_sequences": "x"}, "stop_sequences"),
    ({"thinking": {"type": "adaptive"}}, "thinking"), ({"container": "c"}, "container"), ({"mcp_servers": []}, "mcp_servers"),
    ({"speed": "fast"}, "speed"), ({"metadata": {"x": 1}}, "metadata.x"), ({"tool_choice": {"type": "x"}}, "tool_choice"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"), ({"tools": [{"name": "f"}]}, "tools.0.input_schema"),
    ({"tools": [{"name": "f", "input_schema": {}, "defer_loading": True}]}, "tools.0.defer_loading"),
    ({"output_config": {"format": {"type": "x"}}}, "output_config.format"), ({"system": [{"type": "image"}]}, "system"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "named"), REFUSED, ids=range(len(REFUSED)))
def test_what_has_no_counterpart_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(Cannot) as caught:
        chat(params(**wrong))
    assert named in str(caught.value) and len(str(caught.value)) < 300


def test_a_line_is_a_row_and_a_refused_one_carries_its_reason() -> None:
    good = parse_record(0, json.loads(line_of("a", params(), {"m"})))
    assert isinstance(good, Row) and (good.custom_id, good.model) == ("a", "m")
    assert good.body == {"messages": [USER], "max_tokens": 5}
    for given, models, kind in (
        (params(), {"other"}, "not_found_error"),
        (params(top_p=float("inf")), None, "invalid_request_error"),
        (params(system="\ud800"), None, "invalid_request_error"),
    ):
        bad = parse_record(0, json.loads(line_of("a", given, models)))
        assert isinstance(bad, BadRow) and bad.custom_id == "a"
        row = {**ROW, "status": "invalid", "tags": json.dumps(bad.tags)}
        assert result_of(row)["result"]["error"]["error"]["type"] == kind


ROW: dict[str, Any] = {
    "run_id": "r", "row": 3, "custom_id": "a", "status": "ok", "output": "yes", "finish_reason": "stop", "model": "m-1",
    "input_tokens": 10, "cached_input_tokens": 4, "cache_write_tokens": 1, "output_tokens": 2, "error_message": None,
    "http_status": 200, "response": None, "tags": "{}",
}  # fmt: skip


def answer(**choice: Any) -> str:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
    return json.dumps({"choices": [choice], "usage": usage})


def message(**row: Any) -> Any:
    return result_of({**ROW, **row})["result"]["message"]


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said, "citations": None}


def test_answers_become_messages() -> None:
    assert message() == {
        "id": "msg_r_3", "type": "message", "role": "assistant", "model": "m-1",
        "content": [text("yes")], "stop_reason": "end_turn", "stop_sequence": None, "stop_details": None, "container": None,
        "usage": {
            "input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 1,
            "cache_creation": None, "inference_geo": None, "output_tokens_details": None, "server_tool_use": None,
            "service_tier": None,
        },
    }  # fmt: skip
    call = {"id": "t1", "function": {"name": "f", "arguments": '{"x": 1}'}}
    found = message(output=None, response=answer(finish_reason="tool_calls", message={"tool_calls": [call]}))
    direct = {"caller": {"type": "direct"}}
    assert found["content"] == [{"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}, **direct}]
    assert found["stop_reason"] == "tool_use"
    calls = [{"function": {"name": "f"}}] * 2  # as Gemini's are, without ids
    found = message(output=None, response=answer(finish_reason="tool_calls", message={"tool_calls": calls}))
    assert [each["id"] for each in found["content"]] == ["toolu_r_3_0", "toolu_r_3_1"]
    assert message(response=answer(finish_reason="length", message={}))["stop_reason"] == "max_tokens"
    found = message(response=answer(finish_reason="stop", stop_reason="END", message={}))
    assert (found["stop_reason"], found["stop_sequence"]) == ("stop_sequence", "END")
    found = message(output=None, status="refused", response=answer(finish_reason="stop", message={"refusal": "no"}))
    assert (found["stop_reason"], found["content"]) == ("refusal", [text("no")])
    own = {"type": "message", "id": "msg_1", "content": [{"type": "text", "text": "own"}]}
    assert message(response=json.dumps(own)) == own
    reused = {"status": "duplicate", "input_tokens": None, "output_tokens": None, "cached_input_tokens": None}
    usage = message(**reused, cache_write_tokens=None, response=answer(message={}))["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["cache_read_input_tokens"]) == (5, 3, 2)
    for junk in ("[]", "{", '{"choices": 1}', '{"choices": [1]}', '{"choices": [{"message": 1}]}', '{"usage": 1}'):
        assert message(response=junk)["content"] == [text("yes")]


@pytest.mark.parametrize(
    ("status", "http_status", "kind"),
    [("failed", 429, "rate_limit_error"), ("failed", 503, "api_error"), ("failed", None, "api_error"),
     ("invalid", None, "invalid_request_error"), ("failed", 413, "request_too_large")],
)  # fmt: skip
def test_errors(status: str, http_status: int | None, kind: str) -> None:
    row = {**ROW, "status": status, "http_status": http_status, "error_message": "why"}
    assert result_of(row) == {
        "custom_id": "a",
        "result": {
            "type": "errored",
            "error": {"type": "error", "error": {"type": kind, "message": "why"}, "request_id": None},
        },
    }


def test_the_rest_and_the_counts() -> None:
    assert result_of({**ROW, "status": "cancelled"})["result"] == {"type": "canceled"}
    assert result_of({**ROW, "status": "expired"})["result"] == {"type": "expired"}
    statuses = ["ok", "duplicate", "refused", "failed", "invalid", "cancelled", "expired"]
    assert tally(statuses) == {"succeeded": 3, "errored": 2, "canceled": 1, "expired": 1}
