"""Which tools an answer calls, with which arguments: always the same for the same prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from worker.simulator.core.answers import Ask, digest
from worker.simulator.core.schema import example


class Call(msgspec.Struct, frozen=True):
    """A tool call of an answer; `arguments` is JSON."""

    name: str
    arguments: str


def calls_of(ask: Ask) -> tuple[Call, ...]:
    """One call of each tool that must be called, or whose call the last message asks for in so many words."""
    if not ask.may_call:
        return ()
    words = ask.texts[-1] if ask.texts else ""
    functions = [tool.get("function", tool) for tool in ask.tools]
    wanted = [each for each in functions if ask.must_call or re.search(rf"\bcall {re.escape(_name(each))}\b", words)]
    return tuple(_call(each, ask.prompt) for each in (wanted if ask.parallel else wanted[:1]))


def _call(function: Mapping[str, Any], prompt: str) -> Call:
    names = ("parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema")
    schema = next((function[name] for name in names if function.get(name)), {"type": "object"})
    return Call(_name(function), msgspec.json.encode(example(schema, digest(prompt, _name(function)))).decode())


def _name(function: Mapping[str, Any]) -> str:
    return str(function.get("name", "tool"))
