"""An answer that is there as a whole, in the form of a stream: the server-sent events of OpenAI's two endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import msgspec

Body = dict[str, Any]


def chunks(body: Body, usage_too: bool) -> Iterator[bytes]:
    """Of a chat completion: each choice in one chunk, its end in another."""
    head = {**{name: body.get(name) for name in ("id", "created", "model")}, "object": "chat.completion.chunk"}

    def event(choices: list[Body], **more: Any) -> bytes:
        return b"data: " + msgspec.json.encode({**head, "choices": choices, **more}) + b"\n\n"

    for number, choice in enumerate(body["choices"]):
        message = dict(choice.get("message") or {})
        if isinstance(calls := message.get("tool_calls"), list):
            message["tool_calls"] = [{"index": at, **each} for at, each in enumerate(calls) if isinstance(each, dict)]
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
    for index, item in enumerate(body["output"]):
        at = {"item_id": item["id"], "output_index": index}
        empty: Body = {"content": []} if item["type"] == "message" else {"arguments": ""}
        yield event("response.output_item.added", output_index=index, item={**item, **empty, "status": "in_progress"})
        for number, part in enumerate(item.get("content", ())):
            place = {**at, "content_index": number}
            name, kind = ("text", "output_text") if part["type"] == "output_text" else ("refusal", "refusal")
            more = {"logprobs": part["logprobs"]} if kind == "output_text" else {}
            yield event("response.content_part.added", **place, part={**part, name: ""})
            yield event(f"response.{kind}.delta", **place, delta=part[name], **more)
            yield event(f"response.{kind}.done", **place, **{name: part[name]}, **more)
            yield event("response.content_part.done", **place, part=part)
        if item["type"] == "function_call":
            said = item["arguments"]
            yield event("response.function_call_arguments.delta", **at, delta=said)
            yield event("response.function_call_arguments.done", **at, name=item["name"], arguments=said)
        yield event("response.output_item.done", output_index=index, item=item)
    yield event(f"response.{body['status']}", response=body)
