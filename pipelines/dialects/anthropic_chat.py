"""Anthropic's Messages parameters as a chat completion's body; the messages themselves are the work of anthropic_turns.py."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from pipelines.dialects.anthropic_turns import Cannot, Out, blocks_of, message, only, said, typed
from pipelines.dialects.parameters import shown


def chat(params: Mapping[str, Any], models: Container[str] | None = None) -> dict[str, Any]:
    """Messages parameters as a chat completion's body; Cannot names what has no counterpart."""
    for name in ("model", "max_tokens", "messages"):
        if params.get(name) is None:
            raise Cannot(f"{name}: Field required")
    model, messages = params["model"], params["messages"]
    if type(model) is not str or not model:
        raise Cannot("model: Input should be a name")
    if models is not None and model not in models:
        raise Cannot(f"model: {model[:100]}", "not_found_error")
    if type(messages) is not list or not messages:
        raise Cannot("messages: at least one message is required")
    out: Out = {"model": model, "messages": []}
    for name, value in params.items():
        if value is None or name in ("model", "messages"):
            continue
        if name not in PARAMETERS:
            raise Cannot(f"{name[:40]}: not supported here")
        PARAMETERS[name](name, value, out)
    for number, each in enumerate(messages):
        out["messages"] += message(f"messages.{number}", each)
    if out["messages"][-1]["role"] == "assistant":
        raise Cannot(f"messages.{len(messages) - 1}: a last message of the assistant (prefill) is not supported here")
    return out


def _max_tokens(name: str, value: Any, out: Out) -> None:
    if type(value) is not int or value < 1:
        raise Cannot("max_tokens: Input should be greater than or equal to 1")
    out["max_tokens"] = value


def _number(name: str, value: Any, out: Out) -> None:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise Cannot(f"{name}: Input should be a number from 0 to 1")
    out[name] = value


def _top_k(name: str, value: Any, out: Out) -> None:
    out["top_k"] = typed(name, value, int, "a whole number")


def _system(name: str, value: Any, out: Out) -> None:
    if type(value) is not str:
        out["messages"] = said(blocks_of(name, value))
    elif value:
        out["messages"] = [{"role": "system", "content": value}]


def _stop(name: str, value: Any, out: Out) -> None:
    if type(value) is not list or not all(type(each) is str for each in value):
        raise Cannot(f"{name}: Input should be a list of texts")
    if value:
        out["stop"] = value


def _stream(name: str, value: Any, out: Out) -> None:
    if value is not False:
        raise Cannot("stream: Streaming is not supported in batches")


def _metadata(name: str, value: Any, out: Out) -> None:
    only(name, typed(name, value, dict, "an object"), ("user_id",))
    if value.get("user_id") is not None:
        out["user"] = typed("metadata.user_id", value["user_id"], str, "a text")


def _thinking(name: str, value: Any, out: Out) -> None:
    if type(value) is not dict or value.get("type") != "disabled":
        raise Cannot("thinking: not supported here; only {'type': 'disabled'}")


def _hint(*known: Any) -> Callable[[str, Any, Out], None]:
    """What changes no answer, in these values."""

    def check(name: str, value: Any, out: Out) -> None:
        if known and value not in known:
            raise Cannot(f"{name}: {shown(value)} is not supported here")

    return check


def _output_config(name: str, value: Any, out: Out) -> None:
    only(name, typed(name, value, dict, "an object"), ("format", "effort"))
    if value.get("effort") is not None:
        out["reasoning_effort"] = typed("output_config.effort", value["effort"], str, "a text")
    if (wanted := value.get("format")) is None:
        return
    if type(wanted) is not dict or wanted.get("type") != "json_schema" or type(wanted.get("schema")) is not dict:
        raise Cannot("output_config.format: Input should be {'type': 'json_schema', 'schema': …}")
    schema = {"name": "answer", "strict": True, "schema": wanted["schema"]}
    out["response_format"] = {"type": "json_schema", "json_schema": schema}


def _tools(name: str, value: Any, out: Out) -> None:
    tools = []
    for number, tool in enumerate(typed(name, value, list, "a list")):
        where = f"tools.{number}"
        if typed(where, tool, dict, "an object").get("type", "custom") not in (None, "custom"):
            raise Cannot(f"{where}: {shown(tool['type'])} runs at Anthropic and is not supported here")
        only(where, tool, ("type", "name", "description", "input_schema", "strict"))
        function = {
            "name": typed(f"{where}.name", tool.get("name"), str, "a text"),
            "parameters": typed(f"{where}.input_schema", tool.get("input_schema"), dict, "an object"),
        }
        more = {each: tool[each] for each in ("description", "strict") if tool.get(each) is not None}
        tools.append({"type": "function", "function": {**function, **more}})
    if tools:
        out["tools"] = tools


def _tool_choice(name: str, value: Any, out: Out) -> None:
    kind = typed(name, value, dict, "an object").get("type")
    only(name, value, ("type", "name", "disable_parallel_tool_use"))
    words = {"auto": "auto", "any": "required", "none": "none"}
    if kind == "tool":
        function = {"name": typed("tool_choice.name", value.get("name"), str, "a text")}
        out["tool_choice"] = {"type": "function", "function": function}
    elif kind in words:
        out["tool_choice"] = words[kind]
    else:
        raise Cannot("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    if value.get("disable_parallel_tool_use"):
        out["parallel_tool_calls"] = False


PARAMETERS: Mapping[str, Callable[[str, Any, Out], None]] = {
    "max_tokens": _max_tokens, "temperature": _number, "top_p": _number, "top_k": _top_k, "system": _system,
    "stop_sequences": _stop, "stream": _stream, "metadata": _metadata, "thinking": _thinking,
    "service_tier": _hint("auto", "standard_only"), "speed": _hint("standard"), "cache_control": _hint(),
    "output_config": _output_config, "tools": _tools, "tool_choice": _tool_choice,
}  # fmt: skip
"""Everything that a request may say besides its model and messages."""
