"""Every provider's own body as a chat completion and as a message, in the eyes of the official clients' types."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from anthropic.types import Message
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from pipelines.dialects.anthropic_lines import result_of
from pipelines.dialects.completions import completion
from pipelines.dialects.openai_lines import embedded, line_of
from producer.exports import line_bytes

ROW: dict[str, Any] = {
    "run_id": "r", "row": 3, "custom_id": "a", "status": "ok", "output": "Blue.", "finish_reason": "stop", "model": "m-1",
    "input_tokens": 10, "cached_input_tokens": 4, "cache_write_tokens": 1, "output_tokens": 2, "reasoning_tokens": 1,
    "error_message": None, "http_status": 200, "response": None, "tags": "{}",
    "finished_at": datetime(2026, 3, 1, tzinfo=UTC),
}  # fmt: skip

MESSAGE: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "stop_reason": "end_turn", "stop_sequence": None,
    "content": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "Bl"}, {"type": "text", "text": "ue."}],
    "usage": {"input_tokens": 5, "output_tokens": 9, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 1},
}  # fmt: skip
TOOL_MESSAGE = {
    **MESSAGE, "stop_reason": "tool_use",
    "content": [{"type": "text", "text": "Blue."}, {"type": "tool_use", "id": "toolu_1", "name": "paint", "input": {"colour": "blue"}}],
}  # fmt: skip
GEMINI: dict[str, Any] = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": "Blue."}]}, "finishReason": "STOP"},
        {"content": {"role": "model", "parts": [{"text": "Red."}]}, "finishReason": "MAX_TOKENS", "index": 1},
    ],
    "modelVersion": "gemini-x",
    "usageMetadata": {"promptTokenCount": 9, "toolUsePromptTokenCount": 1, "cachedContentTokenCount": 4,
                      "candidatesTokenCount": 6, "thoughtsTokenCount": 3, "totalTokenCount": 19},
}  # fmt: skip
GEMINI_TOOL = {
    "candidates": [{"content": {"parts": [{"functionCall": {"name": "paint", "args": {"colour": "blue"}}}]}, "finishReason": "STOP"}]
}  # fmt: skip
GEMINI_BLOCKED = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 7}}
GEMINI_LOGPROBS = {
    "candidates": [{
        "content": {"parts": [{"text": "é"}]}, "finishReason": "STOP",
        "logprobsResult": {
            "chosenCandidates": [{"token": "é", "tokenId": 1, "logProbability": -0.5}],
            "topCandidates": [{"candidates": [{"token": "é", "logProbability": -0.5}, {"token": "a", "logProbability": -2}]}],
        },
    }]
}  # fmt: skip
OLLAMA = {
    "model": "qwen", "created_at": "2026-03-01T00:00:00Z", "done": True, "done_reason": "length", "prompt_eval_count": 10,
    "eval_count": 2, "message": {"role": "assistant", "content": "Blue.", "thinking": "Hm."},
}  # fmt: skip
OLLAMA_TOOL = {
    **OLLAMA, "done_reason": "stop",
    "message": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "paint", "arguments": {"colour": "blue"}}}]},
}  # fmt: skip


RESPONSE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1741476542, "status": "completed", "model": "gpt-x", "error": None,
    "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0,
    "top_p": 1.0, "tool_choice": "auto", "tools": [],
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [
            {"type": "output_text", "text": "Blue.", "annotations": [], "logprobs": [
                {"token": "Blue.", "logprob": -0.5, "bytes": [66], "top_logprobs": []}]}]},
    ],
    "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0}, "output_tokens": 9,
              "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 19},
}  # fmt: skip
RESPONSE_TOOL = {**RESPONSE, "output": [
    {"type": "function_call", "id": "fc_1", "call_id": "call_7", "name": "paint", "arguments": "{\"colour\":\"blue\"}", "status": "completed"},
    {"type": "function_call", "id": "fc_2", "call_id": "call_8", "name": "paint", "arguments": "{\"colour\":\"blue\"}", "status": "completed"},
]}  # fmt: skip
RESPONSE_CUT = {**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}


def of(body: Any, **row: Any) -> ChatCompletion:
    """The body of the batch's output line, as OpenAI's client reads it."""
    line = json.loads(line_bytes(line_of({**ROW, "response": None if body is None else json.dumps(body), **row})))
    assert line["error"] is None and line["response"]["status_code"] == 200
    return ChatCompletion.model_validate(line["response"]["body"], strict=True)


def message(body: Any, **row: Any) -> Message:
    """The message of the result line, as Anthropic's client reads it."""
    line = json.loads(line_bytes(result_of({**ROW, "response": json.dumps(body), **row})))
    return Message.model_validate(line["result"]["message"])


FORMS: list[tuple[Any, str | None, str, list[tuple[str, str]], tuple[int, int, int, int]]] = [
    # body, text, finish, calls as (id, name), tokens: prompt, cached, completion, reasoning
    (MESSAGE, "Blue.", "stop", [], (10, 4, 9, 0)),
    (TOOL_MESSAGE, "Blue.", "tool_calls", [("toolu_1", "paint")], (10, 4, 9, 0)),
    ({**MESSAGE, "stop_reason": "max_tokens"}, "Blue.", "length", [], (10, 4, 9, 0)),
    ({**MESSAGE, "stop_reason": "stop_sequence", "stop_sequence": "END"}, "Blue.", "stop", [], (10, 4, 9, 0)),
    ({**MESSAGE, "content": [], "stop_reason": "refusal"}, "", "content_filter", [], (10, 4, 9, 0)),
    (GEMINI, "Blue.", "stop", [], (10, 4, 9, 3)),
    (GEMINI_TOOL, None, "tool_calls", [("call_0", "paint")], (0, 0, 0, 0)),
    (GEMINI_BLOCKED, "", "content_filter", [], (7, 0, 0, 0)),
    (OLLAMA, "Blue.", "length", [], (10, 0, 2, 0)),
    (OLLAMA_TOOL, None, "tool_calls", [("call_0", "paint")], (10, 0, 2, 0)),
    (RESPONSE, "Blue.", "stop", [], (10, 4, 9, 3)),
    (RESPONSE_TOOL, None, "tool_calls", [("call_7", "paint"), ("call_8", "paint")], (10, 4, 9, 3)),
    (RESPONSE_CUT, "Blue.", "length", [], (10, 4, 9, 3)),
    (None, "Blue.", "stop", [], (10, 4, 2, 1)),
    ({"nobody's": "form"}, "Blue.", "stop", [], (10, 4, 2, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("body", "text", "finish", "calls", "tokens"), FORMS, ids=range(len(FORMS)))
def test_whatever_answered_an_openai_client_reads_a_chat_completion(
    body: Any, text: str | None, finish: str, calls: list[tuple[str, str]], tokens: tuple[int, int, int, int]
) -> None:
    found = of(body)
    choice = found.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", text, finish)
    called: Any = choice.message.tool_calls or []
    assert [(each.id, each.function.name) for each in called] == calls
    assert all(json.loads(each.function.arguments) == {"colour": "blue"} for each in called)
    usage: Any = found.usage
    details = (usage.prompt_tokens_details.cached_tokens, usage.completion_tokens_details.reasoning_tokens)
    assert (usage.prompt_tokens, details[0], usage.completion_tokens, details[1]) == tokens
    assert usage.total_tokens == tokens[0] + tokens[2]
    assert (found.id, found.object, found.created) == ("chatcmpl-r-3", "chat.completion", 1772323200)
    named = (body or {}).get("model") or (body or {}).get("modelVersion")
    assert found.model == (named or "m-1")


def test_logprobs_of_ollama_and_the_responses() -> None:
    told = [{"token": "Blue.", "logprob": -0.5, "bytes": [66], "top_logprobs": [{"token": "Blue.", "logprob": -0.5}]}]
    for body, others in (({**OLLAMA, "logprobs": told}, ["Blue."]), (RESPONSE, [])):
        logprobs = of(body).choices[0].logprobs
        assert logprobs is not None and logprobs.content is not None
        assert [(each.token, each.logprob) for each in logprobs.content] == [("Blue.", -0.5)]
        assert [each.token for each in logprobs.content[0].top_logprobs] == others


def test_a_refusal_of_the_responses() -> None:
    item = {**RESPONSE["output"][1], "content": [{"type": "refusal", "refusal": "I cannot."}]}
    said = of({**RESPONSE, "output": [item]}, status="refused").choices[0].message
    assert (said.content, said.refusal) == (None, "I cannot.")


def test_a_signature_of_gemini_comes_with_its_call_so_that_a_next_row_can_send_it_back() -> None:
    part = {"functionCall": {"id": "c1", "name": "paint", "args": {}}, "thoughtSignature": "c2ln"}
    made = of({"candidates": [{"content": {"parts": [part, {"functionCall": {"name": "paint"}}]}}]})
    calls: Any = made.choices[0].message.tool_calls
    assert [(call.id, (call.model_extra or {}).get("extra_content")) for call in calls] == [
        ("c1", {"google": {"thought_signature": "c2ln"}}), ("call_1", None),
    ]  # fmt: skip


def test_the_bodies_of_these_tests_are_those_of_their_providers() -> None:
    for body in (RESPONSE, RESPONSE_TOOL, RESPONSE_CUT):
        assert Response.model_validate(body, strict=True).output
    for body in (MESSAGE, TOOL_MESSAGE):
        assert Message.model_validate(body, strict=True).content
    for body in (GEMINI, GEMINI_TOOL, GEMINI_BLOCKED, GEMINI_LOGPROBS):
        assert GenerateContentResponse.model_validate(body)


def test_every_candidate_is_a_choice_and_log_probabilities_go_with_it() -> None:
    found = of(GEMINI)
    assert [(each.index, each.message.content, each.finish_reason) for each in found.choices] == [
        (0, "Blue.", "stop"), (1, "Red.", "length"),
    ]  # fmt: skip
    logprobs: Any = of(GEMINI_LOGPROBS).choices[0].logprobs
    [token] = logprobs.content
    assert (token.token, token.logprob, token.bytes) == ("é", -0.5, [0xC3, 0xA9])
    assert [(each.token, each.logprob) for each in token.top_logprobs] == [("é", -0.5), ("a", -2.0)]


def test_a_chat_completion_goes_through_byte_by_byte() -> None:
    text = '{"id":"chatcmpl-9", "created":1.0,"choices":[ {"index":0}],"x":1e2}'
    assert text.encode() in line_bytes(line_of({**ROW, "response": text}))
    assert completion({**ROW, "response": text})["id"] == "chatcmpl-9"


def test_a_server_that_writes_json_over_several_lines_breaks_no_line() -> None:
    body = {"id": "x", "choices": [{"message": {"content": "two\nlines \u2028"}}]}
    for text in (json.dumps(body, indent=2), json.dumps(body, indent="\t", ensure_ascii=False).replace("\n", "\r\n")):
        written = line_bytes(line_of({**ROW, "response": text}))
        assert written.count(b"\n") == 1 and b"\r" not in written
        assert json.loads(written)["response"]["body"] == body
        assert line_bytes({"response": embedded(text)}).count(b"\n") == 1


@pytest.mark.parametrize(
    ("word", "finish"), [("length", "length"), ("tool", "tool_calls"), ("filter", "content_filter"),
                         ("refusal", "content_filter"), ("error:odd", "stop"), (None, "stop")],
)  # fmt: skip
def test_our_own_words_for_an_end_are_openais_in_an_answer_whose_body_was_not_kept(word: Any, finish: str) -> None:
    assert of(None, finish_reason=word).choices[0].finish_reason == finish


def test_an_anthropic_client_reads_a_message_whoever_answered() -> None:
    assert message(MESSAGE) == Message.model_validate(MESSAGE), "its own is left as it is"
    for body in (GEMINI, OLLAMA):
        found: Any = message(body)
        assert [(block.type, block.text) for block in found.content] == [("text", "Blue.")]
    assert message(OLLAMA).stop_reason == "max_tokens" and message(GEMINI).stop_reason == "end_turn"
    for body in (GEMINI_TOOL, OLLAMA_TOOL):
        found = message(body, output="")
        [block] = found.content
        assert (block.type, block.id, block.name, block.input) == ("tool_use", "call_0", "paint", {"colour": "blue"})
        assert found.stop_reason == "tool_use"
    assert message(GEMINI_BLOCKED, status="refused", output="").stop_reason == "refusal"
    reused = {"status": "duplicate", "input_tokens": None, "output_tokens": None, "cached_input_tokens": None}
    usage = message(GEMINI, **reused, cache_write_tokens=None).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens) == (6, 9, 4)


JUNK: list[Any] = [
    {"type": "message", "content": [1, None, {"type": "tool_use"}, {"type": "text", "text": 7}], "usage": []},
    {"candidates": [None, 3]}, {"candidates": [{"content": {"parts": "x"}, "finishReason": ["STOP"], "logprobsResult": {"chosenCandidates": [{"token": 1}]}}]},
    {"candidates": [{"content": 1}], "usageMetadata": {"promptTokenCount": -3, "candidatesTokenCount": "x"}},
    {"message": {"tool_calls": [1, {"function": 2}]}, "done": None}, {"message": {"content": ["x"]}, "done": True, "eval_count": True},
    {"choices": [{"message": {"tool_calls": [1, {"function": {}}]}, "finish_reason": {"odd": 1}}]},
]  # fmt: skip


@pytest.mark.parametrize("body", JUNK, ids=range(len(JUNK)))
def test_what_a_provider_should_never_say_breaks_no_line(body: Any) -> None:
    assert line_bytes(line_of({**ROW, "response": json.dumps(body)}))
    assert line_bytes(result_of({**ROW, "response": json.dumps(body)}))
    if body.get("type") != "message":
        assert message(body).content
    if "choices" not in body:
        assert of(body).choices
