"""OpenAI's Responses as chat completions, and chat completions as Responses; nothing of a conversation is kept between two.

What has no counterpart there (tools that run at OpenAI, earlier responses, files by id) is `Cannot`, which names it: nothing
is dropped that could change an answer. The engine, and all that it writes, know chat completions alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipelines.dialects.completions import Row, completion
from pipelines.dialects.parameters import shown
from pipelines.dialects.said import Body, count, decoded, tables


class Cannot(Exception):
    """Why a request is not asked; the text names the place."""


# -- in ----------------------------------------------------------------------------------------------------------------

SAME = frozenset(
    {"model", "temperature", "top_p", "parallel_tool_calls", "metadata", "user", "safety_identifier", "service_tier"}
    | {"prompt_cache_key", "prompt_cache_retention", "stream"}
)
"""What a chat completion has too."""
HINTS = frozenset({"store", "stream_options", "max_tool_calls"})
"""What changes no answer: a response is kept as long as its results are, and only OpenAI's own tools are counted."""


def chat(body: Mapping[str, Any]) -> Body:
    """The body of a response as a chat completion's. Raises Cannot."""
    out: Body = {}
    for name, value in body.items():
        if value is None or name in ("input", "instructions") or name in HINTS:
            continue
        if name in SAME:
            out[name] = value
        elif name in PARAMETERS:
            PARAMETERS[name](name, value, out)
        else:
            raise Cannot(f"`{name[:40]}` is not supported here")
    said = body.get("instructions")
    out["messages"] = [] if said is None else [{"role": "system", "content": _typed("instructions", said, str, "text")}]
    _input(body.get("input"), out["messages"])
    return out


def _typed(where: str, value: Any, kind: type, wanted: str) -> Any:
    if type(value) is not kind:
        raise Cannot(f"`{where}` must be {wanted}, not {shown(value)}")
    return value


def _only(where: str, given: Body, *known: str) -> None:
    for name, value in given.items():
        if name not in known and value is not None:
            raise Cannot(f"`{where}.{name[:40]}` is not supported here")


def _max_tokens(name: str, value: Any, out: Body) -> None:
    out["max_completion_tokens"] = value


def _top_logprobs(name: str, value: Any, out: Body) -> None:
    if value != 0:
        out |= {"logprobs": True, "top_logprobs": value}


def _include(name: str, value: Any, out: Body) -> None:
    for each in _typed(name, value, list, "a list"):
        if each == "message.output_text.logprobs":
            out["logprobs"] = True
        elif each != "reasoning.encrypted_content":  # there is none
            raise Cannot(f"`include` of {shown(each)} is not supported here")


def _neutral(*values: Any) -> Callable[[str, Any, Body], None]:
    """What may be said as long as it asks for nothing."""

    def check(name: str, value: Any, out: Body) -> None:
        if value not in values:
            raise Cannot(f"`{name}` {shown(value)} is not supported here")

    return check


def _reasoning(name: str, value: Any, out: Body) -> None:
    _only(name, _typed(name, value, dict, "an object"), "effort", "summary", "generate_summary")
    if value.get("effort") is not None:
        out["reasoning_effort"] = value["effort"]


def _text(name: str, value: Any, out: Body) -> None:
    _only(name, _typed(name, value, dict, "an object"), "format", "verbosity")
    if value.get("verbosity") is not None:
        out["verbosity"] = value["verbosity"]
    if value.get("format") is None:
        return
    form = _typed("text.format", value["format"], dict, "an object")
    if form.get("type") == "json_schema":
        _only("text.format", form, "type", "name", "schema", "strict", "description")
        schema = {
            part: form[part] for part in ("name", "description", "schema", "strict") if form.get(part) is not None
        }
        out["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif form.get("type") in ("text", "json_object"):
        out["response_format"] = {"type": form["type"]}
    else:
        raise Cannot(f"`text.format.type` {shown(form.get('type'))} is not supported here")


def _tools(name: str, value: Any, out: Body) -> None:
    tools = []
    for number, tool in enumerate(_typed(name, value, list, "a list")):
        where = f"tools[{number}]"
        if _typed(where, tool, dict, "an object").get("type") != "function":
            raise Cannot(f"`{where}`: only functions are supported here, not {shown(tool.get('type'))}")
        _only(where, tool, "type", "name", "description", "parameters", "strict")
        tools.append({"type": "function", "function": {part: tool[part] for part in tool if part != "type"}})
    if tools:
        out["tools"] = tools


def _tool_choice(name: str, value: Any, out: Body) -> None:
    if type(value) is str:
        out["tool_choice"] = value
        return
    if _typed(name, value, dict, "an object").get("type") != "function":
        raise Cannot(f"`tool_choice` {shown(value.get('type'))} is not supported here")
    out["tool_choice"] = {"type": "function", "function": {"name": value.get("name")}}


PARAMETERS: Mapping[str, Callable[[str, Any, Body], None]] = {
    "max_output_tokens": _max_tokens, "top_logprobs": _top_logprobs, "include": _include, "reasoning": _reasoning,
    "text": _text, "tools": _tools, "tool_choice": _tool_choice, "truncation": _neutral("disabled"),
    "background": _neutral(False),
}  # fmt: skip


def _input(given: Any, messages: list[Body]) -> None:
    if type(given) is str:
        messages.append({"role": "user", "content": given})
        return
    for number, item in enumerate(_typed("input", given, list, "a text or a list")):
        where = f"input[{number}]"
        kind = _typed(where, item, dict, "an object").get("type") or "message"
        if type(kind) is not str or kind not in ITEMS:
            raise Cannot(f"`{where}`: an item of type {shown(kind)} is not supported here")
        ITEMS[kind](where, item, messages)


def _message(where: str, item: Body, messages: list[Body]) -> None:
    _only(where, item, "type", "id", "status", "phase", "role", "content")
    content = item.get("content")
    if type(content) is list:
        parts = [_part(f"{where}.content[{at}]", part) for at, part in enumerate(content)]
        alone = len(parts) == 1 and parts[0]["type"] == "text"  # not every server reads a list
        content = parts[0]["text"] if alone else parts
    messages.append({"role": item.get("role"), "content": content})


def _part(where: str, part: Any) -> Body:
    match _typed(where, part, dict, "an object").get("type"):
        case "input_text" | "output_text":
            return {"type": "text", "text": part.get("text")}
        case "refusal":
            return {"type": "refusal", "refusal": part.get("refusal")}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
        case "input_image":
            _only(where, part, "type", "image_url", "detail")
            detail = {"detail": part["detail"]} if part.get("detail") is not None else {}
            return {"type": "image_url", "image_url": {"url": part.get("image_url"), **detail}}
        case "input_file":
            _only(where, part, "type", "file_data", "filename")
            return {"type": "file", "file": {each: part.get(each) for each in ("filename", "file_data")}}
    raise Cannot(f"`{where}`: a part of type {shown(part.get('type'))} is not supported here")


def _call(where: str, item: Body, messages: list[Body]) -> None:
    _only(where, item, "type", "id", "status", "call_id", "name", "arguments")
    function = {part: item.get(part) for part in ("name", "arguments")}
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(
        {"id": item.get("call_id"), "type": "function", "function": function}
    )


def _output(where: str, item: Body, messages: list[Body]) -> None:
    _only(where, item, "type", "id", "status", "call_id", "output", "name")
    output = item.get("output")
    if type(output) is list:
        output = [_part(f"{where}.output[{at}]", part) for at, part in enumerate(output)]
    messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": output})


ITEMS: Mapping[str, Callable[[str, Body, list[Body]], None]] = {
    "message": _message, "function_call": _call, "function_call_output": _output,
}  # fmt: skip


# -- out ---------------------------------------------------------------------------------------------------------------

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response(row: Row, asked: Mapping[str, Any] | None = None) -> Body:
    """The answer of a row of results.parquet: as it came, where it came as a response. What repeats the request comes from
    `asked`, else has its default."""
    own = decoded(row["response"])
    if own.get("object") == "response" and type(own.get("output")) is list:
        return own
    told, name = completion(row), f"{row['run_id']}-{row['row']}"
    choice = next(iter(tables(told["choices"])), {})
    reason = _INCOMPLETE.get(str(choice.get("finish_reason")))
    status = "incomplete" if reason else "completed"
    repeated = {each: value for each, value in (asked or {}).items() if each in REPEATED and value is not None}
    return {
        "id": f"resp_{name}",
        "object": "response",
        "created_at": told.get("created") or 0,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": told.get("model") or row["model"] or "",
        "output": _items(row, choice, name, status),
        "usage": _usage(told.get("usage")),
        **REPEATED,
        **repeated,
    }


REPEATED: Body = {
    "background": False, "instructions": None, "max_output_tokens": None, "metadata": {}, "parallel_tool_calls": True,
    "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "service_tier": None, "store": True,
    "temperature": None, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_logprobs": 0,
    "top_p": None, "truncation": "disabled", "user": None,
}  # fmt: skip


def _items(row: Row, choice: Body, name: str, status: str) -> list[Body]:
    message = choice.get("message")
    said: Body = message if type(message) is dict else {}
    text, refusal = row["output"] or "", said.get("refusal")
    logprobs = choice.get("logprobs")
    tokens = tables(logprobs.get("content")) if type(logprobs) is dict else []
    calls = [each["function"] | {"id": each.get("id")} for each in tables(said.get("tool_calls")) if _is_call(each)]
    parts: list[Body] = []
    if type(refusal) is str and refusal:
        parts = [{"type": "refusal", "refusal": refusal}]
    elif text or not calls:
        parts = [{"type": "output_text", "text": text, "annotations": [], "logprobs": tokens}]
    items: list[Body] = []
    if parts:
        items = [{"id": f"msg_{name}", "type": "message", "status": status, "role": "assistant", "content": parts}]
    return items + [
        {"id": f"fc_{name}_{at}", "type": "function_call", "status": "completed", "call_id": str(call["id"] or f"call_{at}"),
         "name": str(call.get("name") or ""), "arguments": str(call.get("arguments") or "{}")}
        for at, call in enumerate(calls)
    ]  # fmt: skip


def _is_call(told: Body) -> bool:
    return type(told.get("function")) is dict


def _usage(told: Any) -> Body:
    said: Body = told if type(told) is dict else {}
    into, out = count(said.get("prompt_tokens")), count(said.get("completion_tokens"))
    prompt, completion_ = said.get("prompt_tokens_details"), said.get("completion_tokens_details")
    read: Body = prompt if type(prompt) is dict else {}
    written: Body = completion_ if type(completion_) is dict else {}
    return {
        "input_tokens": into,
        "input_tokens_details": {
            "cached_tokens": count(read.get("cached_tokens")),
            "cache_write_tokens": count(read.get("cache_write_tokens")),
        },
        "output_tokens": out,
        "output_tokens_details": {"reasoning_tokens": count(written.get("reasoning_tokens"))},
        "total_tokens": into + out,
    }
