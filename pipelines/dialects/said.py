"""What a provider's own body says, as values: those of Anthropic, Gemini, Ollama and OpenAI's responses.

Nothing is taken for granted: a field that is not as documented is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from pipelines.types import Usage

_encode = msgspec.json.Encoder().encode

Body = dict[str, Any]


class Call(NamedTuple):
    """A tool that the model calls; `arguments` is JSON."""

    id: str
    name: str
    arguments: str
    signature: str = ""  # Gemini's, which it wants to see again with the call


class Choice(NamedTuple):
    text: str
    finish: str  # as OpenAI says it
    calls: tuple[Call, ...] = ()
    logprobs: Body | None = None
    refusal: str | None = None


class Said(NamedTuple):
    """What a body says, whatever its form."""

    choices: list[Choice]
    usage: Usage
    model: str | None


def decoded(text: Any) -> Body:
    """A JSON object; an empty one for anything else."""
    try:
        found = msgspec.json.decode(text) if text else None
    except (msgspec.DecodeError, UnicodeError, RecursionError, TypeError):
        return {}
    return found if type(found) is dict else {}


def tables(value: Any) -> list[Body]:
    """The objects of a list; none for anything else."""
    return [each for each in value if type(each) is dict] if type(value) is list else []


def count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


# -- Anthropic ---------------------------------------------------------------------------------------------------------

_ANTHROPIC = {
    "max_tokens": "length", "model_context_window_exceeded": "length", "tool_use": "tool_calls",
    "refusal": "content_filter",
}  # fmt: skip


def is_message(body: Body) -> bool:
    """Whether it is Anthropic's."""
    return body.get("type") == "message" and type(body.get("content")) is list


def _of_anthropic(body: Body) -> Said:
    blocks, told = tables(body["content"]), table(body, "usage")
    text = "".join(_text(block, "text") for block in blocks if block.get("type") == "text")
    calls = (_call(block, "input", at) for at, block in enumerate(blocks) if block.get("type") == "tool_use")
    read, written = count(told.get("cache_read_input_tokens")), count(told.get("cache_creation_input_tokens"))
    thought = count(table(told, "output_tokens_details").get("thinking_tokens"))
    usage = Usage(
        count(told.get("input_tokens")) + read + written, read, written, count(told.get("output_tokens")), thought
    )
    finish = _ANTHROPIC.get(_text(body, "stop_reason"), "stop")
    return Said([Choice(text, finish, tuple(calls))], usage, _text(body, "model"))


# -- Gemini ------------------------------------------------------------------------------------------------------------

GEMINI_FILTERED = (
    "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "ESCALATION", "MODEL_ARMOR", "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
)  # fmt: skip
GEMINI_CUT = ("MAX_TOKENS", "CONTINUATION")
GEMINI_BROKEN = (
    "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "OTHER", "LANGUAGE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE", "PUP_LIMITED_DISABLED", "IMAGE_OTHER", "NO_IMAGE",
)  # fmt: skip
_GEMINI = {**dict.fromkeys(GEMINI_CUT, "length"), **dict.fromkeys(GEMINI_FILTERED, "content_filter")}


def _is_gemini(body: Body) -> bool:
    return type(body.get("candidates")) is list or type(body.get("promptFeedback")) is dict


def _of_gemini(body: Body) -> Said:
    told = table(body, "usageMetadata")
    choices = [_candidate(each) for each in tables(body.get("candidates"))]
    thought = count(told.get("thoughtsTokenCount"))
    usage = Usage(
        count(told.get("promptTokenCount")) + count(told.get("toolUsePromptTokenCount")),
        count(told.get("cachedContentTokenCount")),
        0,
        count(told.get("candidatesTokenCount")) + thought,
        thought,
    )
    return Said(choices or [Choice("", "content_filter")], usage, _text(body, "modelVersion"))


def _candidate(candidate: Body) -> Choice:
    parts = tables(table(candidate, "content").get("parts"))
    text = "".join(_text(part, "text") for part in parts if not part.get("thought"))
    called = [part for part in parts if table(part, "functionCall")]
    calls = tuple(
        _call(table(part, "functionCall"), "args", at)._replace(signature=_text(part, "thoughtSignature"))
        for at, part in enumerate(called)
    )
    finish = _GEMINI.get(_text(candidate, "finishReason"), "tool_calls" if calls else "stop")
    return Choice(text, finish, calls, _logprobs(table(candidate, "logprobsResult")))


def _logprobs(told: Body) -> Body | None:
    chosen = tables(told.get("chosenCandidates"))
    if not chosen:
        return None
    others = [tables(each.get("candidates")) for each in tables(told.get("topCandidates"))]
    others += [[]] * (len(chosen) - len(others))
    return {
        "content": [
            {**_token(one), "top_logprobs": list(map(_token, top))} for one, top in zip(chosen, others, strict=False)
        ],
        "refusal": None,
    }


def _token(told: Body, name: str = "logProbability") -> Body:
    text, logprob = _text(told, "token"), told.get(name)
    return {"token": text, "logprob": logprob if type(logprob) in (int, float) else 0.0, "bytes": list(text.encode())}


# -- Ollama ------------------------------------------------------------------------------------------------------------


def _is_ollama(body: Body) -> bool:
    return type(body.get("message")) is dict and "done" in body


def _of_ollama(body: Body) -> Said:
    message = table(body, "message")
    called = [table(each, "function") for each in tables(message.get("tool_calls"))]
    calls = tuple(_call(each, "arguments", at) for at, each in enumerate(called))
    finish = "tool_calls" if calls else "length" if body.get("done_reason") == "length" else "stop"
    usage = Usage(count(body.get("prompt_eval_count")), 0, 0, count(body.get("eval_count")))
    logprobs = _openai_logprobs(tables(body.get("logprobs")))
    return Said([Choice(_text(message, "content"), finish, calls, logprobs)], usage, _text(body, "model"))


# -- OpenAI's responses ------------------------------------------------------------------------------------------------

_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}


def _is_response(body: Body) -> bool:
    return type(body.get("output")) is list


def _of_response(body: Body) -> Said:
    items, told = tables(body["output"]), table(body, "usage")
    parts = [part for item in items if item.get("type") == "message" for part in tables(item.get("content"))]
    text = "".join(_text(part, "text") for part in parts if part.get("type") == "output_text")
    refusal = "".join(_text(part, "refusal") for part in parts if part.get("type") == "refusal")
    called = [item for item in items if item.get("type") == "function_call"]
    calls = tuple(
        Call(_text(item, "call_id") or f"call_{at}", _text(item, "name"), _text(item, "arguments") or "{}")
        for at, item in enumerate(called)
    )
    reason = _text(table(body, "incomplete_details"), "reason")
    finish = _INCOMPLETE.get(reason, "tool_calls" if calls else "stop")
    usage = Usage(
        count(told.get("input_tokens")),
        count(table(told, "input_tokens_details").get("cached_tokens")),
        0,
        count(told.get("output_tokens")),
        count(table(told, "output_tokens_details").get("reasoning_tokens")),
    )
    logprobs = _openai_logprobs([each for part in parts for each in tables(part.get("logprobs"))])
    return Said([Choice(text, finish, calls, logprobs, refusal or None)], usage, _text(body, "model"))


def _openai_logprobs(told: list[Body]) -> Body | None:
    """Ollama and the responses have them as OpenAI's chat does."""
    said = [
        {
            **_token(each, "logprob"),
            "top_logprobs": [_token(one, "logprob") for one in tables(each.get("top_logprobs"))],
        }
        for each in told
    ]
    return {"content": said, "refusal": None} if said else None


FORMS: tuple[tuple[Callable[[Body], bool], Callable[[Body], Said]], ...] = (
    (is_message, _of_anthropic), (_is_gemini, _of_gemini), (_is_ollama, _of_ollama), (_is_response, _of_response),
)  # fmt: skip
"""How a provider's own body is known, and who reads it."""


def _call(told: Body, arguments: str, at: int) -> Call:
    """Providers that name no call are given a name for it: a client answers by it."""
    given = told.get(arguments)
    text = given if type(given) is str else _encode({} if given is None else given).decode()
    return Call(_text(told, "id") or f"call_{at}", _text(told, "name"), text)


def table(body: Body, name: str) -> Body:
    """The object under a name; an empty one for anything else."""
    found = body.get(name)
    return found if type(found) is dict else {}


def _text(body: Body, name: str) -> str:
    found = body.get(name)
    return found if type(found) is str else ""
