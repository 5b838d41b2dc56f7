"""vLLM: the contract, and what it does in its own way."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from pipelines.types import Completion, Failure
from tests.worker.backends.compatible import Compatible
from tests.worker.backends.test_openai import with_message


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
