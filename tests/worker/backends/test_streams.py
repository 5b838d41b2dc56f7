"""Streams that nobody asked for, and what is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.backend_contract import JSON
from worker.backends.streams import whole


def events(*chunks: Any) -> bytes:
    return "".join(f"data: {json.dumps(each)}\n\n" for each in chunks).encode()


def test_texts_calls_and_choices_are_put_together() -> None:
    def piece(index: int, delta: Any, finish: str | None = None) -> dict[str, Any]:
        return {"model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}

    call = [{"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"n"'}}]
    more = [{"index": 0, "function": {"arguments": ":1}"}}, {"index": 1, "id": "c2", "function": {"name": "wait"}}]
    body = events(
        piece(1, {"role": "assistant", "content": "Gr"}), piece(0, {"tool_calls": call}), piece(1, {"content": "een."}, "length"),
        piece(0, {"tool_calls": more}), piece(0, {}, "tool_calls"), {"choices": [], "usage": {"prompt_tokens": 5}},
    )  # fmt: skip
    assert json.loads(whole(body)) == {
        "model": "m", "object": "chat.completion", "usage": {"prompt_tokens": 5},
        "choices": [
            {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"n":1}'}},
                {"id": "c2", "type": "function", "function": {"name": "wait"}},
            ]}},
            {"index": 1, "finish_reason": "length", "message": {"role": "assistant", "content": "Green."}},
        ],
    }  # fmt: skip


def test_the_logprobs_of_all_chunks_are_put_together() -> None:
    """Those of the last chunk alone were published as the answer's."""

    def piece(index: int, text: str, logprobs: Any, finish: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": {"content": text}, "logprobs": logprobs, "finish_reason": finish}
        return {"choices": [choice]}

    bl, ue, no, pe = ({"token": token, "logprob": -0.1, "top_logprobs": []} for token in ("Bl", "ue", "No", "pe"))
    body = events(
        piece(0, "Bl", {"content": [bl], "refusal": None}), piece(1, "", {"content": None, "refusal": [no]}),
        piece(0, "ue", {"content": [ue], "refusal": None}), piece(1, "", {"content": None, "refusal": [pe]}),
        piece(0, "", {"content": [], "refusal": None}), piece(1, "", None, "stop"), piece(0, "", None, "stop"),
    )  # fmt: skip
    first, second = json.loads(whole(body))["choices"]
    assert first["logprobs"] == {"content": [bl, ue], "refusal": None}
    assert second["logprobs"] == {"content": None, "refusal": [no, pe]}


@pytest.mark.parametrize(
    "body",
    [b"", b"data: [DONE]\n\n", b"event: message_start\ndata: {\"type\":\"message_start\"}\n\n", b"{\"choices\":[]}",
     events({"choices": [{"delta": {"content": "Bl"}}]})],
)  # fmt: skip
def test_what_is_no_whole_stream_stays_as_it_is(body: bytes) -> None:
    assert whole(body) == body


@given(st.lists(JSON | st.fixed_dictionaries({"choices": st.lists(st.fixed_dictionaries({
    "index": JSON, "delta": st.dictionaries(st.sampled_from(["content", "tool_calls", "role"]), JSON), "finish_reason": JSON,
    "logprobs": JSON | st.dictionaries(st.sampled_from(["content", "refusal"]), JSON),
}), max_size=2)}), max_size=4))  # fmt: skip
def test_nothing_that_a_stream_holds_makes_it_raise(chunks: list[Any]) -> None:
    assert isinstance(whole(events(*chunks)), bytes)
