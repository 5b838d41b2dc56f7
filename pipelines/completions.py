"""An answer as OpenAI's chat completion, whichever provider gave it; chat_shape.py reads the choices.

A body that is a chat completion already stays as it came; where none was kept, one is made of the columns of the result.
What a model thought is left out, as OpenAI does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pipelines import chat_shape
from pipelines.types import Usage

Row = Mapping[str, Any]
Body = dict[str, Any]


def completion(row: Row) -> Body:
    """The answer of a row of results.parquet."""
    body = decoded(row["response"])
    return body if is_completion(body) else _made(row, body)


def completion_json(row: Row) -> Any:
    """The same to be put into other JSON: a provider's own completion goes byte by byte as it came."""
    body = decoded(row["response"])
    return inside(row["response"]) if is_completion(body) else _made(row, body)


def inside(text: str) -> msgspec.Raw:
    """JSON for a line of JSON: as it is, but without the line breaks that some servers put between its parts."""
    raw = text.encode()
    return msgspec.Raw(msgspec.json.format(raw, indent=-1) if b"\n" in raw or b"\r" in raw else raw)


def is_completion(body: Body) -> bool:
    return type(body.get("choices")) is list


def is_message(body: Body) -> bool:
    """Whether it is Anthropic's."""
    return body.get("type") == "message" and type(body.get("content")) is list


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
    return {
        "id": f"chatcmpl-{row['run_id']}-{row['row']}",
        "object": "chat.completion",
        "created": int(row["finished_at"].timestamp()) if row.get("finished_at") else 0,
        "model": _text(body, "model") or _text(body, "modelVersion") or row["model"] or "",
        "choices": chat_shape.choices(body) or [_of_columns(row)],
        "usage": _usage(_tokens(row) or _told(body)),
    }


TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


def _of_columns(row: Row) -> Body:
    refused = row["status"] == "refused" and row["finish_reason"] == "refusal"
    return chat_shape.choice(row["output"] or "", row["finish_reason"], refusal=row["output"] if refused else None)


def _usage(usage: Usage) -> Body:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _tokens(row: Row) -> Usage | None:
    """As the ledger counts them; None of a duplicate, which took none of its own."""
    if row.get("input_tokens") is None and row.get("output_tokens") is None:
        return None
    return Usage(*(row.get(name) or 0 for name in TOKENS))


def _told(body: Body) -> Usage:
    """What the answer says that it took."""
    return next((read(body) for name, read in USAGES.items() if name in body), Usage(0, 0, 0, 0, 0))


def _of_anthropic_or_responses(body: Body) -> Usage:
    told = _table(body, "usage")
    read, written = count(told.get("cache_read_input_tokens")), count(told.get("cache_creation_input_tokens"))
    cached = read or count(_table(told, "input_tokens_details").get("cached_tokens"))
    details = _table(told, "output_tokens_details")
    thought = count(details.get("thinking_tokens")) or count(details.get("reasoning_tokens"))
    into = count(told.get("input_tokens")) + read + written
    return Usage(into, cached, written, count(told.get("output_tokens")), thought)


def _of_gemini(body: Body) -> Usage:
    told = _table(body, "usageMetadata")
    thought = count(told.get("thoughtsTokenCount"))
    into = count(told.get("promptTokenCount")) + count(told.get("toolUsePromptTokenCount"))
    out = count(told.get("candidatesTokenCount")) + thought
    return Usage(into, count(told.get("cachedContentTokenCount")), 0, out, thought)


def _of_ollama(body: Body) -> Usage:
    return Usage(count(body.get("prompt_eval_count")), 0, 0, count(body.get("eval_count")))


USAGES: Mapping[str, Callable[[Body], Usage]] = {
    "usage": _of_anthropic_or_responses, "usageMetadata": _of_gemini, "candidates": _of_gemini, "eval_count": _of_ollama,
    "done": _of_ollama,
}  # fmt: skip
"""By a field that only one of them has."""


def _table(body: Body, name: str) -> Body:
    found = body.get(name)
    return found if type(found) is dict else {}


def _text(body: Body, name: str) -> str:
    found = body.get(name)
    return found if type(found) is str else ""
