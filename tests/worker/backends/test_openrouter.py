"""OpenRouter: the contract, its routing, its prices and its limits."""

from __future__ import annotations

import json
from datetime import date
from typing import Any, ClassVar

import pytest
from openrouter.components import ChatRequest, ChatResult

from pipelines.money import Price, Rates
from pipelines.types import Completion, Failure, Usage
from tests.contracts.backend_contract import ROW, SCHEMA, raw
from tests.worker.backends.compatible import Compatible
from tests.worker.backends.test_openai import GOOD
from worker.backends import load
from worker.backends.absent import blamed


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
