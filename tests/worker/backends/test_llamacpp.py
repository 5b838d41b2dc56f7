"""llama.cpp: the contract, and what it does in its own way."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from tests.contracts.backend_contract import ROW
from tests.worker.backends.compatible import Compatible


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
