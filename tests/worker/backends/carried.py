"""Which kind carries what, found out by asking every adapter; `python -m tests.worker.backends.carried` prints the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipelines.config.sections import LOCAL_KINDS, Target
from pipelines.types import Failure
from worker.backends import load

BASE: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 64}
COLUMNS: dict[str, dict[str, Any]] = {
    "openai": {"kind": "openai"}, "responses": {"kind": "openai", "api": "responses"},
    **{
        kind: {"kind": kind}
        for kind in (
            "anthropic", "gemini", "ollama", "lmstudio", "vllm", "llamacpp", "openrouter", "cerebras", "runpod", "huggingface",
        )
    },
}  # fmt: skip
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": FUNCTION}]
STRICT = [{"type": "function", "function": {**FUNCTION, "strict": True}}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}}}}


def _says(part: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [part]}]}


def _image(url: str) -> dict[str, Any]:
    return _says({"type": "image_url", "image_url": {"url": url}})


def _calls(*ids: str) -> dict[str, Any]:
    calls = [{"id": id_, "type": "function", "function": {"name": "f", "arguments": "{}"}} for id_ in ids]
    said = {"role": "assistant", "content": None, "tool_calls": calls}
    return {
        "messages": [*BASE["messages"], said, *({"role": "tool", "tool_call_id": id_, "content": "x"} for id_ in ids)]
    }


ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "`temperature` to 1": ({}, {"temperature": 0.5}),
    "`temperature` above 1": ({}, {"temperature": 1.5}),
    "`top_p`": ({}, {"top_p": 0.5}),
    "`top_k`": ({}, {"top_k": 5}),
    "`max_tokens`, `max_completion_tokens`": ({}, {"max_completion_tokens": 32, "max_tokens": None}),
    "`n` above 1": ({}, {"n": 2}),
    "`seed`": ({}, {"seed": 7}),
    "`stop`": ({}, {"stop": ["END"]}),
    "`presence_penalty`, `frequency_penalty`": ({}, {"presence_penalty": 0.5, "frequency_penalty": 0.5}),
    "`logit_bias`": ({}, {"logit_bias": {"5": -1}}),
    "`logprobs`, `top_logprobs`": ({}, {"logprobs": True, "top_logprobs": 2}),
    "`response_format` `json_schema`": ({}, {"response_format": SCHEMA}),
    "`response_format` `json_object`": ({}, {"response_format": {"type": "json_object"}}),
    "`tools`": ({}, {"tools": TOOLS}),
    "tools that are `strict`": ({}, {"tools": STRICT}),
    "`tool_choice` `none`": ({"tools": TOOLS}, {"tool_choice": "none"}),
    "`tool_choice` `required` or a name": (
        {"tools": TOOLS}, {"tool_choice": {"type": "function", "function": {"name": "f"}}},
    ),
    "`parallel_tool_calls` `false`": ({"tools": TOOLS}, {"parallel_tool_calls": False}),
    "`reasoning_effort` `low`, `medium`, `high`": ({}, {"reasoning_effort": "low"}),
    "`reasoning_effort` `none`": ({}, {"reasoning_effort": "none"}),
    "`verbosity`": ({}, {"verbosity": "low"}),
    "`service_tier` `flex`": ({}, {"service_tier": "flex"}),
    "`store`": ({}, {"store": True}),
    "`user`, `safety_identifier`": ({}, {"user": "u"}),
    "`prompt_cache_key`": ({}, {"prompt_cache_key": "k"}),
    "`prediction`": ({}, {"prediction": {"type": "content", "content": "x"}}),
    "`modalities`, `audio`": ({}, {"modalities": ["audio"], "audio": {"voice": "a", "format": "wav"}}),
    "`web_search_options`": ({}, {"web_search_options": {}}),
    "`functions`, `function_call`": ({}, {"functions": [{"name": "f"}]}),
    "a name that no document has": ({}, {"brand_new": 1}),
    "system and developer messages": ({}, {"messages": [{"role": "developer", "content": "x"}, *BASE["messages"]]}),
    "several turns": ({}, {"messages": [*BASE["messages"], {"role": "assistant", "content": "a"}, *BASE["messages"]]}),
    "tool calls, several at once, with results": ({"tools": TOOLS}, _calls("a", "b")),
    "an image in place (base64)": ({}, _image("data:image/png;base64,AAAA")),
    "an image by address": ({}, _image("https://example.com/a.png")),
    "audio in place": ({}, _says({"type": "input_audio", "input_audio": {"format": "wav", "data": "AAAA"}})),
    "a PDF in place": ({}, _says({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}})),
    "a file by id": ({}, _says({"type": "file", "file": {"file_id": "file-1"}})),
    "`name` of who speaks": ({}, {"messages": [{"role": "user", "name": "Ann", "content": "hi"}]}),
}  # fmt: skip
"""What a row may ask → what it needs beside that, and the asking."""


def cell(column: dict[str, Any], needs: dict[str, Any], asks: dict[str, Any]) -> str:
    """yes: it goes out; no: refused by name before any call; left out: it is a hint that changes no answer."""
    kind = column["kind"]
    lane = "local" if kind in LOCAL_KINDS else "cloud"
    target = Target(lane=lane, model="m", base_url="http://127.0.0.1:9/v1", **column)
    without = load(kind).request(target, json.dumps({**BASE, **needs}).encode())
    sent = load(kind).request(target, json.dumps({**BASE, **needs, **asks}).encode())
    assert not isinstance(without, Failure)
    if isinstance(sent, Failure):
        assert sent.code == "unsupported_parameter", sent
        return "no"
    return "yes" if _plain(sent[2]) != _plain(without[2]) else "left out"


def _plain(body: bytes) -> dict[str, Any]:
    return {name: value for name, value in json.loads(body).items() if name != "provider"}


def table() -> Iterator[str]:
    """The lines of the table in docs/providers.md."""
    yield f"| | {' | '.join(COLUMNS)} |"
    yield f"|---|{'---|' * len(COLUMNS)}"
    for name, (needs, asks) in ROWS.items():
        yield f"| {name} | {' | '.join(cell(column, needs, asks) for column in COLUMNS.values())} |"


if __name__ == "__main__":
    print("\n".join(table()))
