"""Gemini's native shape, judged by its own client's types."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from pipelines.types import Completion, Failure, Usage
from tests.contracts.backend_contract import ROW, SCHEMA, BackendContract, asked, raw
from worker.backends import load

GOOD: dict[str, Any] = {
    "candidates": [{
        "content": {"parts": [{"text": "The sky…", "thought": True}, {"text": "Bl"}, {"text": "ue."}], "role": "model"},
        "finishReason": "STOP", "index": 0, "avgLogprobs": -0.1,
    }],
    "usageMetadata": {
        "promptTokenCount": 40, "cachedContentTokenCount": 8, "candidatesTokenCount": 5, "thoughtsTokenCount": 30,
        "toolUsePromptTokenCount": 2, "totalTokenCount": 77,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 40}],
    },
    "modelVersion": "gemini-2.5-flash-lite", "responseId": "abc",
}  # fmt: skip
PNG = "iVBORw0KGgo="


def error(code: int, status: str, message: str = "Something is wrong.", *details: dict[str, Any]) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def quota(*ids: str) -> dict[str, Any]:
    violations = [{"quotaMetric": "generativelanguage.googleapis.com/x", "quotaId": each} for each in ids]
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}


RETRY_22S = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "22s"}


class TestGemini(BackendContract):
    kind = "gemini"
    base_path = "/v1beta"
    path = "/v1beta/models/some-model:generateContent"
    good = GOOD
    usage = Usage(42, 8, 0, 35, 30)
    plain_error: ClassVar = {"error": {"code": None, "message": "Something is wrong.", "status": "UNKNOWN"}}
    empty: ClassVar = {
        "candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9},
    }
    finishes: ClassVar = {
        "STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "filter", "RECITATION": "filter", "BLOCKLIST": "filter",
        "PROHIBITED_CONTENT": "filter", "SPII": "filter", "IMAGE_PROHIBITED_CONTENT": "filter",
    }  # fmt: skip
    broken = ("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "OTHER", "LANGUAGE", "UNEXPECTED_TOOL_CALL")
    overflow: ClassVar = (
        error(
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        ),
        1_048_576,
    )
    cannot: ClassVar = {
        "`logit_bias`": {"logit_bias": {"1": 2}}, "`parallel_tool_calls`": {"parallel_tool_calls": False},
        "by URL unless": {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "https://example.com/a"}}]}]},
        "it is https": {"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "http://example.com/a.png"}}]}]},
        "`name` in a user message": {"messages": [{"role": "user", "name": "Ann", "content": "hi"}]},
        "without a user's message": {"messages": [{"role": "system", "content": "Be brief."}]},
        "`service_tier`": {"service_tier": "flex"}, "a file by id": {"messages": [
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        "`brand_new`": {"brand_new": 1},
    }  # fmt: skip

    def finished(self, reason: str) -> dict[str, Any]:
        return {**GOOD, "candidates": [{**GOOD["candidates"][0], "finishReason": reason}]}

    def silent(self, body: dict[str, Any]) -> dict[str, Any]:
        candidate = body["candidates"][0]
        thoughts = [part for part in candidate["content"]["parts"] if part.get("thought")]
        return {**body, "candidates": [{**candidate, "content": {"role": "model", "parts": thoughts}}]}

    def check_request(self, body: dict[str, Any]) -> None:
        types = pytest.importorskip("google.genai.types")
        assert body.keys() <= {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig"}
        for content in body["contents"]:
            types.Content.model_validate(content)
        types.GenerationConfig.model_validate(body["generationConfig"])
        for tool in body.get("tools", ()):
            types.Tool.model_validate(tool)
        if "systemInstruction" in body:
            types.Content.model_validate(body["systemInstruction"])
        types.ToolConfig.model_validate(body.get("toolConfig", {}))

    @pytest.mark.parametrize(
        "words", ["Your prepayment credits are depleted.", "Your project has exceeded its monthly spending cap."]
    )
    def test_spent_money_may_be_told_by_its_text_alone(self, words: str) -> None:
        assert self.failure(error(429, "RESOURCE_EXHAUSTED", words), 429).kind == "funds"
        assert self.failure(error(429, "RESOURCE_EXHAUSTED", f"quota: {words}"), 429).kind == "rate"

    def test_every_finish_reason_of_the_client_has_a_word(self) -> None:
        types = pytest.importorskip("google.genai.types")
        for reason in types.FinishReason:
            outcome = self.parse(self.finished(reason.value))
            known = isinstance(outcome, Failure) or not outcome.finish.startswith("error:")
            assert known or reason is types.FinishReason.FINISH_REASON_UNSPECIFIED, reason
        for blocked in types.BlockedReason:
            outcome = self.parse({"promptFeedback": {"blockReason": blocked.value}})
            assert isinstance(outcome, Completion)
            assert outcome.finish == "filter"

    def test_the_client_reads_the_sample_as_we_do(self) -> None:
        types = pytest.importorskip("google.genai.types")
        theirs, ours = types.GenerateContentResponse.model_validate(GOOD), self.parse(GOOD)
        assert isinstance(ours, Completion)
        assert ours.text == theirs.text

    def test_the_key_is_in_its_own_header_and_not_in_the_address(self) -> None:
        request = load("gemini").request(self.target(model="models/gemini-2.5-flash"), raw(ROW))
        assert not isinstance(request, Failure)
        assert request[0].endswith("/models/gemini-2.5-flash:generateContent")
        assert "x-goog-api-key" in request[1]

    @pytest.mark.parametrize("media", ["video/mp4", "application/pdf", "audio/wav", ""])
    def test_what_is_no_image_does_not_pass_as_one(self, media: str) -> None:
        """It was sent, and counted by its minutes or pages where an image was reserved."""
        part = {"type": "image_url", "image_url": {"url": f"data:{media};base64,{PNG}"}}
        row = {"messages": [{"role": "user", "content": [part]}]}
        refused = load("gemini").request(self.target(), raw(row))
        assert isinstance(refused, Failure) and refused.code == "unsupported_parameter"
        assert f"`image_url` of type {media or 'application/octet-stream'}" in refused.message
        part["image_url"] = {"url": f"data:IMAGE/png;base64,{PNG}"}
        assert self.sent(row)["contents"][0]["parts"][0]["inlineData"]["data"] == PNG

    def test_messages_and_parameters(self) -> None:
        row = {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                    {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
                ]},
                {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{\"n\":1}"}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
            ],
            "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
            "temperature": 1.5, "top_p": 0.9, "seed": 3, "stop": ["a", "b"], "n": 2, "max_completion_tokens": 9,
            "presence_penalty": 0.5, "frequency_penalty": 0.25, "logprobs": True, "top_logprobs": 3,
        }  # fmt: skip
        sent = self.sent(row)
        assert sent["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
        user, model, result = sent["contents"]
        assert user["parts"][1] == {"inlineData": {"mimeType": "image/png", "data": PNG}}
        assert user["parts"][2] == {"inlineData": {"mimeType": "audio/wav", "data": PNG}}
        call = {"id": "call_1", "name": "look", "args": {"n": 1}}
        signed = {"functionCall": call, "thoughtSignature": "skip_thought_signature_validator"}
        assert model == {"role": "model", "parts": [signed]}
        response = {"functionResponse": {"id": "call_1", "name": "look", "response": {"result": "a cat"}}}
        assert result == {"role": "user", "parts": [response]}
        assert sent["generationConfig"] == {
            "maxOutputTokens": 9, "temperature": 1.5, "topP": 0.9, "seed": 3, "stopSequences": ["a", "b"],
            "candidateCount": 2, "presencePenalty": 0.5, "frequencyPenalty": 0.25, "responseLogprobs": True, "logprobs": 3,
        }  # fmt: skip
        assert sent["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}}

    def test_calls_are_signed_as_gemini_3_wants_it(self) -> None:
        """With its own signature where the row has it, else with the word for turns of others; once a turn."""
        calls = [asked(1), asked(2)]
        row = {"messages": [{"role": "assistant", "content": None, "tool_calls": calls}, *ROW["messages"]]}

        def parts(row: dict[str, Any], **more: Any) -> list[Any]:
            return [part.get("thoughtSignature") for part in self.sent(row, **more)["contents"][0]["parts"]]

        assert parts(row) == ["skip_thought_signature_validator", None]
        assert parts(row, model="gemini-2.5-pro") == [None, None]
        calls[0] = {**asked(1), "extra_content": {"google": {"thought_signature": "c2lnbmVk"}}}
        assert parts(row) == ["c2lnbmVk", None]

    def test_strict_tools_are_kept_to(self) -> None:
        tools = [{"type": "function", "function": {"name": "look", "strict": True}}]
        for order in ({"tools": tools, "tool_choice": "required"}, {"tool_choice": "required", "tools": tools}):
            assert self.sent({**ROW, **order})["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
        assert self.sent({**ROW, "tools": tools})["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}

    @pytest.mark.parametrize(
        ("model", "effort", "thinking"),
        [
            ("gemini-2.5-flash", "none", {"thinkingBudget": 0}), ("gemini-2.5-pro", "high", {"thinkingBudget": 24576}),
            ("gemini-3.5-flash", "low", {"thinkingLevel": "low"}), ("gemini-3.5-flash", "none", None),
        ],
    )  # fmt: skip
    def test_reasoning_effort(self, model: str, effort: str, thinking: dict[str, Any] | None) -> None:
        request = load("gemini").request(self.target(model=model), raw({**ROW, "reasoning_effort": effort}))
        if thinking is None:
            assert isinstance(request, Failure)
            return
        assert (
            self.sent({**ROW, "reasoning_effort": effort}, model=model)["generationConfig"]["thinkingConfig"]
            == thinking
        )

    def test_schemas(self) -> None:
        config = self.sent(ROW, SCHEMA)["generationConfig"]
        assert (config["responseMimeType"], config["responseJsonSchema"]) == ("application/json", SCHEMA)
        config = self.sent({**ROW, "response_format": {"type": "json_object"}}, SCHEMA)["generationConfig"]
        assert config["responseMimeType"] == "application/json"
        assert "responseJsonSchema" not in config

    def test_a_function_call_is_an_answer(self) -> None:
        part = {"functionCall": {"name": "look", "args": {}}}
        outcome = self.parse({**GOOD, "candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]})
        assert isinstance(outcome, Completion)
        assert (outcome.text, outcome.finish, outcome.tool_calls) == ("", "tool", True)

    def test_a_blocked_prompt_is_filtered_and_its_tokens_count(self) -> None:
        outcome = self.parse({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}})
        assert isinstance(outcome, Completion)
        assert (outcome.finish, outcome.usage) == ("filter", Usage(9, 0, 0, 0, 0))

    @pytest.mark.parametrize(
        "words",
        ["User location is not supported for the API use.", "Gemini API free tier is not available in your country. Please "
         "enable billing on your project in Google AI Studio."],
    )  # fmt: skip
    def test_a_place_that_it_does_not_serve_is_the_targets_trouble(self, words: str) -> None:
        body = {"error": {"code": 400, "message": words, "status": "FAILED_PRECONDITION"}}
        assert self.failure(body, 400).kind == "auth"
        body["error"]["message"] = f"The prompt says: {words}"
        assert self.failure(body, 400).kind == "invalid"

    def test_of_several_answers_none_is_left_out(self) -> None:
        first = GOOD["candidates"][0]
        second = {"content": {"parts": [{"text": "Gre"}]}, "finishReason": "MAX_TOKENS", "index": 1}
        heard = self.parse({**GOOD, "candidates": [first, second]})
        assert isinstance(heard, Completion)
        assert [(each.text, each.finish) for each in (heard, *heard.others)] == [("Blue.", "stop"), ("Gre", "length")]
        bare = {"content": {"role": "model"}, "finishReason": "STOP", "index": 1}
        assert self.failure({**GOOD, "candidates": [first, bare]}).code == "empty_answer"

    def test_a_stopped_answer_without_content_is_filtered(self) -> None:
        outcome = self.parse({"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": {"promptTokenCount": 9}})
        assert isinstance(outcome, Completion)
        assert outcome.finish == "filter"

    def test_a_quota_per_day_outlasts_the_delay_that_comes_with_it(self) -> None:
        day = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")
        failure = self.failure(error(429, "RESOURCE_EXHAUSTED", "x", day, RETRY_22S), 429)
        assert (failure.kind, failure.code) == ("rate", "quota_per_day")
        assert failure.retry_after_s is not None
        assert 0 < failure.retry_after_s <= 86_400
        assert failure.retry_after_s != 22

    def test_a_quota_per_minute_names_its_delay(self) -> None:
        minute = quota("GenerateContentInputTokensPerModelPerMinute-FreeTier")
        failure = self.failure(error(429, "RESOURCE_EXHAUSTED", "x", minute, RETRY_22S), 429)
        assert (failure.kind, failure.retry_after_s) == ("rate", 22.0)

    @pytest.mark.parametrize(
        ("status", "name", "details", "kind"),
        [
            (402, "FAILED_PRECONDITION", (), "funds"), (429, "RESOURCE_EXHAUSTED", (quota("SpendCapPerMonth"),), "funds"),
            (403, "PERMISSION_DENIED", (), "auth"), (400, "INVALID_ARGUMENT", (), "invalid"),
            (400, "INVALID_ARGUMENT", ({"reason": "API_KEY_INVALID"},), "auth"), (404, "NOT_FOUND", (), "invalid"),
            (500, "INTERNAL", (), "transient"), (503, "UNAVAILABLE", (), "overload"),
            (504, "DEADLINE_EXCEEDED", (), "transient"), (429, "RESOURCE_EXHAUSTED", (), "rate"),
        ],
    )  # fmt: skip
    def test_error_statuses(self, status: int, name: str, details: tuple[dict[str, Any], ...], kind: str) -> None:
        assert self.failure(error(status, name, "Something is wrong.", *details), status).kind == kind
