"""Hugging Face: the contract, and what it does in its own way."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar

from huggingface_hub import ChatCompletionInput, ChatCompletionOutput

from tests.contracts.backend_contract import ROW
from tests.worker.backends.compatible import Compatible
from tests.worker.backends.test_openai import GOOD


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
