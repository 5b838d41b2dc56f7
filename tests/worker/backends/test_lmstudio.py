"""LM Studio: the contract, and what it does in its own way."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.contracts.backend_contract import ROW
from tests.worker.backends.compatible import Compatible
from tests.worker.backends.test_openai import with_message


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
