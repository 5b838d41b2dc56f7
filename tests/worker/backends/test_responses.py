"""OpenAI's Responses API, which kind `openai` speaks when it is told so; judged by its own client's types."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from openai.types.responses import Response as TheirResponse
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import ValidationError

from pipelines.config.sections import Target
from pipelines.types import Completion, Failure, Usage
from tests.contracts.backend_contract import CONVERSATION, ROW, SCHEMA, BackendContract, raw
from tests.worker.backends.sdk import accepts
from tests.worker.backends.test_openai import error
from worker.backends import load

GOOD: dict[str, Any] = {
    "id": "resp_67ccd2bed1ec8190b14f964abc054267", "object": "response", "created_at": 1741476542, "status": "completed",
    "error": None, "incomplete_details": None, "instructions": None, "max_output_tokens": None, "model": "gpt-4.1-2025-04-14",
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "The sky…"}]},
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
         "content": [{"type": "output_text", "text": "Bl", "annotations": []},
                     {"type": "output_text", "text": "ue.", "annotations": []}]},
    ],
    "parallel_tool_calls": True, "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "store": True,
    "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0,
    "truncation": "disabled", "service_tier": "flex",
    "usage": {
        "input_tokens": 36, "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 4}, "output_tokens": 87,
        "output_tokens_details": {"reasoning_tokens": 60}, "total_tokens": 123,
    },
    "user": None, "metadata": {},
}  # fmt: skip


class TestResponses(BackendContract):
    kind = "openai"
    more: ClassVar = {"api": "responses"}
    path = "/v1/responses"
    good = GOOD
    usage = Usage(36, 8, 4, 87, 60)
    plain_error: ClassVar = error(None)
    empty: ClassVar = {**GOOD, "output": [], "usage": {"input_tokens": 9, "output_tokens": 0, "total_tokens": 9}}
    finishes: ClassVar = {"max_output_tokens": "length", "content_filter": "filter"}
    broken = ("steered", "max_messages")
    overflow: ClassVar = (
        error("context_length_exceeded", message="Your input exceeds the context window of this model."),
        None,
    )
    cannot: ClassVar = {
        "`seed`": {"seed": 1}, "`n`": {"n": 2}, "`stop`": {"stop": ["a"]}, "`logit_bias`": {"logit_bias": {"1": 2}},
        "`presence_penalty`": {"presence_penalty": 0.5}, "`frequency_penalty`": {"frequency_penalty": 0.5},
        "`max_tokens` below 16": {"max_tokens": 15}, "`audio`": {"audio": {"voice": "a"}},
        "`input_audio`": {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        "tool of type": {"tools": [{"type": "custom", "custom": {"name": "x"}}]},
        "`name` in a user message": {"messages": [{"role": "user", "name": "Ann", "content": "hi"}]},
        "this form of `tool_choice`": {"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
        "openai's responses API": {"brand_new": 1}, "`web_search_options`": {"web_search_options": {}},
    }  # fmt: skip
    conversation: ClassVar = {name: value for name, value in CONVERSATION.items() if name != "stop"}

    def finished(self, reason: str) -> dict[str, Any]:
        return {**GOOD, "status": "incomplete", "incomplete_details": {"reason": reason}}

    def silent(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "output": body["output"][:1]}

    def check_request(self, body: dict[str, Any]) -> None:
        accepts(ResponseCreateParamsNonStreaming, body)

    def test_the_client_reads_the_sample_as_we_do(self) -> None:
        theirs, ours = TheirResponse.model_validate(GOOD), self.parse(GOOD)
        assert isinstance(ours, Completion)
        assert theirs.usage is not None
        assert (ours.text, ours.model, ours.tier) == (theirs.output_text, theirs.model, theirs.service_tier)
        assert (ours.usage.input_tokens, ours.usage.output_tokens) == (
            theirs.usage.input_tokens,
            theirs.usage.output_tokens,
        )

    def test_only_openai_has_it(self) -> None:
        with pytest.raises(ValidationError, match='api = "responses" is for kind = "openai"'):
            Target(kind="vllm", model="m", api="responses")

    # -- requests ------------------------------------------------------------------------------------------------------

    def test_a_conversation_becomes_items(self) -> None:
        sent = self.sent(self.conversation)
        roles = [item.get("role") or item["type"] for item in sent["input"]]
        assert roles == [
            "system", "developer", "user", "assistant", "function_call", "function_call", "function_call_output",
            "function_call_output", "function_call", "function_call_output", "user", "assistant", "user",
        ]  # fmt: skip
        user = sent["input"][2]["content"]
        assert [part["type"] for part in user] == ["input_text", "input_image", "input_image"]
        assert [part.get("detail") for part in user] == [None, "low", "auto"]
        assert sent["input"][5] == {
            "type": "function_call", "call_id": "call_2", "name": "look", "arguments": '{"n": 2}',
        }  # fmt: skip
        assert sent["input"][7] == {"type": "function_call_output", "call_id": "call_2", "output": "a dog"}
        assert sent["tools"][0]["strict"] is False, "chat's default, not this API's"

    def test_parameters(self) -> None:
        form = {"type": "json_schema", "json_schema": {"name": "mine", "strict": True, "schema": SCHEMA}}
        row = {
            **ROW, "reasoning_effort": "low", "verbosity": "high", "logprobs": True, "top_logprobs": 3, "user": "u",
            "service_tier": "flex", "parallel_tool_calls": False, "response_format": form, "safety_identifier": "s",
            "tools": [{"type": "function", "function": {"name": "f", "strict": True}}], "prompt_cache_key": "k",
            "tool_choice": {"type": "function", "function": {"name": "f"}},
        }  # fmt: skip
        sent = self.sent(row)
        assert sent["reasoning"] == {"effort": "low"}
        assert sent["text"] == {
            "verbosity": "high", "format": {"type": "json_schema", "name": "mine", "strict": True, "schema": SCHEMA},
        }  # fmt: skip
        assert (sent["include"], sent["top_logprobs"]) == (["message.output_text.logprobs"], 3)
        assert (sent["max_output_tokens"], sent["temperature"], sent["store"]) == (16, 0.5, False)
        assert sent["tool_choice"] == {"type": "function", "name": "f"}
        assert sent["tools"][0]["strict"] is True
        for name in ("user", "service_tier", "parallel_tool_calls", "safety_identifier", "prompt_cache_key"):
            assert sent[name] == row[name]

    def test_files(self) -> None:
        parts = [
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
            {"type": "file", "file": {"file_id": "file-1"}},
        ]
        sent = self.sent({**ROW, "messages": [{"role": "user", "content": parts}]})
        assert sent["input"][0]["content"] == [
            {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
            {"type": "input_file", "file_id": "file-1"},
        ]

    # -- answers -------------------------------------------------------------------------------------------------------

    def test_calls_are_an_answer(self) -> None:
        call = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "f",
            "arguments": "{}",
            "status": "completed",
        }
        outcome = self.parse({**GOOD, "output": [call, {**call, "call_id": "call_2"}]})
        assert isinstance(outcome, Completion)
        assert (outcome.text, outcome.finish, outcome.tool_calls) == ("", "tool", True)

    def test_a_refusal_is_told_apart(self) -> None:
        item = {**GOOD["output"][1], "content": [{"type": "refusal", "refusal": "I cannot help with that."}]}
        outcome = self.parse({**GOOD, "output": [item]})
        assert isinstance(outcome, Completion)
        assert (outcome.text, outcome.finish) == ("I cannot help with that.", "refusal")

    @pytest.mark.parametrize(
        ("code", "kind"),
        [
            ("server_error", "transient"), ("rate_limit_exceeded", "rate"), ("invalid_image_url", "invalid"),
            ("image_too_large", "invalid"), ("data_residency_mismatch", "invalid"), ("failed_to_download_image", "invalid"),
        ],
    )  # fmt: skip
    def test_a_failed_response(self, code: str, kind: str) -> None:
        body = {**GOOD, "status": "failed", "output": [], "usage": None, "error": {"code": code, "message": "Sorry."}}
        failure = self.failure(body)
        assert (failure.kind, failure.code, failure.http_status) == (kind, code, 200)

    def test_a_response_that_failed_after_it_began_may_be_paid(self) -> None:
        failure = self.failure({**GOOD, "status": "failed", "error": {"code": "server_error", "message": "Sorry."}})
        assert (failure.kind, failure.usage) == ("unknown", self.usage)

    @pytest.mark.parametrize("code", ["invalid_prompt", "bio_policy", "misalignment_policy_violation"])
    def test_policies_are_refusals(self, code: str) -> None:
        failed = {**GOOD, "status": "failed", "error": {"code": code, "message": "No."}}
        for outcome in (self.parse(failed), self.parse(error(code), 400)):
            assert isinstance(outcome, Completion)
            assert outcome.finish == "refusal"
        outcome = self.parse(failed)
        assert isinstance(outcome, Completion)
        assert outcome.usage == self.usage

    @pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
    def test_what_has_not_ended_is_no_answer(self, status: str) -> None:
        failure = self.failure({**GOOD, "status": status, "output": []})
        assert (failure.kind, failure.code) == ("unknown", "finish_error")

    def test_codes_of_funds_and_rates_are_those_of_chat(self) -> None:
        assert self.failure(error("insufficient_quota", "insufficient_quota"), 429).kind == "funds"
        assert self.failure(error("rate_limit_exceeded", "tokens"), 429, retry_after_ms="250").retry_after_s == 0.25

    def test_a_row_that_is_none(self) -> None:
        for item in (b"[]", b"{}", b"nonsense"):
            request = load("openai").request(self.target(), item)
            assert isinstance(request, Failure)
            assert request.kind == "invalid"

    def test_a_target_without_a_key_sends_none(self) -> None:
        request = load("openai").request(self.target(api_key=None), raw(ROW))
        assert not isinstance(request, Failure)
        assert "authorization" not in request[1]
        assert json.loads(request[2])["model"] == "some-model"
