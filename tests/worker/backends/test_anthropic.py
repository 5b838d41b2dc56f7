"""The Messages API, judged by its own client's types."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from pipelines.types import Completion, Failure, Usage
from tests.contracts.backend_contract import ROW, SCHEMA, BackendContract, raw
from worker.backends import load
from worker.backends.schemas import closed

GOOD: dict[str, Any] = {
    "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
    "content": [
        {"type": "thinking", "thinking": "The sky…", "signature": "EqQBCg"},
        {"type": "text", "text": "Bl"}, {"type": "text", "text": "ue."},
    ],
    "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {
        "input_tokens": 95, "output_tokens": 20, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 500,
        "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 0},
        "output_tokens_details": {"thinking_tokens": 12}, "service_tier": "standard",
    },
}  # fmt: skip
PNG = "iVBORw0KGgo="


def error(type_: str, message: str = "Something is wrong.", code: str | None = None) -> dict[str, Any]:
    details = {"details": {"error_code": code}} if code else {}
    return {"type": "error", "error": {"type": type_, "message": message, **details}, "request_id": "req_1"}


class TestAnthropic(BackendContract):
    kind = "anthropic"
    base_path = ""
    path = "/v1/messages"
    good = GOOD
    usage = Usage(625, 500, 30, 20, 12)
    plain_error: ClassVar = error("invalid_request_error")
    empty: ClassVar = {**GOOD, "content": [], "usage": {"input_tokens": 9, "output_tokens": 0}}
    finishes: ClassVar = {
        "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "model_context_window_exceeded": "length",
        "tool_use": "tool", "refusal": "refusal",
    }  # fmt: skip
    broken = ("pause_turn",)
    overflow: ClassVar = (error("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), 200_000)
    cannot: ClassVar = {
        "`seed`": {"seed": 1}, "`n`": {"n": 2}, "`logprobs`": {"logprobs": True}, "`logit_bias`": {"logit_bias": {"1": 2}},
        "`temperature` above 1": {"temperature": 1.5}, "`presence_penalty`": {"presence_penalty": 0.5},
        "`response_format` json_object": {"response_format": {"type": "json_object"}},
        "`input_audio`": {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        "a file by id": {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        "`web_search_options`": {"web_search_options": {}}, "`verbosity`": {"verbosity": "low"},
        "`reasoning_effort` minimal": {"reasoning_effort": "minimal"},
        "role `function`": {"messages": [{"role": "function", "name": "f", "content": "x"}]},
        "tool of type": {"tools": [{"type": "custom", "custom": {}}]},
        "`brand_new`": {"brand_new": 1},
        "`name` in a user message": {"messages": [{"role": "user", "name": "Ann", "content": "hi"}]},
        "`prefix` in a assistant message": {"messages": [{"role": "assistant", "prefix": True, "content": "hi"}]},
        "without a user's message": {"messages": [{"role": "system", "content": "Be brief."}]},
        "a file of type `application/zip`": {"messages": [{"role": "user", "content": [
            {"type": "file", "file": {"file_data": "data:application/zip;base64,AAAA"}}]}]},
        "`function_call`": {"messages": [{"role": "assistant", "content": None, "function_call": {"name": "f"}}]},
    }  # fmt: skip

    def finished(self, reason: str) -> dict[str, Any]:
        return {**GOOD, "stop_reason": reason}

    def silent(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "content": [block for block in body["content"] if block["type"] != "text"]}

    def check_request(self, body: dict[str, Any]) -> None:
        params = pytest.importorskip("anthropic.types.message_create_params")
        from tests.worker.backends.sdk import accepts

        # The client speaks a later version, which has no sampling parameters.
        sampling = {"temperature", "top_p", "top_k"}
        accepts(params.MessageCreateParamsNonStreaming, {k: v for k, v in body.items() if k not in sampling})

    def test_the_client_reads_the_sample_as_we_do(self) -> None:
        types = pytest.importorskip("anthropic.types")
        theirs, ours = types.Message.model_validate(GOOD), self.parse(GOOD)
        assert isinstance(ours, Completion)
        assert ours.text == "".join(block.text for block in theirs.content if block.type == "text")
        assert ours.usage.output_tokens == theirs.usage.output_tokens

    def test_headers(self) -> None:
        request = load("anthropic").request(self.target("https://api.anthropic.com"), raw(ROW))
        assert not isinstance(request, Failure)
        assert request[1]["anthropic-version"] == "2023-06-01"
        assert request[1]["x-api-key"]
        assert "authorization" not in request[1]

    def test_an_address_that_ends_in_v1_is_understood(self) -> None:
        request = load("anthropic").request(self.target("http://localhost:1234/v1"), raw(ROW))
        assert not isinstance(request, Failure)
        assert request[0] == "http://localhost:1234/v1/messages"

    def test_system_messages_become_the_system_prompt(self) -> None:
        sent = self.sent(ROW)
        assert sent["system"] == [{"type": "text", "text": "Answer with one word."}]
        assert sent["messages"] == [
            {"role": "user", "content": [{"type": "text", "text": "Which colour has the sky?"}]}
        ]
        assert (sent["max_tokens"], sent["temperature"]) == (16, 0.5)

    def test_a_conversation_with_tools_and_images(self) -> None:
        def call(n: int) -> dict[str, Any]:
            return {"id": f"call_{n}", "type": "function", "function": {"name": "look", "arguments": f'{{"n":{n}}}'}}

        row = {
            "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "Compare.", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/cat.jpg"}},
                    {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PNG}", "filename": "a.pdf"}},
                ]},
                {"role": "assistant", "content": "Looking.", "tool_calls": [call(1), call(2)]},
                {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
                {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "a dog"}]},
                {"role": "user", "content": "And?"},
            ],
            "tools": [
                {"type": "function", "function": {"name": "look", "description": "Looks.", "strict": True,
                                                  "parameters": {"type": "object", "properties": {}}}},
                {"type": "function", "function": {"name": "wait"}},
            ],
            "tool_choice": "required", "parallel_tool_calls": False, "stop": "END", "top_p": 0.9,
            "reasoning_effort": "low",
        }  # fmt: skip
        sent = self.sent(row)
        user, assistant, results = sent["messages"]
        assert [block["type"] for block in user["content"]] == ["text", "image", "image", "document"]
        assert user["content"][0]["cache_control"] == {"type": "ephemeral"}
        assert user["content"][1]["source"] == {"type": "base64", "media_type": "image/png", "data": PNG}
        assert user["content"][2]["source"] == {"type": "url", "url": "https://example.com/cat.jpg"}
        assert assistant["content"][1] == {"type": "tool_use", "id": "call_1", "name": "look", "input": {"n": 1}}
        assert [block["type"] for block in results["content"]] == ["tool_result", "tool_result", "text"]
        assert results["content"][1] == {"type": "tool_result", "tool_use_id": "call_2", "content": "a dog"}
        assert sent["tools"][0]["strict"] is True
        assert sent["tools"][1]["input_schema"] == {"type": "object", "properties": {}}
        assert sent["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
        assert (sent["stop_sequences"], sent["output_config"]["effort"]) == (["END"], "low")

    def test_a_choice_without_tools_is_none(self) -> None:
        for more in ({"tool_choice": "none"}, {"tool_choice": "auto"}, {"parallel_tool_calls": False}):
            assert "tool_choice" not in self.sent({**ROW, **more})
        tools = [{"type": "function", "function": {"name": "look"}}]
        row = {**ROW, "tool_choice": "none", "parallel_tool_calls": False, "tools": tools}
        assert self.sent(row)["tool_choice"] == {"type": "none"}

    def test_users_are_told_to_those_who_ask_for_them(self) -> None:
        for name in ("user", "safety_identifier"):
            assert self.sent({**ROW, name: "u-1"})["metadata"] == {"user_id": "u-1"}

    def test_a_text_file_is_read(self) -> None:
        file = {"type": "file", "file": {"file_data": "data:text/plain;base64,aGVsbG8=", "filename": "a.txt"}}
        sent = self.sent({**ROW, "messages": [{"role": "user", "content": [file]}]})
        source = {"type": "text", "media_type": "text/plain", "data": "hello"}
        assert sent["messages"][0]["content"] == [{"type": "document", "source": source}]

    def test_one_tool_can_be_demanded(self) -> None:
        tools = [{"type": "function", "function": {"name": "look"}}]
        choice = {"type": "function", "function": {"name": "look"}}
        assert self.sent({**ROW, "tools": tools, "tool_choice": choice})["tool_choice"] == {
            "type": "tool",
            "name": "look",
        }

    def test_a_runs_schema_is_closed_and_cut_to_what_it_can_enforce(self) -> None:
        schema = {
            "type": "object", "properties": {"n": {"type": "integer", "minimum": 1}, "a": {"type": "array", "minItems": 2,
            "items": {"type": "object", "properties": {"maximum": {"type": "string", "maxLength": 3}}}}}, "required": ["n"],
        }  # fmt: skip
        assert closed(schema) == {
            "type": "object", "required": ["n"], "additionalProperties": False,
            "properties": {
                "n": {"type": "integer"},
                "a": {"type": "array", "items": {"type": "object", "additionalProperties": False,
                                                 "properties": {"maximum": {"type": "string"}}}},
            },
        }  # fmt: skip
        assert self.sent(ROW, SCHEMA)["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}

    def test_tool_use_is_an_answer(self) -> None:
        block = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"n": 1}}
        outcome = self.parse({**GOOD, "content": [block], "stop_reason": "tool_use"})
        assert isinstance(outcome, Completion)
        assert (outcome.text, outcome.finish, outcome.tool_calls) == ("", "tool", True)

    def test_a_stop_of_the_rows_own_may_come_first(self) -> None:
        body = {**self.silent(GOOD), "stop_reason": "stop_sequence", "stop_sequence": "END"}
        empty = self.parse(body)
        assert isinstance(empty, Completion)
        assert (empty.text, empty.finish, empty.silent) == ("", "stop", True)
        assert self.failure({**body, "stop_reason": "end_turn", "stop_sequence": None}).code == "empty_answer"

    def test_a_refusal_without_text_is_settled(self) -> None:
        outcome = self.parse({**self.empty, "stop_reason": "refusal", "stop_details": {"type": "refusal"}})
        assert isinstance(outcome, Completion)
        assert (outcome.finish, outcome.usage.input_tokens) == ("refusal", 9)

    @pytest.mark.parametrize(
        ("status", "type_", "code", "kind"),
        [
            (401, "authentication_error", None, "auth"), (403, "permission_error", None, "auth"),
            (402, "billing_error", None, "funds"), (404, "not_found_error", None, "invalid"),
            (413, "request_too_large", None, "invalid"), (429, "rate_limit_error", None, "rate"),
            (429, "rate_limit_error", "ramp_limit_exceeded", "rate"),
            (429, "rate_limit_error", "enforced_spend_limit_reached", "funds"),
            (400, "invalid_request_error", "contract_spend_limit_reached", "funds"),
            (403, "permission_error", "organization_on_hold", "funds"),
            (500, "api_error", None, "transient"), (504, "timeout_error", None, "transient"),
            (529, "overloaded_error", None, "overload"), (200, "overloaded_error", None, "overload"),
        ],
    )  # fmt: skip
    def test_error_types(self, status: int, type_: str, code: str | None, kind: str) -> None:
        failure = self.failure(error(type_, code=code), status)
        assert (failure.kind, failure.code) == (kind, code or type_)

    def test_a_blocked_answer_is_told_by_its_text_alone(self) -> None:
        words = "Output blocked by content filtering policy"
        blocked = self.parse(error("invalid_request_error", words), 400)
        assert isinstance(blocked, Completion)
        assert (blocked.text, blocked.finish) == ("", "filter")
        assert self.failure(error("invalid_request_error", f"Bad prompt: {words}"), 400).kind == "invalid"

    def test_an_account_that_ran_dry_is_told_by_its_text_alone(self) -> None:
        """A target closes by it, so a prompt that is quoted in a message must not be able to say it."""
        dry = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade."
        until = "You will regain access on 2026-12-01 at 00:00 UTC."
        limits = [f"You have reached your specified {whose}API usage limits. {until}" for whose in ("", "workspace ")]
        for text in (dry, "This organization has been disabled.", *limits):
            assert self.failure(error("invalid_request_error", text), 400).kind == "funds"
        quoted = f"messages.0.content: '{dry}' is not allowed"
        assert self.failure(error("invalid_request_error", quoted), 400).kind == "invalid"

    def test_resets_are_read_against_the_servers_clock(self) -> None:
        headers = {
            "date": "Sat, 21 Nov 2026 12:00:00 GMT", "anthropic_ratelimit_input_tokens_remaining": "0",
            "anthropic_ratelimit_input_tokens_reset": "2026-11-21T12:00:30Z",
            "anthropic_ratelimit_requests_remaining": "5", "anthropic_ratelimit_requests_reset": "2026-11-21T13:00:00Z",
        }  # fmt: skip
        assert self.failure(error("rate_limit_error"), 429, **headers).retry_after_s == 30.0

    def test_rows_that_are_no_rows(self) -> None:
        for item in (b"[]", b"{}", b'{"messages":7}', b"nonsense"):
            request = load("anthropic").request(self.target(), item)
            assert isinstance(request, Failure)
            assert request.kind == "invalid"

    def test_tool_arguments_must_be_an_object(self) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "not json"}}
        row = {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
        request = load("anthropic").request(self.target(), json.dumps(row).encode())
        assert isinstance(request, Failure)
        assert "arguments" in request.message
