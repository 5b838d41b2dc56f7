"""Anthropic's Messages API. System messages, wherever they stand, become the one system prompt that it has.

Speaks version 2023-06-01, the last one with sampling parameters.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.config.sections import Target
from pipelines.money import Price
from pipelines.types import Completion, Failure, Usage
from worker.backends import Sendable, answers, failures, looks, rows
from worker.backends.exchange import Response
from worker.backends.lenient import count
from worker.backends.looks import Seen
from worker.backends.rows import Cannot, Out
from worker.backends.schemas import closed

if TYPE_CHECKING:
    from worker.backends.http import Web

VERSION = "2023-06-01"
FINISH = {
    "end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "model_context_window_exceeded": "length",
    "tool_use": "tool", "refusal": "refusal", "pause_turn": "broken",
}  # fmt: skip
EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})


class Block(msgspec.Struct, frozen=True):
    type: str | None = None
    text: str | None = None


class OutputDetails(msgspec.Struct, frozen=True, gc=False):
    thinking_tokens: int | None = None


class CacheWrites(msgspec.Struct, frozen=True, gc=False):
    ephemeral_1h_input_tokens: int | None = None


class Counts(msgspec.Struct, frozen=True, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: CacheWrites | None = None
    output_tokens_details: OutputDetails | None = None


class Answer(msgspec.Struct, frozen=True):
    content: list[Block] | None = None
    stop_reason: str | None = None
    model: str | None = None
    usage: Counts | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(Answer)


class Anthropic:
    """See `Adapter`."""

    def request(
        self, target: Target, item_body: bytes, *, schema: dict[str, Any] | None = None, price: Price | None = None
    ) -> Sendable | Failure:
        body = rows.read(item_body)
        if isinstance(body, Failure):
            return body
        out: Out = {"model": target.model, "max_tokens": target.max_output_tokens}
        try:
            system, out["messages"] = rows.conversation(body["messages"], SAYS, "assistant", "content")
            rows.translate(body, PARAMETERS, out)
            _settle_choice(out)
        except Cannot as error:
            return rows.cannot(target, error)
        if system:
            out["system"] = system
        if schema is not None and target.structured_output and "response_format" not in body:
            out.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": closed(schema)}
        return f"{root_of(target)}/messages", headers_of(target), rows.as_json(out)

    def parse(self, target: Target, response: Response) -> Completion | Failure:
        answer = failures.shaped(target, response, _DECODER)
        if not isinstance(answer, Answer):
            return answer
        if answer.error or answer.content is None:
            return failures.inside(target, response, "content")
        text = "".join(block.text or "" for block in answer.content if block.type == "text")
        calls = any(block.type == "tool_use" for block in answer.content)
        finish, meant = answers.finish_of(answer.stop_reason, FINISH), answer.stop_reason == "stop_sequence"
        return answers.completed(text, finish, _usage(answer.usage), answer.model, calls, meant=meant)


ADAPTER = Anthropic()


def root_of(target: Target) -> str:
    return f"{(target.base_url or '').removesuffix('/v1')}/v1"


def headers_of(target: Target) -> Mapping[str, str]:
    return {"content-type": "application/json", "anthropic-version": VERSION, "x-api-key": target.key or ""}


def _usage(counts: Counts | None) -> Usage:
    """Its `input_tokens` leaves cached tokens out; ours counts them in."""
    if counts is None:
        return Usage()
    read, written = count(counts.cache_read_input_tokens), count(counts.cache_creation_input_tokens)
    out, details = count(counts.output_tokens), counts.output_tokens_details
    thinking = count(details.thinking_tokens) if details else 0
    long = count(counts.cache_creation.ephemeral_1h_input_tokens) if counts.cache_creation else 0
    into = count(counts.input_tokens) + read + written
    return Usage(into, read, written, out, min(thinking, out), min(long, written))


# -- messages ----------------------------------------------------------------------------------------------------------


def _filled(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Its parts without empty texts, which the API refuses."""
    return [part for part in rows.parts(message.get("content")) if part.get("type") != "text" or part.get("text")]


def _marked(part: dict[str, Any], block: dict[str, Any]) -> dict[str, Any]:
    mark = part.get("cache_control")
    return {**block, "cache_control": mark} if mark else block


def _system(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [_marked(part, {"type": "text", "text": rows.text_of([part], "system")}) for part in _filled(message)]


def _said(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [_marked(part, _block(part)) for part in _filled(message)]


def _block(part: dict[str, Any]) -> dict[str, Any]:
    match part.get("type"):
        case "text":
            return {"type": "text", "text": part["text"]}
        case "image_url":
            url = rows.image_url(part)
            inline = rows.data_url(url)
            source = (
                {"type": "base64", "media_type": inline[0], "data": inline[1]}
                if inline
                else {"type": "url", "url": url}
            )
            return {"type": "image", "source": source}
        case "file":
            return _document(*rows.file_data(part))
    raise Cannot(f"`{part.get('type')}` content")


def _document(media: str, data: str) -> dict[str, Any]:
    match media:
        case "application/pdf":
            source = {"type": "base64", "media_type": media, "data": data}
        case "text/plain":
            source = {"type": "text", "media_type": media, "data": b64decode(data).decode(errors="replace")}
        case _:
            raise Cannot(f"a file of type `{media[:60]}`")
    return {"type": "document", "source": source}


def _assistant(message: dict[str, Any]) -> list[dict[str, Any]]:
    text = rows.text_of(message.get("content"), "assistant") or str(message.get("refusal") or "")
    said = [{"type": "text", "text": text}] if text else []
    calls = rows.calls_of(message)
    return [*said, *({"type": "tool_use", "id": id_, "name": name, "input": input_} for id_, name, input_ in calls)]


def _tool(message: dict[str, Any]) -> list[dict[str, Any]]:
    result = {"type": "tool_result", "tool_use_id": str(message.get("tool_call_id") or "")}
    return [{**result, "content": rows.text_of(message.get("content"), "tool")}]


SAYS = {"system": _system, "user": _said, "assistant": _assistant, "tool": _tool}


# -- parameters --------------------------------------------------------------------------------------------------------


def _temperature(value: Any, out: Out) -> None:
    if value > 1:
        raise Cannot("a `temperature` above 1")
    out["temperature"] = value


def _tools(value: Any, out: Out) -> None:
    out["tools"] = [
        {
            "name": function["name"],
            "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
            **({"description": function["description"]} if function.get("description") else {}),
            **({"strict": True} if function.get("strict") else {}),
        }
        for function in rows.functions(value)
    ]


def _tool_choice(value: Any, out: Out) -> None:
    words = {"auto": "auto", "none": "none", "required": "any"}
    choice = {"type": words[value]} if type(value) is str else {"type": "tool", "name": value["function"]["name"]}
    out["tool_choice"] = {**out.get("tool_choice", {}), **choice}


def _parallel(value: Any, out: Out) -> None:
    out["tool_choice"] = {"type": "auto", **out.get("tool_choice", {}), "disable_parallel_tool_use": not value}


def _settle_choice(out: Out) -> None:
    """A choice that is none is refused by the API where there are no tools; `none` takes no more words."""
    choice = out.get("tool_choice", {}).get("type")
    if "tools" not in out and choice in ("none", "auto"):
        del out["tool_choice"]
    elif choice == "none":
        out["tool_choice"] = {"type": "none"}


def _user(value: Any, out: Out) -> None:
    out["metadata"] = {"user_id": str(value)}


def _response_format(value: Any, out: Out) -> None:
    if value["type"] != "json_schema":
        raise Cannot(f"`response_format` {value['type']}")
    out.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": rows.wanted_schema(value)}


def _effort(value: Any, out: Out) -> None:
    if value == "none":
        out["thinking"] = {"type": "disabled"}
    elif value in EFFORTS:
        out.setdefault("output_config", {})["effort"] = value
    else:
        raise Cannot(f"`reasoning_effort` {value}")


def _stop(value: Any, out: Out) -> None:
    out["stop_sequences"] = rows.stops(value)


PARAMETERS: Mapping[str, rows.Setter] = {
    "max_tokens": rows.put("max_tokens"), "max_completion_tokens": rows.put("max_tokens"), "temperature": _temperature,
    "top_p": rows.put("top_p"), "top_k": rows.put("top_k"), "stop": _stop, "tools": _tools,
    "tool_choice": _tool_choice, "parallel_tool_calls": _parallel, "response_format": _response_format,
    "reasoning_effort": _effort, "user": _user, "safety_identifier": _user,
}  # fmt: skip


async def look(web: Web, target: Target) -> Seen:
    """Its list of models needs the key, so it tells about both."""
    data, trouble, _ = await looks.ask(web, f"{root_of(target)}/models?limit=100", headers_of(target))
    if trouble is not None:
        return looks.keyed(target, trouble)
    listed = looks.names(looks.table(data, "data"), "id")
    # A name without its date is an alias that the list leaves out.
    known = any(name == target.model or name.startswith(f"{target.model}-") for name in listed)
    return Seen(
        True, "" if known or not listed else looks.lacking(target, listed), target.model if known else None, listed
    )
