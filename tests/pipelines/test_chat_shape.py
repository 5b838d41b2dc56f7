"""Answers of every provider as OpenAI's choices, judged by OpenAI's own types."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from pipelines import completions, openai_lines
from pipelines.chat_shape import choices
from tests.contracts.backend_contract import bent, paths

ANTHROPIC = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use",
    "content": [
        {"type": "thinking", "thinking": "…", "signature": "x"}, {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"n": 1}},
        {"type": "tool_use", "id": "toolu_2", "name": "look", "input": {"n": 2}},
    ],
    "usage": {"input_tokens": 9, "output_tokens": 5},
}  # fmt: skip
GEMINI = {
    "candidates": [
        {"content": {"role": "model", "parts": [
            {"text": "Hm.", "thought": True}, {"text": "Looking."},
            {"functionCall": {"id": "c1", "name": "look", "args": {"n": 1}}, "thoughtSignature": "c2ln"},
            {"functionCall": {"name": "look", "args": {"n": 2}}}]},
         "finishReason": "STOP",
         "logprobsResult": {
            "chosenCandidates": [{"token": "Look", "tokenId": 5, "logProbability": -0.25}],
            "topCandidates": [{"candidates": [{"token": "Look", "logProbability": -0.25}, {"token": "See", "logProbability": -1}]}],
         }},
        {"content": {"parts": [{"text": "Second."}]}, "finishReason": "MAX_TOKENS"},
    ],
    "usageMetadata": {"promptTokenCount": 9},
}  # fmt: skip
OLLAMA = {
    "model": "llama", "done": True, "done_reason": "stop",
    "message": {"role": "assistant", "content": "Looking.", "thinking": "Hm.", "tool_calls": [
        {"function": {"name": "look", "arguments": {"n": 1}}}, {"function": {"name": "look", "arguments": {"n": 2}}}]},
    "logprobs": [{"token": "Look", "logprob": -0.25, "bytes": [76], "top_logprobs": [
        {"token": "Look", "logprob": -0.25}, {"token": "See", "logprob": -1.0}]}],
}  # fmt: skip
RESPONSES = {
    "id": "resp_1", "object": "response", "status": "completed", "model": "gpt",
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Looking.", "annotations": [],
            "logprobs": [{"token": "Look", "logprob": -0.25, "bytes": [76], "top_logprobs": []}]}]},
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{\"n\":1}"},
        {"type": "function_call", "call_id": "call_2", "name": "look", "arguments": "{\"n\":2}"},
    ],
}  # fmt: skip
ALL = {"anthropic": ANTHROPIC, "gemini": GEMINI, "ollama": OLLAMA, "responses": RESPONSES}


def row(response: Any, **more: Any) -> dict[str, Any]:
    text = response if response is None or isinstance(response, str) else json.dumps(response)
    return {
        "run_id": "run", "row": 3, "custom_id": "c", "status": "ok", "output": "Looking.", "finish_reason": "tool", "model": "m",
        "input_tokens": 9, "cached_input_tokens": 4, "output_tokens": 5, "reasoning_tokens": 2, "response": text,
        "finished_at": datetime(2026, 11, 26, tzinfo=UTC), "http_status": 200, "error_code": None, "error_message": None,
        **more,
    }  # fmt: skip


def completion(response: Any, **more: Any) -> ChatCompletion:
    """The line that users get for a result, as OpenAI's client reads it: strictly."""
    line = json.loads(json.dumps(completions.completion(row(response, **more))))
    return ChatCompletion.model_validate(line, strict=True)


@pytest.mark.parametrize("provider", ALL)
def test_text_and_several_tool_calls_arrive_whoever_answered(provider: str) -> None:
    made = completion(ALL[provider])
    first = made.choices[0]
    assert (first.message.content, first.finish_reason) == ("Looking.", "tool_calls")
    assert first.message.tool_calls is not None
    assert [json.loads(call.function.arguments) for call in first.message.tool_calls if call.type == "function"] == [
        {"n": 1}, {"n": 2},
    ]  # fmt: skip
    assert len({call.id for call in first.message.tool_calls}) == 2
    assert made.usage is not None and made.usage.prompt_tokens_details is not None
    assert (made.usage.total_tokens, made.usage.prompt_tokens_details.cached_tokens) == (14, 4)


@pytest.mark.parametrize("provider", ["gemini", "ollama", "responses"])
def test_logprobs_arrive(provider: str) -> None:
    told = completion(ALL[provider]).choices[0].logprobs
    assert told is not None and told.content is not None
    assert [(each.token, each.logprob) for each in told.content] == [("Look", -0.25)]
    if provider != "responses":
        assert [each.token for each in told.content[0].top_logprobs] == ["Look", "See"]


def test_a_signature_of_gemini_can_be_sent_back_with_the_call() -> None:
    found = choices(GEMINI)
    assert found is not None
    calls = found[0]["message"]["tool_calls"]
    assert [call.get("extra_content") for call in calls] == [{"google": {"thought_signature": "c2ln"}}, None]
    assert [each["finish_reason"] for each in found] == ["tool_calls", "length"]
    assert found[1]["message"]["content"] == "Second."


@pytest.mark.parametrize(
    ("response", "refusal", "finish"),
    [
        ({**ANTHROPIC, "content": [], "stop_reason": "refusal", "stop_details": {"explanation": "Too odd."}}, "Too odd.", "stop"),
        ({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {}}, None, "content_filter"),
        ({"candidates": [], "usageMetadata": {}}, None, "content_filter"),
        ({"candidates": [{"finishReason": "SAFETY"}]}, None, "content_filter"),
        ({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]}, "No.", "stop"),
        ({"output": [], "incomplete_details": {"reason": "content_filter"}}, None, "content_filter"),
    ],
)  # fmt: skip
def test_refusals_and_filters(response: Any, refusal: str | None, finish: str) -> None:
    first = completion(response, status="refused", output="").choices[0]
    assert (first.message.refusal, first.finish_reason) == (refusal, finish)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("stop", "stop"), ("tool", "stop"), ("length", "length"), ("filter", "content_filter"), ("error:odd", "stop"), (None, "stop")],
)  # fmt: skip
def test_without_a_kept_answer_one_is_made_of_the_columns(ours: str | None, theirs: str) -> None:
    first = completion(None, finish_reason=ours).choices[0]
    assert (first.message.content, first.finish_reason) == ("Looking.", "tool_calls" if ours == "tool" else theirs)


def test_a_refusal_without_a_kept_answer_is_one() -> None:
    first = completion(None, status="refused", finish_reason="refusal", output="No.").choices[0]
    assert (first.message.refusal, first.message.content) == ("No.", None)


def test_an_answer_in_openais_shape_is_given_back_to_the_letter() -> None:
    own = '{"id": "x", "choices": [{"index": 0, "odd": 1.50}], "new_field": [1]}'
    line = openai_lines.line_of(row(own))
    assert bytes(line["response"]["body"]) == own.encode()
    assert completions.completion(row(own)) == json.loads(own)


@pytest.mark.parametrize("kept", ["not json", "[]", "7", '{"odd": 1}', '{"choices": 3}', "\ud800"])
def test_what_is_no_answer_is_made_of_the_columns(kept: str) -> None:
    assert completion(kept).choices[0].message.content == "Looking."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_bent_answers_never_raise_and_stay_choices(data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(list(ALL.values())))
    for each in choices(bent(body, data.draw(st.sampled_from(list(paths(body)))), data.draw(JSON))) or []:
        assert type(each["message"]["content"]) in (str, type(None))
        assert each["finish_reason"] in ("stop", "length", "tool_calls", "content_filter")
        assert all(type(call["function"]["arguments"]) is str for call in each["message"].get("tool_calls", ()))
