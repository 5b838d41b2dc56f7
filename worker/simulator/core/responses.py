"""OpenAI's Responses API: body to Ask, Answer to body; errors are those of chat."""

from __future__ import annotations

from typing import Any

import msgspec

from worker.simulator.core.answers import Ask
from worker.simulator.core.chat import fail_chat, label_hint, limit_headers, message_text, reject, tool_wishes
from worker.simulator.core.faults import PROBLEMS, Problem
from worker.simulator.core.generate import Answer, Voice, generate
from worker.simulator.core.http import Reply, Request
from worker.simulator.core.known import RESPONSES, unknown
from worker.simulator.core.pieces import as_openai, pieces
from worker.simulator.core.server import Server

LOGPROBS = "message.output_text.logprobs"
ENDED = ("stop", "tool", "refusal")
INCOMPLETE = {"length": "max_output_tokens", "filter": "content_filter"}


class ResponsesBody(msgspec.Struct):
    """The fields that change what a stand-in does."""

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: int | None = None
    text: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, Any] | None = None
    stream: bool | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None


def read_responses_body(data: bytes, labels: str = "") -> Ask | Problem:
    """What a request asks for, or why it is none."""
    try:
        body = msgspec.json.decode(data, type=ResponsesBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return msgspec.structs.replace(PROBLEMS["400"], message=f"We could not parse your request: {error}.")
    if problem := unknown(data, RESPONSES):
        return problem
    if body.stream:
        return msgspec.structs.replace(PROBLEMS["400"], message="The stand-in server does not stream.")
    turns = (
        [("user", body.input)]
        if isinstance(body.input, str)
        else [(str(t.get("role") or t.get("type")), _text(t)) for t in body.input]
    )
    if body.instructions:
        turns.insert(0, ("system", body.instructions))
    form = (body.text or {}).get("format") or {}
    schema = form.get("schema") if form.get("type") == "json_schema" else None
    return Ask(
        model=body.model,
        texts=tuple(text for _, text in turns),
        roles=tuple(role for role, _ in turns),
        max_tokens=body.max_output_tokens,
        schema=schema if isinstance(schema, dict) else None,
        wants_json=form.get("type") == "json_object",
        labels=label_hint(labels, body.metadata),
        logprobs=(body.top_logprobs or 0) if LOGPROBS in (body.include or ()) else None,
        **tool_wishes(body.tools, body.tool_choice, body.parallel_tool_calls),
    )


def _text(item: dict[str, Any]) -> str:
    """What one item of the input says: a message, a call or its result."""
    said = message_text(item)
    return said or str(item.get("output") or item.get("arguments") or "")


def responses_body(server: Server, ask: Ask, answer: Answer) -> dict[str, Any]:
    """A response object."""
    reason = INCOMPLETE.get(answer.finish, None if answer.finish in ENDED else answer.finish)
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": int(answer.created),
        "status": "incomplete" if reason else "completed",
        "model": answer.model,
        "output": []
        if answer.shows == "no_choices"
        else _output(server, ask, answer, "incomplete" if reason else "completed"),
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "top_p": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": "default",
        "usage": _usage(answer),
    }


def _output(server: Server, ask: Ask, answer: Answer, status: str) -> list[dict[str, Any]]:
    thought: list[dict[str, Any]] = (
        [{"type": "reasoning", "id": f"rs_{answer.id}", "summary": []}] if answer.usage.reasoning_tokens else []
    )
    if answer.calls:
        return thought + [
            {"type": "function_call", "id": f"fc_{answer.id}{number}", "call_id": f"call_{answer.id[:12]}{number}",
             "name": call.name, "arguments": call.arguments, "status": "completed"}
            for number, call in enumerate(answer.calls)
        ]  # fmt: skip
    text = answer.texts[0]
    part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
    if ask.logprobs is not None:
        part["logprobs"] = as_openai(pieces(server.config, text, ask.logprobs))
    if answer.finish == "refusal":
        part = {"type": "refusal", "refusal": text}
    return [
        *thought,
        {"type": "message", "id": f"msg_{answer.id}", "role": "assistant", "status": status, "content": [part]},
    ]


def _usage(answer: Answer) -> dict[str, Any] | None:
    usage = answer.usage
    if answer.shows == "no_usage":
        return None
    if answer.shows == "odd_usage":
        return {"input_tokens": str(usage.input_tokens), "output_tokens": None, "total_tokens": -1}
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def say_responses(server: Server, ask: Ask, answer: Answer) -> bytes:
    return msgspec.json.encode(responses_body(server, ask, answer))


VOICE = Voice(say_responses, fail_chat, limit_headers)


async def respond(server: Server, request: Request) -> Reply:
    """POST /v1/responses."""
    ask = read_responses_body(request.body, request.headers.get("x-spillway-labels", ""))
    if isinstance(ask, Problem):
        return reject(server, ask, VOICE)
    return await generate(server, request, ask, VOICE)
