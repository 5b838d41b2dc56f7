"""OpenAI's Responses API, which a target of kind `openai` speaks with `api = "responses"`.

Nothing is kept there (`store`), as with chat; a row that wants what only chat has is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipelines.config.sections import Target
from pipelines.money import Price
from pipelines.types import Completion, Failure, Usage
from worker.backends import Sendable, answers, failures, looks, rows, schemas
from worker.backends.exchange import Response
from worker.backends.lenient import count
from worker.backends.rows import Cannot, Out

LEAST_TOKENS = 16
"""It refuses a lower `max_output_tokens`."""
OF_REQUEST = frozenset({"data_residency_mismatch"})
"""Codes of a failed answer that would be the same again; so are all about images."""
FINISH = {
    "max_output_tokens": "length", "content_filter": "filter",
    **dict.fromkeys(("max_messages", "steered", "failed", "cancelled", "in_progress", "queued"), "broken"),
}  # fmt: skip


class Part(msgspec.Struct, frozen=True):
    type: str | None = None
    text: str | None = None
    refusal: str | None = None


class Item(msgspec.Struct, frozen=True):
    type: str | None = None
    content: list[Part] | None = None


class InputDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class OutputDetails(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: int | None = None


class Counts(msgspec.Struct, frozen=True, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class Incomplete(msgspec.Struct, frozen=True, gc=False):
    reason: str | None = None


class Answer(msgspec.Struct, frozen=True):
    status: str | None = None
    output: list[Item] | None = None
    incomplete_details: Incomplete | None = None
    model: str | None = None
    usage: Counts | None = None
    service_tier: str | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(Answer)


class Responses:
    """See `Adapter`."""

    def request(
        self, target: Target, item_body: bytes, *, schema: dict[str, Any] | None = None, price: Price | None = None
    ) -> Sendable | Failure:
        body = rows.read(item_body)
        if isinstance(body, Failure):
            return body
        out: Out = {"model": target.model, "input": [], "store": False}
        if target.lane == "cloud":
            out["max_output_tokens"] = target.max_output_tokens
        try:
            for message in body["messages"]:
                role = rows.role_of(message)
                with rows.formed(f"a message of role `{role}`"):
                    out["input"] += SAYS[role](message)
            rows.translate(body, PARAMETERS, out)
        except Cannot as error:
            return rows.cannot(target, error, "openai's responses API")
        if schema is not None and target.structured_output and "response_format" not in body:
            out.setdefault("text", {})["format"] = {"type": "json_schema", **schemas.answer(schema)}
        headers = {"content-type": "application/json", **looks.bearer(target)}
        return f"{target.base_url}/responses", headers, rows.as_json(out)

    def parse(self, target: Target, response: Response) -> Completion | Failure:
        answer = failures.shaped(target, response, _DECODER)
        if not isinstance(answer, Answer):
            return answer
        usage = _usage(answer.usage)
        if answer.error or (answer.output is None and answer.status is None):
            return _failed(target, response, answer, usage)
        return _completion(answer, usage)


def _completion(answer: Answer, usage: Usage) -> Completion | Failure:
    items = answer.output or []
    parts = [part for item in items if item.type == "message" for part in item.content or ()]
    text = "".join(part.text or "" for part in parts if part.type == "output_text")
    refusal = "".join(part.refusal or "" for part in parts if part.type == "refusal")
    calls = any(item.type in ("function_call", "custom_tool_call") for item in items)
    finish = "refusal" if refusal else "tool" if calls else "stop"
    if answer.status == "incomplete":
        raw = answer.incomplete_details.reason if answer.incomplete_details else None
        finish = answers.finish_of(raw or "incomplete", FINISH)
    elif answer.status not in (None, "completed"):
        finish = answers.finish_of(answer.status, FINISH)
    return answers.completed(text or refusal, finish, usage, answer.model, calls, tier=answer.service_tier)


def _failed(target: Target, response: Response, answer: Answer, usage: Usage) -> Completion | Failure:
    """A 200 of status `failed`. What was used may be paid."""
    failed = failures.inside(target, response, "output")
    if isinstance(failed, Completion):
        return msgspec.structs.replace(failed, usage=usage, model=answer.model, tier=answer.service_tier)
    failed = answers.paid(failed, usage, answer.model, None, answer.service_tier)
    if "image" in failed.code or failed.code in OF_REQUEST:
        return msgspec.structs.replace(failed, kind="invalid", retry_after_s=None)
    if usage.output_tokens and failed.kind in ("rate", "overload", "transient"):
        return msgspec.structs.replace(failed, kind="unknown")
    return failed


def _usage(counts: Counts | None) -> Usage:
    if counts is None:
        return Usage()
    into, out = count(counts.input_tokens), count(counts.output_tokens)
    details, more = counts.input_tokens_details or InputDetails(), counts.output_tokens_details or OutputDetails()
    cached = min(count(details.cached_tokens), into)
    written = min(count(details.cache_write_tokens), into - cached)
    return Usage(into, cached, written, out, min(count(more.reasoning_tokens), out))


# -- messages ----------------------------------------------------------------------------------------------------------


def _system(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": message["role"], "content": rows.text_of(message.get("content"), message["role"])}]


def _user(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [_part(part) for part in rows.parts(message.get("content"))]}]


def _part(part: dict[str, Any]) -> dict[str, Any]:
    match part.get("type"):
        case "text":
            return {"type": "input_text", "text": str(part.get("text") or "")}
        case "image_url":
            image = part.get("image_url")
            detail = image.get("detail") if type(image) is dict else None
            return {"type": "input_image", "image_url": rows.image_url(part), "detail": detail or "auto"}
        case "file" if type(part.get("file")) is dict:
            file = part["file"]
            return {"type": "input_file", **{name: file[name] for name in FILE if file.get(name) is not None}}
    raise Cannot(f"`{part.get('type')}` content")


FILE = ("file_data", "file_id", "filename")


def _assistant(message: dict[str, Any]) -> list[dict[str, Any]]:
    text = rows.text_of(message.get("content"), "assistant") or str(message.get("refusal") or "")
    said = [{"role": "assistant", "content": text}] if text else []
    calls = rows.asked_calls(message)
    return [
        *said,
        *({"type": "function_call", "call_id": id_, "name": name, "arguments": text} for id_, name, text in calls),
    ]


def _tool(message: dict[str, Any]) -> list[dict[str, Any]]:
    output = rows.text_of(message.get("content"), "tool")
    return [{"type": "function_call_output", "call_id": str(message.get("tool_call_id") or ""), "output": output}]


SAYS: Mapping[str, rows.Says] = {
    "system": _system, "developer": _system, "user": _user, "assistant": _assistant, "tool": _tool,
}  # fmt: skip


# -- parameters --------------------------------------------------------------------------------------------------------


def _limit(value: Any, out: Out) -> None:
    if value < LEAST_TOKENS:
        raise Cannot(f"a `max_tokens` below {LEAST_TOKENS}")
    out["max_output_tokens"] = value


def _tools(value: Any, out: Out) -> None:
    """Unlike chat, it is strict unless told otherwise."""
    out["tools"] = [
        {
            "type": "function",
            "name": function["name"],
            "parameters": function.get("parameters") or {"type": "object", "properties": {}},
            "strict": bool(function.get("strict")),
            **({"description": function["description"]} if function.get("description") else {}),
        }
        for function in rows.functions(value)
    ]


def _tool_choice(value: Any, out: Out) -> None:
    out["tool_choice"] = value if type(value) is str else {"type": "function", "name": value["function"]["name"]}


def _response_format(value: Any, out: Out) -> None:
    wanted = {"type": value["type"]}
    if value["type"] == "json_schema":
        wanted |= {**value["json_schema"], "schema": rows.wanted_schema(value)}
    out.setdefault("text", {})["format"] = wanted


def _verbosity(value: Any, out: Out) -> None:
    out.setdefault("text", {})["verbosity"] = value


def _effort(value: Any, out: Out) -> None:
    out["reasoning"] = {"effort": value}


def _logprobs(value: Any, out: Out) -> None:
    out["include"] = ["message.output_text.logprobs"]


PARAMETERS: Mapping[str, rows.Setter] = {
    "max_tokens": _limit, "max_completion_tokens": _limit, "tools": _tools, "tool_choice": _tool_choice,
    "response_format": _response_format, "verbosity": _verbosity, "reasoning_effort": _effort, "logprobs": _logprobs,
    **{
        name: rows.put(name)
        for name in (
            "temperature", "top_p", "top_logprobs", "parallel_tool_calls", "service_tier", "store", "user",
            "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
        )
    },
}  # fmt: skip
