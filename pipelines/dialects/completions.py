"""An answer as OpenAI's chat completion, whichever provider gave it; said.py reads their bodies.

A body that is a chat completion already stays as it came; where none was kept, one is made of the columns of the result.
What a model thought is left out, as OpenAI does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipelines.dialects.said import FORMS, Body, Call, Choice, Said, decoded, table, tables
from pipelines.types import Usage

Row = Mapping[str, Any]


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


def calls(response: str | None) -> list[tuple[str, str]]:
    """Name and arguments (JSON) of the tools that the first choice of an answer calls, whatever the form of its body."""
    body = decoded(response)
    if not is_completion(body):
        said = next((read(body).choices for is_its, read in FORMS if is_its(body)), [])
        return [(call.name, call.arguments) for choice in said[:1] for call in choice.calls]
    found = [table(each, "message") for each in tables(body["choices"])[:1]]
    called = [table(each, "function") for message in found for each in tables(message.get("tool_calls"))]
    called += [old for message in found if (old := table(message, "function_call"))]
    return [(str(each.get("name") or ""), str(each.get("arguments") or "")) for each in called]


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
    message: Body = {"role": "assistant", "content": choice.text, "refusal": choice.refusal}
    if choice.calls or choice.refusal:
        message["content"] = choice.text or None
    if choice.calls:
        message["tool_calls"] = list(map(_said_call, choice.calls))
    return {"index": index, "message": message, "logprobs": choice.logprobs, "finish_reason": choice.finish}


def _said_call(call: Call) -> Body:
    said = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return {**said, "extra_content": {"google": {"thought_signature": call.signature}}} if call.signature else said


def _usage(usage: Usage) -> Body:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


_OUR_WORDS = {"length": "length", "tool": "tool_calls", "filter": "content_filter", "refusal": "content_filter"}


def _of_columns(row: Row) -> Said:
    finish = _OUR_WORDS.get(row["finish_reason"] or "", "stop")
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    into, cached, out, reasoning = (row.get(name) or 0 for name in names)
    usage = Usage(into, cached, 0, out, reasoning)
    return Said([Choice(row["output"] or "", finish)], usage, None)
