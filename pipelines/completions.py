"""An answer as OpenAI's chat completion, whichever provider gave it: Anthropic's, Gemini's and Ollama's bodies are translated.

A body that is a chat completion already stays as it came; where none was kept, one is made of the columns of the result.
What a model thought is left out, as OpenAI does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from pipelines.types import Usage

_encode = msgspec.json.Encoder().encode

Row = Mapping[str, Any]
Body = dict[str, Any]


class Call(NamedTuple):
    """A tool that the model calls; `arguments` is JSON."""

    id: str
    name: str
    arguments: str


class Choice(NamedTuple):
    text: str
    finish: str  # as OpenAI says it
    calls: tuple[Call, ...] = ()
    logprobs: Body | None = None


class Said(NamedTuple):
    """What a body says, whatever its form."""

    choices: list[Choice]
    usage: Usage
    model: str | None


def completion(row: Row) -> Body:
    """The answer of a row of results.parquet."""
    body = decoded(row["response"])
    return body if is_completion(body) else _made(row, body)


def completion_json(row: Row) -> Any:
    """The same to be put into other JSON: a provider's own completion goes byte by byte as it came."""
    body = decoded(row["response"])
    return msgspec.Raw(row["response"].encode()) if is_completion(body) else _made(row, body)


def is_completion(body: Body) -> bool:
    return type(body.get("choices")) is list


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


def _made(row: Row, body: Body) -> Body:
    read = next((read for is_its, read in FORMS if is_its(body)), None)
    said = read(body) if read else _of_columns(row)
    return {
        "id": f"chatcmpl-{row['run_id']}-{row['row']}",
        "object": "chat.completion",
        "created": int(row["finished_at"].timestamp()) if row.get("finished_at") else 0,
        "model": said.model or row["model"] or "",
        "choices": [_choice(index, each) for index, each in enumerate(said.choices)],
        "usage": _usage(said.usage),
    }


def _choice(index: int, choice: Choice) -> Body:
    message: Body = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.calls:
        message["content"] = choice.text or None
        message["tool_calls"] = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id_, name, arguments in choice.calls
        ]
    return {"index": index, "message": message, "logprobs": choice.logprobs, "finish_reason": choice.finish}


def _usage(usage: Usage) -> Body:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


# -- where no body was kept --------------------------------------------------------------------------------------------

_OUR_WORDS = {"length": "length", "tool": "tool_calls", "filter": "content_filter", "refusal": "content_filter"}


def _of_columns(row: Row) -> Said:
    finish = _OUR_WORDS.get(row["finish_reason"] or "", "stop")
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    into, cached, out, reasoning = (row.get(name) or 0 for name in names)
    usage = Usage(into, cached, 0, out, reasoning)
    return Said([Choice(row["output"] or "", finish)], usage, None)


# -- Anthropic ---------------------------------------------------------------------------------------------------------

_ANTHROPIC = {
    "max_tokens": "length", "model_context_window_exceeded": "length", "tool_use": "tool_calls",
    "refusal": "content_filter",
}  # fmt: skip


def is_message(body: Body) -> bool:
    """Whether it is Anthropic's."""
    return body.get("type") == "message" and type(body.get("content")) is list


def _of_anthropic(body: Body) -> Said:
    blocks, told = tables(body["content"]), _table(body, "usage")
    text = "".join(_text(block, "text") for block in blocks if block.get("type") == "text")
    calls = (_call(block, "input", at) for at, block in enumerate(blocks) if block.get("type") == "tool_use")
    read, written = count(told.get("cache_read_input_tokens")), count(told.get("cache_creation_input_tokens"))
    thought = count(_table(told, "output_tokens_details").get("thinking_tokens"))
    usage = Usage(
        count(told.get("input_tokens")) + read + written, read, written, count(told.get("output_tokens")), thought
    )
    finish = _ANTHROPIC.get(_text(body, "stop_reason"), "stop")
    return Said([Choice(text, finish, tuple(calls))], usage, _text(body, "model"))


# -- Gemini ------------------------------------------------------------------------------------------------------------

_GEMINI = {
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"), "content_filter"
    ),
}


def _is_gemini(body: Body) -> bool:
    return type(body.get("candidates")) is list or type(body.get("promptFeedback")) is dict


def _of_gemini(body: Body) -> Said:
    told = _table(body, "usageMetadata")
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
    parts = tables(_table(candidate, "content").get("parts"))
    text = "".join(_text(part, "text") for part in parts if not part.get("thought"))
    called = [each for part in parts if (each := _table(part, "functionCall"))]
    calls = tuple(_call(each, "args", at) for at, each in enumerate(called))
    finish = _GEMINI.get(_text(candidate, "finishReason"), "tool_calls" if calls else "stop")
    return Choice(text, finish, calls, _logprobs(_table(candidate, "logprobsResult")))


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


def _token(told: Body) -> Body:
    text, logprob = _text(told, "token"), told.get("logProbability")
    return {"token": text, "logprob": logprob if type(logprob) in (int, float) else 0.0, "bytes": list(text.encode())}


# -- Ollama ------------------------------------------------------------------------------------------------------------


def _is_ollama(body: Body) -> bool:
    return type(body.get("message")) is dict and "done" in body


def _of_ollama(body: Body) -> Said:
    message = _table(body, "message")
    called = [_table(each, "function") for each in tables(message.get("tool_calls"))]
    calls = tuple(_call(each, "arguments", at) for at, each in enumerate(called))
    finish = "tool_calls" if calls else "length" if body.get("done_reason") == "length" else "stop"
    usage = Usage(count(body.get("prompt_eval_count")), 0, 0, count(body.get("eval_count")))
    return Said([Choice(_text(message, "content"), finish, calls)], usage, _text(body, "model"))


FORMS: tuple[tuple[Callable[[Body], bool], Callable[[Body], Said]], ...] = (
    (is_message, _of_anthropic), (_is_gemini, _of_gemini), (_is_ollama, _of_ollama),
)  # fmt: skip
"""How a provider's own body is known, and who reads it."""


def _call(told: Body, arguments: str, at: int) -> Call:
    """Providers that name no call are given a name for it: a client answers by it."""
    given = told.get(arguments)
    text = given if type(given) is str else _encode({} if given is None else given).decode()
    return Call(_text(told, "id") or f"call_{at}", _text(told, "name"), text)


def _table(body: Body, name: str) -> Body:
    found = body.get(name)
    return found if type(found) is dict else {}


def _text(body: Body, name: str) -> str:
    found = body.get(name)
    return found if type(found) is str else ""
