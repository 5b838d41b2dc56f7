"""A chat completion of OpenAI's shape as values, and its usage in our counting; knows nothing of errors."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from pipelines.money import usd_to_pusd
from pipelines.truth import DOUBT
from pipelines.types import Completion, Failure, Usage
from worker.backends.lenient import count

FINISH = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop",
    "length": "length", "max_tokens": "length", "model_length": "length",
    "tool_calls": "tool", "function_call": "tool", "tool_use": "tool",
    "content_filter": "filter", "safety": "filter", "refusal": "refusal",
    **dict.fromkeys(("error", "abort", "aborted", "cancelled"), "broken"),
}  # fmt: skip


class Details(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


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
    content: str | list[Any] | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None
    function_call: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None
    images: list[Any] | None = None  # of OpenRouter


class Choice(msgspec.Struct, frozen=True):
    message: Message | None = None
    delta: Message | None = None  # of servers that answer with one chunk
    finish_reason: str | None = None
    stop_reason: str | int | None = None  # of vLLM: the stop sequence that came
    error: Any = None


class Answer(msgspec.Struct, frozen=True):
    choices: list[Choice] | None = None
    model: str | None = None
    usage: Counts | None = None
    error: Any = None
    service_tier: str | None = None


DECODER = msgspec.json.Decoder(Answer)


def finish_of(raw: str | None, known: dict[str, str] = FINISH) -> str:
    """Our word for a finish reason; an unknown one is kept as `error:<reason>`, one that says that the provider gave up as
    `broken:<reason>`."""
    found = "stop" if raw is None else known.get(raw.lower(), "error")
    return f"{found}:{str(raw)[:40]}" if found in ("error", "broken") else found


def completed(
    text: str,
    finish: str,
    usage: Usage,
    model: str | None,
    calls: bool,
    cost: int | None = None,
    tier: str | None = None,
    *,
    meant: bool = False,
) -> Completion | Failure:
    """An answer, or why it is none: it broke off, or says nothing although it was neither cut off nor refused; what it cost all
    the same is kept. `meant`: the provider itself says why it is empty, so that it is one (a stop sequence of the row's own
    came first)."""
    failed = _broken_off(finish) if finish.startswith("broken:") else None
    if not failed and not (text or calls or meant or finish in ("filter", "refusal")):
        if not usage.output_tokens or finish in ("stop", "tool"):
            failed = _empty(usage)
        elif finish.startswith("error:"):
            failed = _broken_off(finish)
    if failed is not None:
        return paid(failed, usage, model, cost, tier, nothing=failed.code == "empty_answer")
    return Completion(text, finish, usage, model, calls, cost, tier, meant and not text)


def together(each: Sequence[Completion | Failure]) -> Completion | Failure:
    """The answers to one call: the first with the others, unless one is none."""
    said = [outcome for outcome in each if isinstance(outcome, Completion)]
    if len(said) < len(each):
        return next(outcome for outcome in each if isinstance(outcome, Failure))
    return msgspec.structs.replace(said[0], others=tuple(said[1:])) if len(said) > 1 else said[0]


def paid(
    failed: Failure, usage: Usage, model: str | None, cost: int | None, tier: str | None, *, nothing: bool = False
) -> Failure:
    """A failure with what the server says of its price, where it does. `nothing`: it is known to have generated nothing, so that
    what it read is all."""
    if cost is None and not (usage.output_tokens or (nothing and usage.input_tokens)):
        return failed
    return msgspec.structs.replace(failed, usage=usage, model=model, cost_reported_pusd=cost, tier=tier)


def _empty(usage: Usage) -> Failure:
    """Without a token nothing was generated, and another try may be; with some, the same would come again."""
    if usage.output_tokens:
        message = f"HTTP 200: an answer without text, though {usage.output_tokens} tokens were generated"
        return Failure(DOUBT, "empty_answer", message, 200)
    return Failure("unknown", "empty_answer", "HTTP 200: an answer without text or output tokens", 200)


def _broken_off(finish: str) -> Failure:
    """The provider gave up in the middle of an answer, which may be paid."""
    message = f"HTTP 200: the provider broke the answer off ({finish.partition(':')[2]})"
    return Failure("unknown", "finish_error", message, 200)


def usage_of(counts: Counts | None) -> Usage:
    """Input includes cached tokens, output includes reasoning."""
    if counts is None:
        return Usage()
    into, out = count(counts.prompt_tokens), count(counts.completion_tokens)
    prompt, completion = counts.prompt_tokens_details, counts.completion_tokens_details
    cached = written = reasoning = heard = spoken = drawn = 0
    if prompt is not None:
        cached, written, heard = (
            count(prompt.cached_tokens),
            count(prompt.cache_write_tokens),
            count(prompt.audio_tokens),
        )
    if completion is not None:
        reasoning = count(completion.reasoning_tokens)
        spoken, drawn = count(completion.audio_tokens), count(completion.image_tokens)
        # Some servers count reasoning beside the answer: their total says so.
        if reasoning and count(counts.total_tokens) == into + out + reasoning:
            out += reasoning
    # Some count what came from their cache beside the prompt: so their total says, or more came from it than there is.
    if cached > into or (cached and count(counts.total_tokens) == into + cached + out):
        into += cached
    return Usage(into, cached, min(written, into - cached), out, min(reasoning, out), 0, heard, spoken, drawn)


def reported_pusd(counts: Counts | None) -> int | None:
    """What the provider says that the call cost; with the caller's own key upstream, that key's bill is added."""
    if counts is None or counts.cost is None:
        return None
    usd = Decimal(repr(counts.cost))
    if counts.is_byok and counts.cost_details is not None:
        usd += Decimal(repr(counts.cost_details.upstream_inference_cost or 0.0))
    return usd_to_pusd(usd) if 0 <= usd < 10**6 else None
