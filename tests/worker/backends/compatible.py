"""What every server of OpenAI's shape does alike."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from pipelines.types import Failure, Usage
from tests.contracts.backend_contract import ROW, BackendContract, raw
from tests.worker.backends.sdk import accepts
from tests.worker.backends.test_openai import GOOD, error, with_message
from worker.backends import load


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
