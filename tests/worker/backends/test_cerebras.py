"""Cerebras: the contract, and what it does in its own way."""

from __future__ import annotations

from typing import Any, ClassVar

from cerebras.cloud.sdk.types.chat.chat_completion import ChatCompletionResponse
from cerebras.cloud.sdk.types.chat.completion_create_params import CompletionCreateParams

from tests.contracts.backend_contract import ROW
from tests.worker.backends.compatible import Compatible
from tests.worker.backends.sdk import accepts
from tests.worker.backends.test_openai import GOOD, error


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
