"""Every other server of OpenAI's shape: the same contract, and what each does in its own way."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import date
from typing import Any, ClassVar

import pytest
from cerebras.cloud.sdk.types.chat.chat_completion import ChatCompletionResponse
from cerebras.cloud.sdk.types.chat.completion_create_params import CompletionCreateParams
from huggingface_hub import ChatCompletionInput, ChatCompletionOutput
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openrouter.components import ChatRequest, ChatResult

from pipelines.money import Price, Rates
from pipelines.types import Completion, Failure, Usage
from tests.contracts.backend_contract import ROW, SCHEMA, BackendContract, raw
from tests.worker.backends.sdk import accepts
from tests.worker.backends.test_openai import GOOD, error, with_message
from worker.backends import load
from worker.backends.absent import blamed


class Compatible(BackendContract):
    """What they share."""

    path = "/v1/chat/completions"
    good = GOOD
    usage = Usage(1119, 1024, 0, 110, 64)
    plain_error: ClassVar = error(None)
    empty: ClassVar = {
        **with_message(content=""),
        "usage": {"prompt_tokens": 9, "completion_tokens": 0, "total_tokens": 9},
    }
    finishes: ClassVar = {"stop": "stop", "length": "length", "tool_calls": "tool", "content_filter": "filter"}
    broken = ("error", "abort", "cancelled")
    overflow: ClassVar = (error("context_length_exceeded"), None)

    def finished(self, reason: str) -> dict[str, Any]:
        return {**GOOD, "choices": [{**GOOD["choices"][0], "finish_reason": reason}]}

    def silent(self, body: dict[str, Any]) -> dict[str, Any]:
        choice = body["choices"][0]
        return {**body, "choices": [{**choice, "message": {**choice["message"], "content": None}}]}

    def check_request(self, body: dict[str, Any]) -> None:
        own = load(self.kind).carries or frozenset()  # type: ignore[attr-defined]
        accepts(CompletionCreateParamsNonStreaming, body, beyond=own)

    def test_everything_it_carries_goes_out_as_it_came(self) -> None:
        row = {**ROW, "seed": 7, "stop": ["a"], "logit_bias": {"5": -1}, "presence_penalty": 0.25, "top_p": 0.5}
        sent = self.sent(row)
        names = row.keys() - {"max_tokens"}
        assert {name: sent[name] for name in names} == {name: row[name] for name in names}

    def test_developers_are_heard(self) -> None:
        """Templates of open models know no such role, and many write nothing for it."""
        words = 'the "developer" says'
        row = {
            "messages": [{"role": "developer", "content": words}, {"role": "user", "content": words}],
            "max_tokens": 9,
        }
        sent = self.sent(row)["messages"]
        own = self.kind in ("openrouter", "simulator")
        assert [message["role"] for message in sent] == ["developer" if own else "system", "user"]
        assert [message["content"] for message in sent] == [words, words]

    def test_what_it_would_drop_in_silence_is_refused_and_what_asks_for_nothing_left_out(self) -> None:
        if self.kind == "simulator":  # it takes everything
            return
        for name, value in (("store", True), ("audio", {"voice": "a"}), ("web_search_options", {}), ("brand_new", 1)):
            request = load(self.kind).request(self.target(), raw({**ROW, name: value}))
            assert isinstance(request, Failure), name
            assert (request.kind, request.code) == ("invalid", "unsupported_parameter")
            assert f"`{name}`" in request.message
        empty = {"store": False, "modalities": ["text"], "functions": [], "metadata": {"a": "b"}, "brand_new": None}
        sent = self.sent({**ROW, **empty})
        assert not (empty.keys() - {"modalities"}) & sent.keys()

    @pytest.mark.parametrize("type_", ["openrouter:web_search", "web_search", "custom", "mcp", 7])
    def test_a_tool_that_is_no_function_is_refused_by_name(self, type_: Any) -> None:
        """OpenRouter's own are paid beside the tokens, and nothing was reserved for them."""
        if self.kind == "simulator":
            return
        own = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
        request = load(self.kind).request(self.target(), raw({**ROW, "tools": [own, {"type": type_}]}))
        assert isinstance(request, Failure) and request.code == "unsupported_parameter"
        assert f"a tool of type `{type_}`" in request.message
        assert self.sent({**ROW, "tools": [own]})["tools"] == [own]


class TestLmstudio(Compatible):
    kind = "lmstudio"
    lane = "local"
    plain_error: ClassVar = {"error": "Something is wrong."}
    overflow: ClassVar = (
        {"error": "Trying to keep the first 5003 tokens when context the overflows. However, the model is loaded with "
                  "context length of only 4096 tokens, which is not enough."}, 4096,
    )  # fmt: skip
    cannot: ClassVar = {
        "`n`": {"n": 2}, "`logprobs`": {"logprobs": True}, "`parallel_tool_calls`": {"parallel_tool_calls": False},
        "`verbosity`": {"verbosity": "low"}, "`service_tier`": {"service_tier": "flex"},
    }  # fmt: skip

    def test_harmless_forms_of_what_it_would_ignore_are_left_out(self) -> None:
        assert not {"n", "logprobs"} & self.sent({**ROW, "n": 1, "logprobs": False}).keys()

    @pytest.mark.parametrize(
        ("message", "window"),
        [
            ("Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)", 7424),
            ("The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 13190>= "
             "n_ctx: 4096). Try to load the model with a larger context length, or provide a shorter input", 4096),
            ("Reached context length of 4096 tokens with this model.", 4096),
            ("Context size has been exceeded.", None),
            ("The model has reached its context limit", None),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("status", [200, 400, 500])
    def test_its_texts_of_an_overflow(self, message: str, window: int | None, status: int) -> None:
        failure = self.failure({"error": message}, status)
        assert (failure.kind, failure.context_tokens) == ("context", window)

    @pytest.mark.parametrize("status", [400, 404])
    @pytest.mark.parametrize(
        "words",
        ["Model unloaded.", "Model is unloaded.", "No models loaded. Please load a model in the developer page.",
         "Model has unloaded or crashed.", "Model unloaded by user or model crashed",
         "The model has crashed without additional information. (Exit code: 6)",
         'Failed to load model "qwen2.5-14b". Error: Model loading was stopped due to insufficient system resources.',
         "Channel Error", "Error in iterating prediction stream: StopIteration: "],
    )  # fmt: skip
    def test_a_model_that_went_away_is_not_the_prompts_fault(self, words: str, status: int) -> None:
        for body in ({"error": words}, {"error": {"message": words, "code": "model_not_found"}}):
            failure = self.failure(body, status)
            assert (failure.kind, failure.code) == ("transient", "model_gone")
        assert self.failure({"error": f"Bad prompt: {words}"}, status).kind == "invalid"

    def test_an_engine_that_fails_is_one_with_a_name(self) -> None:
        words = {"message": "Engine protocol predict request failed: fetch failed", "type": "internal_error"}
        failure = self.failure({"error": words}, 500)
        assert (failure.kind, failure.code) == ("transient", "model_gone")

    def test_an_address_that_it_does_not_have_is_said_with_status_200(self) -> None:
        failure = self.failure({"error": "Unexpected endpoint or method. (POST /chat/completions)"})
        assert (failure.kind, failure.code) == ("transient", "wrong_address")
        assert "is base_url right?" in failure.message

    def test_an_empty_list_of_calls_is_none_whatever_the_finish_reason_says(self) -> None:
        body = with_message(content="", tool_calls=[])
        body["choices"][0]["finish_reason"] = "tool_calls"
        assert self.failure(body).code == "empty_answer"

    def test_no_output_and_no_usage_at_all_is_no_answer_either(self) -> None:
        body = {**with_message(content=None)}
        del body["usage"]
        assert self.failure(body).code == "empty_answer"


class TestVllm(Compatible):
    kind = "vllm"
    lane = "local"
    cannot: ClassVar = {"`verbosity`": {"verbosity": "low"}, "`functions`": {"functions": [{"name": "f"}]}}
    plain_error: ClassVar = {
        "error": {"message": "Something is wrong.", "type": "BadRequestError", "param": None, "code": None}
    }
    overflow: ClassVar = (
        {"object": "error", "message": "This model's maximum context length is 2048 tokens. However, you requested 3000 "
         "tokens in the messages, Please reduce the length of the messages.", "type": "BadRequestError", "param": None,
         "code": 400}, 2048,
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("message", "window"),
        [
            ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", 4096),
            ("'max_tokens' or 'max_completion_tokens' is too large: 9999. This model's maximum context length is 4096 "
             "tokens and your request has 10 input tokens (9999 > 4096 - 10).", 4096),
            ("You passed 5000 input tokens and requested 10 output tokens. However, the model's context length is only "
             "4096 tokens, resulting in a maximum input length of 4086 tokens.", 4096),
            ("max_model_len=4096 is less than the prompt", 4096),
        ],
    )  # fmt: skip
    def test_its_texts_of_an_overflow(self, message: str, window: int) -> None:
        failure = self.failure(
            {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}, 400
        )
        assert (failure.kind, failure.context_tokens) == ("context", window)

    def test_a_stop_of_the_rows_own_may_come_first(self) -> None:
        """It says which one did; then nothing is the answer. A number is a token that ends any answer."""

        def stopped(by: Any, content: Any = "") -> Any:
            body = with_message(content=content)
            return self.parse({**body, "choices": [{**body["choices"][0], "stop_reason": by}]})

        empty = stopped("END")
        assert isinstance(empty, Completion)
        assert (empty.text, empty.finish, empty.silent) == ("", "stop", True)
        for found in (stopped(None), stopped(128009), stopped("END", None)):
            assert isinstance(found, Failure)
            assert found.code == "empty_answer"


class TestLlamacpp(Compatible):
    kind = "llamacpp"
    lane = "local"
    cannot: ClassVar = {"`verbosity`": {"verbosity": "low"}, "`service_tier`": {"service_tier": "flex"}}
    plain_error: ClassVar = {"error": {"code": None, "message": "Something is wrong.", "type": "invalid_request_error"}}
    overflow: ClassVar = (
        {"error": {"code": 400, "message": "the request exceeds the available context size, try increasing it",
                   "type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 8192}}, 8192,
    )  # fmt: skip

    @pytest.mark.parametrize(
        "words",
        ["Input prompt is too big compared to KV size. Please try increasing KV size.", "context shift is disabled"],
    )
    def test_older_builds_call_an_overflow_their_own_error(self, words: str) -> None:
        assert self.failure({"error": {"code": 500, "message": words, "type": "server_error"}}, 500).kind == "context"

    def test_its_own_name_for_the_limit_is_one_like_the_others(self) -> None:
        """Left beside ours it would win, and a paid call could cost more than was reserved for it."""

        def sent(**row: Any) -> dict[str, Any]:
            return self.sent({"messages": ROW["messages"], **row}, lane="cloud", max_output_tokens=64)

        for row in ({"n_predict": 9}, {"max_completion_tokens": 9, "n_predict": 700}, {"max_tokens": 9}):
            assert (sent(**row)["max_tokens"], "n_predict" in sent(**row)) == (9, False)
        for odd in (-1, 1e5, "100000", None, [9]):
            assert sent(n_predict=odd)["max_tokens"] == 64, "without a limit there is the target's"
        assert "max_tokens" not in self.sent({"messages": ROW["messages"], "n_predict": -1}, lane="local")

    @pytest.mark.parametrize(
        ("row", "template"),
        [
            ({"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
            ({"reasoning_effort": "none"}, {"enable_thinking": False}),
            ({"reasoning_effort": "low", "chat_template_kwargs": {"reasoning_effort": "medium", "x": 1}},
             {"reasoning_effort": "medium", "x": 1}),
            ({"chat_template_kwargs": {"x": 1}}, {"x": 1}),
            ({}, None),
        ],
    )  # fmt: skip
    def test_the_effort_reaches_the_template_of_older_builds_too(self, row: Any, template: Any) -> None:
        sent = self.sent({**ROW, **row})
        assert sent.get("chat_template_kwargs") == template
        assert sent.get("reasoning_effort") == row.get("reasoning_effort")

    def test_a_model_that_loads_is_an_overload(self) -> None:
        loading = {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}
        assert self.failure(loading, 503).kind == "overload"


class TestOpenrouter(Compatible):
    kind = "openrouter"
    base_path = "/api/v1"
    path = "/api/v1/chat/completions"
    plain_error: ClassVar = {"error": {"code": None, "message": "Something is wrong."}}
    cannot: ClassVar = {
        "`n`": {"n": 2}, "`models`": {"models": ["a/dear-one"]}, "`plugins`": {"plugins": [{"id": "web"}]},
        "`web_search_options`": {"web_search_options": {}}, "`logit_biaz`": {"logit_biaz": 1},
    }  # fmt: skip

    def check_request(self, body: dict[str, Any]) -> None:
        assert body.keys() <= ChatRequest.model_fields.keys()
        ChatRequest.model_validate(body)

    def test_its_client_reads_the_sample_as_we_do(self) -> None:
        theirs, ours = ChatResult.model_validate(GOOD), self.parse(GOOD)
        assert isinstance(ours, Completion)
        assert theirs.usage is not None
        assert (ours.text, ours.usage.output_tokens) == (
            theirs.choices[0].message.content, theirs.usage.completion_tokens,
        )  # fmt: skip

    def test_only_providers_that_honour_every_parameter_may_answer(self) -> None:
        strict = {"require_parameters": True}
        assert self.sent(ROW)["provider"] == strict
        assert self.sent({**ROW, "provider": {"only": ["a"]}})["provider"] == {**strict, "only": ["a"]}
        loose = {"require_parameters": False}
        assert self.sent({**ROW, "provider": loose})["provider"] == loose
        assert self.sent({"messages": ROW["messages"]}, SCHEMA)["provider"] == strict
        for plain in ({}, {"max_tokens": 9}, {"max_completion_tokens": 9}):
            assert "provider" not in self.sent({"messages": ROW["messages"], **plain})

    @pytest.mark.parametrize(
        ("own", "most"),
        [
            (None, {"prompt": "0.15", "completion": "0.60", "request": "0.00"}),
            ({}, {"prompt": "0.15", "completion": "0.60", "request": "0.00"}),
            ({"prompt": 0.1, "image": 0.002}, {"prompt": 0.1, "completion": "0.60", "request": "0.00", "image": 0.002}),
            ({"prompt": "0.15", "completion": "7"}, {"prompt": "0.15", "completion": "0.60", "request": "0.00"}),
            ({"prompt": 1, "completion": 0}, {"prompt": "0.15", "completion": 0, "request": "0.00"}),
        ],
    )  # fmt: skip
    def test_nobody_may_answer_who_costs_more_than_was_reserved(self, own: Any, most: Any) -> None:
        """A row may be content with less, and says the rest itself."""
        rates = Rates(150_000_000_000, 0, 0, 600_000_000_000, 600_000_000_000)
        dearer = Rates(900_000_000_000, 0, 0, 900_000_000_000, 900_000_000_000, above_tokens=200_000)
        price = Price("p", date(2026, 11, 1), "billed", (rates, dearer), (rates,))
        given = {} if own is None else {"provider": {"only": ["a"], "sort": "throughput", "max_price": own}}
        request = load("openrouter").request(self.target(), raw({"messages": ROW["messages"], **given}), price=price)
        assert not isinstance(request, Failure)
        sent = json.loads(request[2])
        self.check_request(
            {**sent, "provider": {**sent["provider"], "max_price": {k: str(v) for k, v in most.items()}}}
        )
        rest = {"require_parameters": True, "only": ["a"], "sort": "throughput"} if given else {}
        assert sent["provider"] == {**rest, "max_price": most}

    @pytest.mark.parametrize("own", [5, "a", ["a"], {"max_price": {"prompt": "cheap"}}, {"max_price": {"prompt": [1]}},
                                     {"max_price": {"prompt": "nan"}}, {"max_price": 3}])  # fmt: skip
    def test_a_choice_that_nobody_understands_is_refused(self, own: Any) -> None:
        price = Price("p", date(2026, 11, 1), "billed", (Rates(1, 1, 1, 1, 1),), (Rates(1, 1, 1, 1, 1),))
        found = load("openrouter").request(self.target(), raw({**ROW, "provider": own}), price=price)
        assert isinstance(found, Failure) and found.code == "unsupported_parameter" and "`provider" in found.message

    @pytest.mark.parametrize(
        "error",
        [{"code": 404, "message": "No allowed providers are available for the selected model."},
         {"code": 404, "message": "No allowed providers are available.", "metadata": {"error_type": "provider_unavailable"}},
         {"code": 404, "message": "No endpoints found matching your data policy (Free model publication). Configure: https://…"}],
    )  # fmt: skip
    def test_where_nobody_is_cheap_enough_the_rows_wait(self, error: Any) -> None:
        """They were failed one by one, though a price that has risen is no row's fault."""
        failure = self.failure({"error": error}, 404)
        assert (failure.kind, failure.code) == ("transient", "no_provider")
        assert "see [prices]" in failure.message
        own = blamed(failure, raw({**ROW, "provider": {"only": ["a"]}}))
        assert isinstance(own, Failure) and own.kind == "invalid", "unless a row chooses itself"
        words = {"code": 404, "message": "No endpoints found that can handle the requested parameters."}
        assert self.failure({"error": words}, 404).kind == "invalid"

    def test_the_reported_cost_is_taken_to_the_pico_dollar(self) -> None:
        for cost, pusd in ((0.00014, 140_000_000), (0, 0), (1e-12, 1), (0.95, 950_000_000_000)):
            outcome = self.parse({**GOOD, "usage": {**GOOD["usage"], "cost": cost}})
            assert isinstance(outcome, Completion)
            assert outcome.cost_reported_pusd == pusd

    @pytest.mark.parametrize("cost", [None, -1, "0.1", [], 1e12, True])
    def test_a_cost_that_is_none_is_not_taken(self, cost: Any) -> None:
        outcome = self.parse({**GOOD, "usage": {**GOOD["usage"], "cost": cost}})
        assert isinstance(outcome, Completion)
        assert outcome.cost_reported_pusd is None

    def test_with_ones_own_key_upstream_that_bill_is_added(self) -> None:
        usage = {**GOOD["usage"], "cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}
        outcome = self.parse({**GOOD, "usage": usage})
        assert isinstance(outcome, Completion)
        assert outcome.cost_reported_pusd == 21_000_000_000

    def test_moderation_is_a_filter_and_no_broken_key(self) -> None:
        body = {
            "error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["violence"], "flagged_input": "…"}}
        }
        outcome = self.parse(body, 403)
        assert isinstance(outcome, Completion)
        assert (outcome.finish, outcome.usage) == ("filter", Usage())

    @pytest.mark.parametrize("words", ["Key limit exceeded (total limit)", "Key limit exceeded (daily limit)"])
    def test_a_key_at_its_limit_is_no_moderation(self, words: str) -> None:
        error = {"code": 403, "message": f"{words}. Manage it using https://openrouter.ai/settings/keys"}
        assert self.failure({"error": error}, 403).kind == "funds"
        error["message"] = f"flagged: {words}"
        assert isinstance(self.parse({"error": error}, 403), Completion), "a message that quotes is no proof"

    @pytest.mark.parametrize("source", ["openrouter_guardrail_budget", "openrouter_workspace_budget", "openrouter_new"])
    @pytest.mark.parametrize("type_", ["permission_denied", "payment_required", None])
    def test_a_budget_that_is_spent_is_no_moderation(self, source: str, type_: str | None) -> None:
        """It ended every row as refused."""
        about = {"limit_source": source, "error_type": type_, "limit_usd": 5, "spend_usd": 5.01}
        error = {"code": 403, "message": "Forbidden", "metadata": about}
        for status in (403, 200):
            assert self.failure({"error": error}, status).kind == "funds"

    @pytest.mark.parametrize("words", ["Workspace monthly budget of $1,000.50 exceeded. Ask …", "Workspace budget of $5 exceeded",
                                       "Budget limit exceeded (monthly limit)"])  # fmt: skip
    def test_a_budget_that_is_spent_may_be_told_by_its_text_alone(self, words: str) -> None:
        error = {"code": 403, "message": words}
        assert self.failure({"error": error}, 403).kind == "funds"
        assert isinstance(self.parse({"error": {**error, "message": f"flagged: {words}"}}, 403), Completion)

    @pytest.mark.parametrize(
        ("message", "about", "kind"),
        [
            ("You may not.", {}, "auth"),
            ("You may not.", {"reasons": []}, "auth"),
            ("You may not. Request blocked", {}, "auth"),
            ("flagged", {"reasons": ["violence"]}, "filter"),
            ("flagged", {"flagged_input": "…"}, "filter"),
            ("no", {"patterns": ["ignore all previous"]}, "filter"),
            ("Request blocked: prompt injection patterns detected", {}, "filter"),
        ],
    )
    def test_a_key_that_may_not_is_told_from_a_prompt_that_was_stopped(
        self, message: str, about: Any, kind: str
    ) -> None:
        metadata = {"error_type": "permission_denied", **about}
        found = self.parse({"error": {"code": 403, "message": message, "metadata": metadata}}, 403)
        assert (found.kind if isinstance(found, Failure) else found.finish) == kind

    def test_a_page_that_forbids_is_no_moderation(self) -> None:
        assert self.failure(b"<html>Access denied</html>", 403).kind == "auth"

    def test_a_wait_may_be_told_in_the_body(self) -> None:
        inner = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1741305600000"}
        words = "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"
        body = {"error": {"message": words, "code": 429, "metadata": {"headers": inner, "provider_name": None}}}
        now = "Thu, 06 Mar 2025 23:00:00 GMT"
        failure = self.failure(body, 429, date=now)
        assert (failure.kind, failure.retry_after_s) == ("rate", 3600.0)
        assert self.failure(body, 429, date=now, retry_after="7").retry_after_s == 7.0

    def test_402_is_the_end_of_funds_unless_it_passes(self) -> None:
        body = {
            "error": {
                "code": 402,
                "message": "Insufficient credits",
                "metadata": {"limit_source": "openrouter_credits"},
            }
        }
        assert self.failure(body, 402).kind == "funds"
        assert self.failure({"error": {"code": 402, "message": "wait"}}, 402, retry_after="3").kind == "rate"

    @pytest.mark.parametrize("type_", ["payment_required", None])
    def test_402_of_one_call_that_is_too_dear_is_its_rows_trouble(self, type_: str | None) -> None:
        """It closed the target for everybody."""
        about = {"error_type": type_, "limit_source": "openrouter_credits", "reason": "weight_exceeds_budget"}
        error = {"code": 402, "message": "This request may cost more than your in-flight budget.", "metadata": about}
        failure = self.failure({"error": error}, 402)
        assert (failure.kind, failure.code) == ("invalid", "weight_exceeds_budget")
        about["reason"] = "balance"
        assert self.failure({"error": error}, 402).kind == "funds"

    def test_402_while_calls_under_way_hold_the_budget_passes(self) -> None:
        about = {"error_type": "payment_required", "limit_source": "openrouter_in_flight_budget"}
        for more in ({}, {"reason": "in_flight_budget_exhausted"}):
            error = {"code": 402, "message": "Too much is under way.", "metadata": {**about, **more}}
            failure = self.failure({"error": error}, 402, retry_after="3")
            assert (failure.kind, failure.retry_after_s) == ("rate", 3.0)

    @pytest.mark.parametrize(
        ("inner", "kind"),
        [
            ({"code": 429, "message": "slow"}, "rate"),
            ({"code": 502, "message": "upstream"}, "transient"),
            ({"code": 503, "message": "no provider"}, "overload"),
            ({"code": 402, "message": "no credits"}, "funds"),
            ({"code": 400, "message": "m", "metadata": {"error_type": "context_length_exceeded"}}, "context"),
            ({"code": 502, "message": "m", "metadata": {"error_type": "provider_overloaded"}}, "overload"),
            ("just words", "transient"),
        ],
    )
    def test_errors_inside_a_200_are_found(self, inner: Any, kind: str) -> None:
        for body in (
            {"error": inner},
            {**GOOD, "usage": None, "choices": [{"error": inner, "finish_reason": "error"}]},
        ):
            failure = self.failure(body)
            assert (failure.kind, failure.http_status) == (kind, 200)

    def test_an_error_after_the_answer_began_may_be_paid(self) -> None:
        choice = {**GOOD["choices"][0], "finish_reason": "error", "error": {"code": 502, "message": "lost upstream"}}
        assert self.failure({**GOOD, "choices": [choice]}).kind == "unknown"
        assert self.failure({**GOOD, "choices": [{**choice, "error": None}]}).code == "finish_error"

    def test_a_message_of_no_known_form_is_no_refusal(self) -> None:
        error = {"code": 400, "message": "messages.1: unsupported role", "metadata": {"error_type": "invalid_prompt"}}
        failure = self.failure({"error": error}, 400)
        assert (failure.kind, failure.code) == ("invalid", "invalid_prompt")

    def test_a_refusal_upstream_is_one(self) -> None:
        outcome = self.parse({"error": {"code": 400, "message": "no", "metadata": {"error_type": "refusal"}}}, 400)
        assert isinstance(outcome, Completion)
        assert outcome.finish == "refusal"


class TestCerebras(Compatible):
    kind = "cerebras"
    overflow: ClassVar = (
        error(
            None,
            message="Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
        ),
        8192,
    )

    cannot: ClassVar = {"`verbosity`": {"verbosity": "low"}, "`top_k`": {"top_k": 5}}

    def check_request(self, body: dict[str, Any]) -> None:
        accepts(CompletionCreateParams, body)

    def test_its_client_reads_the_sample_as_we_do(self) -> None:
        theirs = ChatCompletionResponse.model_validate({**GOOD, "time_info": {"total_time": 0.1, "created": 1.0}})
        assert theirs.usage is not None and theirs.choices is not None
        assert theirs.choices[0].message.content == "Blue."
        assert theirs.usage.prompt_tokens == self.usage.input_tokens

    def test_its_limiter_is_always_told_a_limit(self) -> None:
        assert self.sent({"messages": ROW["messages"], "max_tokens": 9})["max_completion_tokens"] == 9

    def test_its_reset_headers_are_read(self) -> None:
        headers = {"x_ratelimit_remaining_tokens_minute": "0", "x_ratelimit_reset_tokens_minute": "11.4"}
        assert self.failure(self.plain_error, 429, **headers).retry_after_s == 11.4


class TestRunpod(Compatible):
    kind = "runpod"
    base_path = "/v2/abc/openai/v1"
    path = "/v2/abc/openai/v1/chat/completions"
    cannot: ClassVar = {"`verbosity`": {"verbosity": "low"}, "`store`": {"store": True}}

    def test_a_workers_error_comes_as_success(self) -> None:
        body = {"error": {"message": "CUDA out of memory", "type": "worker_error", "code": None}}
        failure = self.failure(body)
        assert (failure.kind, failure.code, failure.http_status) == ("transient", "worker_error", 200)
        assert "CUDA" in failure.message


class TestHuggingface(Compatible):
    kind = "huggingface"
    plain_error: ClassVar = {"error": "Something is wrong."}
    cannot: ClassVar = {"`reasoning_effort`": {"reasoning_effort": "low"}, "`top_k`": {"top_k": 5}}

    def check_request(self, body: dict[str, Any]) -> None:
        assert body.keys() <= {each.name for each in fields(ChatCompletionInput)}
        ChatCompletionInput.parse_obj_as_instance(body)

    def test_its_client_reads_the_sample_as_we_do(self) -> None:
        theirs = ChatCompletionOutput.parse_obj_as_instance(GOOD)
        assert theirs.choices[0].message.content == "Blue."
        assert theirs.usage.prompt_tokens == self.usage.input_tokens

    def test_the_provider_stays_pinned_in_the_name(self) -> None:
        assert self.sent(ROW, model="org/name:together")["model"] == "org/name:together"


class TestSimulator(Compatible):
    kind = "simulator"


def test_every_kind_has_a_file() -> None:
    from typing import get_args

    from pipelines.sections import Kind

    for kind in get_args(Kind):
        adapter = load(kind)
        assert callable(adapter.request)
        assert callable(adapter.parse)
        assert load(kind) is adapter


def test_the_shared_samples_do_not_hide_a_difference() -> None:
    """The same row goes out the same to servers that know the same words."""
    bodies = {kind: Compatible.sent(_of(kind), ROW) for kind in ("vllm", "llamacpp", "huggingface", "runpod")}
    assert len({str(body) for body in bodies.values()}) == 1


def _of(kind: str) -> Compatible:
    each = Compatible()
    each.kind = kind  # type: ignore[misc]
    return each


def test_nothing_is_carried_that_the_providers_own_types_do_not_know() -> None:
    """For those whose client says what there is; the others' documents are in docs/providers.md."""
    known = {
        "cerebras": CompletionCreateParams.__annotations__.keys(),
        "openrouter": ChatRequest.model_fields.keys(),
        "huggingface": {each.name for each in fields(ChatCompletionInput)} | {"max_completion_tokens"},
    }
    for kind, names in known.items():
        assert load(kind).carries <= names, kind  # type: ignore[attr-defined]
