"""Ollama's native shape: a window that is asked for, and nothing cut away in silence."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from ollama import ChatResponse, Message, Options
from ollama._types import ChatRequest

from pipelines.types import Completion, Failure, Usage
from tests.contracts.backend_contract import CONVERSATION, ROW, SCHEMA, BackendContract, raw
from worker.backends import load

GOOD: dict[str, Any] = {
    "model": "llama3.2", "created_at": "2026-11-21T12:00:00.0Z",
    "message": {"role": "assistant", "content": "Blue.", "thinking": "The sky…"},
    "done": True, "done_reason": "stop", "total_duration": 4935886791, "load_duration": 534986708,
    "prompt_eval_count": 26, "prompt_eval_duration": 107345000, "eval_count": 237, "eval_duration": 4289432000,
}  # fmt: skip
PNG = "iVBORw0KGgo="


class TestOllama(BackendContract):
    kind = "ollama"
    lane = "local"
    path = "/api/chat"
    good = GOOD
    usage = Usage(26, 0, 0, 237, 0)
    plain_error: ClassVar = {"error": "Something is wrong."}
    empty: ClassVar = {**GOOD, "message": {"role": "assistant", "content": ""}, "eval_count": 0, "done_reason": "load"}
    finishes: ClassVar = {"stop": "stop", "length": "length"}
    overflow: ClassVar = ({"error": "input length exceeds the context length"}, None)
    conversation: ClassVar = {**CONVERSATION, "messages": [
        {**message, "content": [part for part in message["content"] if "example.com" not in str(part)]}
        if type(message["content"]) is list else message for message in CONVERSATION["messages"]]}  # fmt: skip
    cannot: ClassVar = {
        "`n`": {"n": 2}, "`logit_bias`": {"logit_bias": {"1": 2}}, "`tool_choice`": {"tool_choice": "required"},
        "`strict` tools": {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]},
        "`name` in a user message": {"messages": [{"role": "user", "name": "Ann", "content": "hi"}]},
        "by URL": {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]},
        "`reasoning_effort` minimal": {"reasoning_effort": "minimal"}, "`brand_new`": {"brand_new": 1},
    }  # fmt: skip

    def finished(self, reason: str) -> dict[str, Any]:
        return {**GOOD, "done_reason": reason}

    def silent(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "message": {**body["message"], "content": ""}}

    def check_request(self, body: dict[str, Any]) -> None:
        newer = {"truncate", "shift"}  # the client's types do not know them yet
        assert body.keys() <= ChatRequest.model_fields.keys() | newer
        ChatRequest.model_validate({name: value for name, value in body.items() if name not in newer})
        assert body["options"].keys() <= Options.model_fields.keys() | {"min_p"}
        assert (body["stream"], body["truncate"]) == (False, False)
        for message in body["messages"]:
            assert message.keys() <= Message.model_fields.keys()

    def test_the_client_reads_the_sample_as_we_do(self) -> None:
        theirs, ours = ChatResponse.model_validate(GOOD), self.parse(GOOD)
        assert isinstance(ours, Completion)
        assert (ours.text, ours.model) == (theirs.message.content, theirs.model)
        assert (ours.usage.input_tokens, ours.usage.output_tokens) == (theirs.prompt_eval_count, theirs.eval_count)

    def test_the_window_is_the_targets_so_that_the_model_is_not_loaded_anew(self) -> None:
        assert self.sent(ROW, context_tokens=16384)["options"]["num_ctx"] == 16384
        assert "num_ctx" not in self.sent(ROW)["options"]

    def test_messages_and_parameters(self) -> None:
        row = {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                ]},
                {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"n\":1}"}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
            ],
            "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
            "max_tokens": 9, "temperature": 0.5, "seed": 3, "stop": "END", "reasoning_effort": "none",
        }  # fmt: skip
        sent = self.sent(row)
        assert sent["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is this?", "images": [PNG]},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": {"n": 1}}}]},
            {"role": "tool", "content": "a cat", "tool_name": "look"},
        ]
        assert sent["options"] == {"num_predict": 9, "temperature": 0.5, "seed": 3, "stop": ["END"]}
        assert (sent["think"], sent["tools"]) == (False, row["tools"])

    def test_tools_may_be_switched_off(self) -> None:
        tools = [{"type": "function", "function": {"name": "look"}}]
        assert "tools" not in self.sent({**ROW, "tools": tools, "tool_choice": "none"})

    def test_schemas(self) -> None:
        assert self.sent(ROW, SCHEMA)["format"] == SCHEMA
        assert self.sent({**ROW, "response_format": {"type": "json_object"}})["format"] == "json"

    def test_tool_calls_are_an_answer(self) -> None:
        call = {"function": {"name": "look", "arguments": {"n": 1}}}
        outcome = self.parse({**GOOD, "message": {"role": "assistant", "content": "", "tool_calls": [call]}})
        assert isinstance(outcome, Completion)
        assert (outcome.finish, outcome.tool_calls) == ("tool", True)

    @pytest.mark.parametrize(("told", "cached"), [(20, 20), (99, 26), (None, 0), (-1, 0)])
    def test_what_its_cache_had_is_counted_in(self, told: int | None, cached: int) -> None:
        outcome = self.parse({**GOOD, "prompt_eval_cached_count": told})
        assert isinstance(outcome, Completion)
        assert outcome.usage == Usage(26, cached, 0, 237, 0)

    def test_a_count_that_is_left_out_is_nought(self) -> None:
        body = {name: value for name, value in GOOD.items() if name != "prompt_eval_count"}
        outcome = self.parse(body)
        assert isinstance(outcome, Completion)
        assert outcome.usage == Usage(0, 0, 0, 237, 0)

    @pytest.mark.parametrize(
        ("status", "message", "kind"),
        [
            (404, "model 'x' not found", "invalid"),
            (503, "server busy, please try again. maximum pending requests exceeded", "overload"),
            (500, "llama runner process has terminated", "transient"),
            (400, "the prompt is too long: exceeds the context window", "context"),
        ],
    )
    def test_errors(self, status: int, message: str, kind: str) -> None:
        assert self.failure({"error": message}, status).kind == kind

    def test_the_native_paths_stand_beside_v1(self) -> None:
        for base in ("http://localhost:11434/v1", "http://localhost:11434"):
            target = self.target().model_copy(update={"base_url": base})
            request = load("ollama").request(target, raw(ROW))
            assert not isinstance(request, Failure)
            assert request[0] == "http://localhost:11434/api/chat"
