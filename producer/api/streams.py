"""An answer that is there as a whole, in the form of a stream: the server-sent events of OpenAI's two endpoints.

A body may be some server's own, so anything may be missing in it or of another type: what is no object is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec

from pipelines.dialects.said import Body, tables

EMPTY: dict[str, Body] = {"message": {"content": []}, "function_call": {"arguments": ""}}
"""What an item that begins has not said yet."""
PARTS = {"output_text": ("text", "output_text"), "refusal": ("refusal", "refusal")}
"""Kind of a part -> the field of its text, and how events name it."""


def chunks(body: Body, usage_too: bool) -> Iterator[bytes]:
    """Of a chat completion: each choice in one chunk, its end in another."""
    head = {**{name: body.get(name) for name in ("id", "created", "model")}, "object": "chat.completion.chunk"}

    def event(choices: list[Body], **more: Any) -> bytes:
        return b"data: " + msgspec.json.encode({**head, "choices": choices, **more}) + b"\n\n"

    for number, choice in enumerate(tables(body.get("choices"))):
        said = choice.get("message")
        message = dict(said) if type(said) is dict else {}
        if type(message.get("tool_calls")) is list:
            message["tool_calls"] = [{"index": at, **each} for at, each in enumerate(tables(message["tool_calls"]))]
        index = choice.get("index", number)
        yield event([{"index": index, "delta": message, "logprobs": choice.get("logprobs"), "finish_reason": None}])
        yield event([{"index": index, "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"}])
    if usage_too:
        yield event([], usage=body.get("usage"))
    yield b"data: [DONE]\n\n"


def events(body: Body, usage_too: bool) -> Iterator[bytes]:
    """Of a response: each part of its items in one delta; the last event always has the usage."""
    numbers = count()

    def event(kind: str, **more: Any) -> bytes:
        said = msgspec.json.encode({"type": kind, "sequence_number": next(numbers), **more})
        return f"event: {kind}\ndata: ".encode() + said + b"\n\n"

    begun = {**body, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    for index, item in enumerate(tables(body.get("output"))):
        kind = item.get("type")
        at = {"item_id": item.get("id") or f"item_{index}", "output_index": index}
        started = {**item, **EMPTY.get(str(kind), {}), "status": "in_progress"}
        yield event("response.output_item.added", output_index=index, item=started)
        for number, part in enumerate(tables(item.get("content")) if kind == "message" else ()):
            place = {**at, "content_index": number}
            name, form = PARTS.get(str(part.get("type")), ("", ""))
            more = {"logprobs": part.get("logprobs") or []} if form == "output_text" else {}
            yield event("response.content_part.added", **place, part={**part, **({name: ""} if name else {})})
            if name:
                said = _text(part.get(name))
                yield event(f"response.{form}.delta", **place, delta=said, **more)
                yield event(f"response.{form}.done", **place, **{name: said}, **more)
            yield event("response.content_part.done", **place, part=part)
        if kind == "function_call":
            said = _text(item.get("arguments"))
            yield event("response.function_call_arguments.delta", **at, delta=said)
            yield event("response.function_call_arguments.done", **at, name=item.get("name"), arguments=said)
        yield event("response.output_item.done", output_index=index, item=item)
    status = body.get("status")
    yield event(f"response.{'incomplete' if status == 'incomplete' else 'completed'}", response=body)


def _text(value: Any) -> str:
    return value if type(value) is str else ""
