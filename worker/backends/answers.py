"""Reads a chat completion of OpenAI's shape: fast when it is as documented, tolerant when it is not, raising never."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from pipelines.types import Usage
from worker.backends import failures

MOST_TOKENS = 1_000_000_000
"""A count beyond this is not a count."""

FINISH = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop",
    "length": "length", "max_tokens": "length", "model_length": "length",
    "tool_calls": "tool", "function_call": "tool", "tool_use": "tool",
    "content_filter": "filter", "safety": "filter", "refusal": "refusal",
}  # fmt: skip


class Details(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class CostDetails(msgspec.Struct, frozen=True, gc=False):
    upstream_inference_cost: float | None = None


class Counts(msgspec.Struct, frozen=True, gc=False):
    """`usage` as it comes."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None
    cost: float | None = None
    is_byok: bool | None = None
    cost_details: CostDetails | None = None


class Message(msgspec.Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None
    function_call: dict[str, Any] | None = None


class Choice(msgspec.Struct, frozen=True):
    message: Message | None = None
    finish_reason: str | None = None
    error: Any = None


class Answer(msgspec.Struct, frozen=True):
    choices: list[Choice] | None = None
    model: str | None = None
    usage: Counts | None = None
    error: Any = None
    odd: bool = False  # read by the tolerant way


_DECODER = msgspec.json.Decoder(Answer)


def read(body: bytes) -> Answer | None:
    """None when the body is no JSON object."""
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        data = failures.decode(body)
        return _tolerant(data) if type(data) is dict else None


def _tolerant(data: dict[str, Any]) -> Answer:
    choices = data.get("choices")
    read_choices = [_choice(each) for each in choices if type(each) is dict] if type(choices) is list else None
    usage = data.get("usage")
    counts = _counts(usage) if type(usage) is dict else None
    return Answer(read_choices, _text(data.get("model")), counts, data.get("error"), odd=True)


def _choice(data: dict[str, Any]) -> Choice:
    message = data.get("message")
    read_message = None
    if type(message) is dict:
        calls, call = message.get("tool_calls"), message.get("function_call")
        read_message = Message(
            joined(message.get("content")),
            _text(message.get("refusal")),
            calls if type(calls) is list else None,
            call if type(call) is dict else None,
        )
    elif type(data.get("text")) is str:
        read_message = Message(data["text"])
    return Choice(read_message, _text(data.get("finish_reason")), data.get("error"))


def joined(content: Any) -> str | None:
    """Text, or the text parts of a list; thinking and the like are left out."""
    if type(content) is list:
        parts = [part.get("text") for part in content if type(part) is dict and part.get("type", "text") == "text"]
        return "".join(part for part in parts if type(part) is str)
    return _text(content)


def _counts(data: dict[str, Any]) -> Counts:
    cost, details = data.get("cost"), data.get("cost_details")
    upstream = details.get("upstream_inference_cost") if type(details) is dict else None
    return Counts(
        _int(data.get("prompt_tokens")),
        _int(data.get("completion_tokens")),
        _int(data.get("total_tokens")),
        _details(data.get("prompt_tokens_details")),
        _details(data.get("completion_tokens_details")),
        cost if type(cost) in (int, float) else None,
        data.get("is_byok") is True,
        CostDetails(upstream) if type(upstream) in (int, float) else None,
    )


def _details(data: Any) -> Details | None:
    if type(data) is not dict:
        return None
    return Details(*(_int(data.get(name)) for name in Details.__struct_fields__))


def _text(value: Any) -> str | None:
    return value if type(value) is str else None


def _int(value: Any) -> int | None:
    if type(value) is float and value.is_integer() and abs(value) < MOST_TOKENS:
        return int(value)
    return value if type(value) is int else None


def count(value: int | None) -> int:
    """A token count that can be trusted with money: 0 when absent, negative or absurd."""
    return value if value is not None and 0 < value <= MOST_TOKENS else 0


def usage_of(counts: Counts | None) -> Usage:
    """Input includes cached tokens, output includes reasoning."""
    if counts is None:
        return Usage()
    into, out = count(counts.prompt_tokens), count(counts.completion_tokens)
    prompt, completion = counts.prompt_tokens_details, counts.completion_tokens_details
    cached = written = reasoning = 0
    if prompt is not None:
        cached, written = count(prompt.cached_tokens), count(prompt.cache_write_tokens)
    if completion is not None:
        reasoning = count(completion.reasoning_tokens)
        # Some servers count reasoning beside the answer: their total says so.
        if reasoning and count(counts.total_tokens) == into + out + reasoning:
            out += reasoning
    cached = min(cached, into)
    return Usage(into, cached, min(written, into - cached), out, min(reasoning, out))


def reported_pusd(counts: Counts | None) -> int | None:
    """What the provider says that the call cost; with the caller's own key upstream, that key's bill is added."""
    if counts is None or counts.cost is None:
        return None
    usd = counts.cost
    if counts.is_byok and counts.cost_details is not None:
        usd += counts.cost_details.upstream_inference_cost or 0.0
    return int((Decimal(repr(usd)) * 10**12).to_integral_value()) if 0 <= usd < 1e6 else None
