"""OpenAI's own shape and error codes, judged by its own client's types."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from openai.types.chat import ChatCompletion
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from pipelines.types import Completion, Failure, Usage
from tests.contracts.backend_contract import KEY, ROW, SCHEMA, BackendContract, raw
from tests.worker.backends.sdk import accepts
from worker.backends import load
from worker.backends.exchange import Response

GOOD: dict[str, Any] = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion", "created": 1741569952,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{
        "index": 0,
        "message": {"role": "assistant", "content": "Blue.", "refusal": None, "annotations": []},
        "logprobs": None, "finish_reason": "stop",
    }],
    "usage": {
        "prompt_tokens": 1119, "completion_tokens": 110, "total_tokens": 1229,
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 64, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    },
    "service_tier": "default", "system_fingerprint": "fp_1",
}  # fmt: skip


def with_message(**message: Any) -> dict[str, Any]:
    choice = GOOD["choices"][0]
    return {**GOOD, "choices": [{**choice, "message": {**choice["message"], **message}}]}


def error(
    code: str | None, type_: str = "invalid_request_error", message: str = "Something is wrong."
) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


class TestOpenai(BackendContract):
    kind = "openai"
    path = "/v1/chat/completions"
    good = GOOD
    usage = Usage(1119, 1024, 0, 110, 64)
    plain_error: ClassVar = error(None)
    empty: ClassVar = {
        **with_message(content=""),
        "usage": {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9},
    }
    finishes: ClassVar = {
        "stop": "stop", "length": "length", "tool_calls": "tool", "content_filter": "filter", "function_call": "tool",
    }  # fmt: skip
    overflow: ClassVar = (
        error(
            "context_length_exceeded",
            message="This model's maximum context length is 128000 tokens. However, your messages resulted in 130011 tokens.",
        ),
        128000,
    )

    def finished(self, reason: str) -> dict[str, Any]:
        return {**GOOD, "choices": [{**GOOD["choices"][0], "finish_reason": reason}]}

    def silent(self, body: dict[str, Any]) -> dict[str, Any]:
        choice = body["choices"][0]
        return {**body, "choices": [{**choice, "message": {**choice["message"], "content": None}}]}

    def check_request(self, body: dict[str, Any]) -> None:
        accepts(CompletionCreateParamsNonStreaming, body)

    def test_the_client_reads_the_sample_as_we_do(self) -> None:
        theirs, ours = ChatCompletion.model_validate(GOOD), self.parse(GOOD)
        assert isinstance(ours, Completion)
        assert theirs.usage is not None
        assert (ours.text, ours.model) == (theirs.choices[0].message.content, theirs.model)
        assert (ours.usage.input_tokens, ours.usage.output_tokens) == (
            theirs.usage.prompt_tokens, theirs.usage.completion_tokens,
        )  # fmt: skip

    # -- answers ---------------------------------------------------------------------------------------------------

    def test_tool_calls_need_no_text(self) -> None:
        call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        body = {**self.finished("tool_calls")}
        body["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
        body["usage"] = {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}
        outcome = self.parse(body)
        assert isinstance(outcome, Completion)
        assert (outcome.text, outcome.finish, outcome.tool_calls) == ("", "tool", True)

    def test_an_empty_list_of_tool_calls_is_none(self) -> None:
        outcome = self.parse(with_message(tool_calls=[]))
        assert isinstance(outcome, Completion)
        assert outcome.tool_calls is False

    def test_a_refusal_is_told_apart(self) -> None:
        outcome = self.parse(with_message(content=None, refusal="I cannot help with that."))
        assert isinstance(outcome, Completion)
        assert (outcome.text, outcome.finish) == ("I cannot help with that.", "refusal")

    def test_text_in_parts_is_joined_and_thinking_left_out(self) -> None:
        parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Blue."}]
        outcome = self.parse(with_message(content=parts))
        assert isinstance(outcome, Completion)
        assert outcome.text == "Blue."

    def test_a_choice_that_is_odd_in_one_place_is_read_in_the_others(self) -> None:
        choice = GOOD["choices"][0]
        for odd in ({"finish_reason": 3}, {"message": {"content": "Blue.", "refusal": 0, "tool_calls": "none"}}):
            outcome = self.parse({**GOOD, "choices": [{**choice, **odd}]})
            assert isinstance(outcome, Completion)
            assert (outcome.text, outcome.finish, outcome.usage) == ("Blue.", "stop", self.usage)

    def test_a_failure_of_the_model_behind_the_server_is_the_servers_own_word(self) -> None:
        """So that nobody books it as lost: text-generation-inference generated nothing then."""
        body = {
            "error": "Request failed during generation: Server error: CUDA out of memory",
            "error_type": "generation",
        }
        failure = self.failure(body, 424)
        assert (failure.kind, failure.code) == ("transient", "generation")

    def test_what_is_said_aloud_or_drawn_is_an_answer(self) -> None:
        audio = {"id": "audio_1", "expires_at": 1729018505, "data": "UklGRg==", "transcript": "Blue."}
        heard = self.parse(with_message(content=None, audio=audio))
        drawn = self.parse(with_message(content="", images=[{"type": "image_url", "image_url": {"url": "data:…"}}]))
        assert isinstance(heard, Completion) and isinstance(drawn, Completion)
        assert (heard.text, heard.silent, drawn.text, drawn.silent) == ("Blue.", False, "", True)

    def test_the_window_of_a_model_that_has_one_for_its_input_alone(self) -> None:
        words = "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens."
        failure = self.failure(error("context_length_exceeded", message=words), 400)
        assert (failure.kind, failure.context_tokens) == ("context", 272_000)

    @pytest.mark.parametrize(
        ("words", "window"),
        [
            ("too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000", 4081),
            ("Range of input length should be [1, 30720]", 30_720),
            ("Prompt length 5000 is greater than max_seq_len 4096", 4096),
            ("The input (9000 tokens) is longer than the model's context length (8192 tokens).", 8192),
            ("Input is too long for requested model.", None),
        ],
    )
    def test_how_others_say_that_a_prompt_does_not_fit(self, words: str, window: int | None) -> None:
        """Cohere, DashScope, TabbyAPI, SGLang, Bedrock."""
        failure = self.failure(error(None, message=words), 400)
        assert (failure.kind, failure.context_tokens) == ("context", window)

    @pytest.mark.parametrize(
        ("status", "code", "type_"),
        [(429, None, "exceeded_current_quota_error"), (400, "Arrearage", None), (402, None, "insufficient_balance")],
    )
    def test_how_others_say_that_an_account_has_run_dry(self, status: int, code: str | None, type_: str | None) -> None:
        """Moonshot (else a rate without end), DashScope (else a row at a time), DeepSeek."""
        assert (
            self.failure({"error": {"message": "Check your account.", "code": code, "type": type_}}, status).kind
            == "funds"
        )

    def test_any_success_is_one(self) -> None:
        assert isinstance(self.parse(GOOD, 201), Completion)
        assert self.failure({"id": "x", "status": "IN_QUEUE"}, 202).code == "empty_answer"
        assert self.failure(b"", 204).code == "not_json"

    def test_of_several_answers_none_is_left_out(self) -> None:
        def choice(text: str | None, finish: str = "stop", **more: Any) -> dict[str, Any]:
            return {
                **GOOD["choices"][0],
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish,
                **more,
            }

        heard = self.parse(
            {**GOOD, "choices": [choice("Blue."), choice("Gre", "length"), choice("No.", "content_filter")]}
        )
        assert isinstance(heard, Completion)
        assert (heard.text, heard.finish, heard.usage) == ("Blue.", "stop", self.usage)
        assert [(each.text, each.finish) for each in heard.others] == [("Gre", "length"), ("No.", "filter")]
        assert self.failure({**GOOD, "choices": [choice("Blue."), choice(None)]}).code == "empty_answer"
        assert self.failure({**GOOD, "choices": [choice("Blue."), choice("Re", "error")]}).code == "finish_error"
        midway = {"code": 502, "message": "lost upstream"}
        failure = self.failure({**GOOD, "choices": [choice("Blue."), choice("Re", error=midway)]})
        assert (failure.kind, failure.usage) == ("unknown", self.usage), "begun, and so paid"

    def test_no_choices_is_no_answer(self) -> None:
        for choices in ([], None, "x", {}):
            failure = self.failure({**GOOD, "choices": choices})
            assert (failure.kind, failure.code) == ("unknown", "empty_answer")

    def test_a_cut_answer_without_text_is_still_an_answer(self) -> None:
        """All its tokens went into thinking, and they were paid."""
        body = {**self.finished("length")}
        body["choices"][0]["message"] = {"role": "assistant", "content": ""}
        outcome = self.parse(body)
        assert isinstance(outcome, Completion)
        assert (outcome.text, outcome.finish, outcome.usage.output_tokens) == ("", "length", 110)

    @pytest.mark.parametrize(
        ("usage", "expected"),
        [
            (None, Usage()), ({}, Usage()), ("many", Usage()), ([], Usage()),
            ({"prompt_tokens": None, "completion_tokens": "7"}, Usage()),
            ({"prompt_tokens": -5, "completion_tokens": 10**30}, Usage()),
            ({"prompt_tokens": 5, "completion_tokens": 2}, Usage(5, 0, 0, 2, 0)),
            ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": None}, Usage(5, 0, 0, 2, 0)),
            ({"prompt_tokens": 5.0, "completion_tokens": True}, Usage(5, 0, 0, 0, 0)),
            # more cached than sent, more thought than said: never less than nothing to pay
            ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 9},
              "completion_tokens_details": {"reasoning_tokens": 9}}, Usage(14, 9, 0, 2, 2)),
            # what came from the cache beside the rest, as the total says, or within it
            ({"prompt_tokens": 600, "completion_tokens": 10, "total_tokens": 1_010,
              "prompt_tokens_details": {"cached_tokens": 400}}, Usage(1_000, 400, 0, 10, 0)),
            ({"prompt_tokens": 600, "completion_tokens": 10, "total_tokens": 610,
              "prompt_tokens_details": {"cached_tokens": 400}}, Usage(600, 400, 0, 10, 0)),
            # reasoning beside the answer, as the total says
            ({"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 16,
              "completion_tokens_details": {"reasoning_tokens": 9}}, Usage(5, 0, 0, 11, 9)),
            ({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details":
              {"cached_tokens": 3, "cache_write_tokens": 4}}, Usage(9, 3, 4, 2, 0)),
        ],
    )  # fmt: skip
    def test_usage_is_read_with_care(self, usage: Any, expected: Usage) -> None:
        outcome = self.parse({**GOOD, "usage": usage})
        assert isinstance(outcome, Completion)
        assert outcome.usage == expected

    def test_an_answer_with_nan_or_broken_text_is_read(self) -> None:
        body = raw(GOOD).replace(b'"logprobs": null', b'"logprobs": {"content": [{"logprob": -Infinity}, NaN]}')
        outcome = self.parse(body.replace(b"fp_1", b"fp_\xff"))
        assert isinstance(outcome, Completion)
        assert (outcome.text, outcome.usage) == ("Blue.", self.usage)

    # -- errors ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("status", "code", "type_", "kind"),
        [
            (429, "insufficient_quota", "insufficient_quota", "funds"),
            (429, "credit_balance_exhausted", "insufficient_quota", "funds"),
            (429, "organization_spend_limit_exceeded", "requests", "funds"),
            (429, "project_spend_limit_exceeded", "requests", "funds"),
            (429, "organization_usage_limit_exceeded", "requests", "funds"),
            (429, None, "insufficient_quota", "funds"),
            (429, "rate_limit_exceeded", "tokens", "rate"),
            (429, "rate_limit_exceeded", "requests", "rate"),
            (429, "slow_down", "requests", "rate"),
            (503, "slow_down", "requests", "rate"),
            (503, "server_is_overloaded", "server_error", "overload"),
            (400, "context_length_exceeded", "invalid_request_error", "context"),
            (400, "content_filter", "invalid_request_error", "filter"),
            (401, "invalid_api_key", "invalid_request_error", "auth"),
            (403, "unsupported_country_region_territory", "request_forbidden", "auth"),
            (404, "model_not_found", "invalid_request_error", "invalid"),
            (500, None, "server_error", "transient"),
        ],
    )
    def test_codes_decide(self, status: int, code: str | None, type_: str, kind: str) -> None:
        outcome = self.parse(error(code, type_), status)
        if kind == "filter":
            assert isinstance(outcome, Completion)
            assert outcome.finish == "filter"
            assert outcome.usage == Usage()
            return
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.code) == (kind, code or type_)

    @pytest.mark.parametrize(
        ("message", "window"),
        [
            ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens and "
             "20 `max_new_tokens`", 4096),
            ("Input validation error: `inputs` must have less than 1024 tokens. Given: 2000", 1024),
            ("This model's maximum prompt length is 131072 but the request contains 200000 tokens.", 131_072),
            ("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", 32_768),
            ("The input token count exceeds the maximum number of tokens allowed 1048576.", 1_048_576),
            ("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", 1_048_576),
            ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("status", [400, 422])
    def test_other_servers_of_its_shape_have_their_own_texts_of_an_overflow(
        self, message: str, window: int, status: int
    ) -> None:
        failure = self.failure({"error": message, "error_type": "validation"}, status)
        assert (failure.kind, failure.context_tokens) == ("context", window)

    @pytest.mark.parametrize("status", [413, 429])
    def test_a_prompt_larger_than_a_minutes_tokens_is_not_waited_for(self, status: int) -> None:
        words = (
            "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 43000."
        )
        assert self.failure(error("rate_limit_exceeded", "tokens", message=words), status).kind == "invalid"
        words = "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 4300."
        assert self.failure(error("rate_limit_exceeded", "tokens", message=words), status).kind == "rate"

    def test_should_retry_is_obeyed(self) -> None:
        assert self.failure(self.plain_error, 400, x_should_retry="true").kind == "overload"
        assert self.failure(self.plain_error, 409, x_should_retry="false").kind == "invalid"
        assert self.failure(self.plain_error, 503, x_should_retry="false").kind == "invalid"
        # what may have been paid stays so
        assert self.failure(self.plain_error, 500, x_should_retry="false").kind == "transient"
        assert self.failure(error("insufficient_quota"), 429, x_should_retry="true").kind == "funds"

    @pytest.mark.parametrize(
        "body",
        [
            {"error": {"message": "Boom", "type": "server_error", "code": None}},
            {"error": "Boom"},
            {"object": "error", "message": "Boom", "type": "InternalServerError", "param": None, "code": 500},
            {"detail": "Boom"},
            {"message": "Boom"},
            {"error": {"message": "Boom", "code": "500"}},
            [{"error": {"code": 500, "message": "Boom", "status": "INTERNAL"}}],
        ],
    )
    def test_every_shape_of_an_error_is_read(self, body: Any) -> None:
        assert "Boom" in self.failure(body, 500).message

    # -- requests --------------------------------------------------------------------------------------------------

    def test_the_row_is_spliced_in_untouched(self) -> None:
        item = b'{"messages":[{"role":"user","content":"hi"}],"seed":1,"temperature":0.10,"max_tokens":5}'
        request = load("openai").request(self.target(lane="local"), item)
        assert not isinstance(request, Failure)
        assert request[2] == b'{"model":"some-model",' + item[1:]

    def test_the_real_openai_is_told_the_limit_in_its_own_name(self) -> None:
        for base, name in (
            ("https://api.openai.com/v1", "max_completion_tokens"),
            ("http://gpu:1/v1", "max_tokens"),
            ("https://eu.api.openai.com/v1", "max_completion_tokens"),
            ("https://notapi.openai.com/v1", "max_tokens"),
            ("https://x.openai.azure.com/openai/v1", "max_completion_tokens"),
        ):
            for given in ("max_tokens", "max_completion_tokens"):
                target = self.target().model_copy(update={"base_url": base})
                request = load("openai").request(target, raw({"messages": ROW["messages"], given: 7}))
                assert not isinstance(request, Failure)
                body = json.loads(request[2])
                assert body[name] == 7
                assert len({"max_tokens", "max_completion_tokens"} & body.keys()) == 1

    def test_a_schema_with_a_property_called_max_tokens_does_not_fool_the_limit(self) -> None:
        tool = {
            "type": "function",
            "function": {"name": "f", "parameters": {"properties": {"max_tokens": {"type": "integer"}}}},
        }
        assert self.sent({"messages": ROW["messages"], "tools": [tool]}, max_output_tokens=77)["max_tokens"] == 77

    def test_strict_is_asked_for_only_where_openai_grants_it(self) -> None:
        assert self.sent(ROW, SCHEMA)["response_format"]["json_schema"]["strict"] is True
        for loose in (
            {**SCHEMA, "required": []},
            {**SCHEMA, "additionalProperties": True},
            {"type": "array", "items": {}},
        ):
            assert self.sent(ROW, loose)["response_format"]["json_schema"]["strict"] is False

    def test_the_same_target_is_prepared_once_and_a_changed_one_again(self) -> None:
        one, two = self.target(), self.target(model="other-model")
        adapter = load("openai")
        first, second = adapter.request(one, raw(ROW)), adapter.request(one, raw(ROW))
        other = adapter.request(two, raw(ROW))
        assert not isinstance(first, Failure)
        assert not isinstance(second, Failure)
        assert not isinstance(other, Failure)
        assert first[1] is second[1]
        assert json.loads(other[2])["model"] == "other-model"

    def test_a_target_without_a_key_sends_none(self) -> None:
        request = load("openai").request(self.target(api_key=None), raw(ROW))
        assert not isinstance(request, Failure)
        assert "authorization" not in request[1]
        assert KEY not in str(request)

    def test_images_tools_and_the_rest_arrive_as_they_are(self) -> None:
        row = {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
                ]},
                {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"x\":1}"}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
            ],
            "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
            "seed": 7, "stop": ["\n"], "logprobs": True, "top_logprobs": 2, "reasoning_effort": "low", "n": 2,
        }  # fmt: skip
        sent = self.sent(row)
        assert {name: sent[name] for name in row} == row


def test_a_plain_openai_server_is_parsed_in_a_few_microseconds() -> None:
    """A generous bound that only a change of method breaks; the figures are in the benchmark log."""
    from timeit import repeat

    target = TestOpenai().target()
    adapter, response, row = load("openai"), Response(200, {}, raw(GOOD)), raw({"messages": ROW["messages"]})
    assert min(repeat(lambda: adapter.parse(target, response), number=1000, repeat=5)) < 0.04
    assert min(repeat(lambda: adapter.request(target, row), number=1000, repeat=5)) < 0.04
