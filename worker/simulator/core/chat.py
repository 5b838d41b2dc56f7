"""OpenAI's chat shape, which most vendors share: body to Ask, Answer to body, Problem to error.

A vendor's own file says only where it differs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from worker.simulator.core.answers import Ask
from worker.simulator.core.faults import PROBLEMS, Problem
from worker.simulator.core.generate import Answer, Voice, generate
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.known import unknown
from worker.simulator.core.personality import Handler
from worker.simulator.core.pieces import as_openai, pieces
from worker.simulator.core.server import Server

MEDIA_CHARS = 256
FINISH = {"stop": "stop", "length": "length", "tool": "tool_calls", "filter": "content_filter", "refusal": "stop"}
# A problem's name -> type, code, param.
ERRORS: dict[str, tuple[str, str | None, str | None]] = {
    "invalid": ("invalid_request_error", None, None),
    "auth": ("invalid_request_error", "invalid_api_key", None),
    "funds": ("insufficient_quota", "credit_balance_exhausted", None),
    "quota": ("insufficient_quota", "insufficient_quota", None),
    "permission": ("invalid_request_error", "model_not_allowed", None),
    "not_found": ("invalid_request_error", "model_not_found", "model"),
    "context": ("invalid_request_error", "context_length_exceeded", "messages"),
    "rate": ("requests", "rate_limit_exceeded", None),
    "rate_ms": ("requests", "rate_limit_exceeded", None),
    "rate_day": ("requests", "rate_limit_exceeded", None),
    "slow_down": ("requests", "slow_down", None),
    "overloaded": ("service_unavailable_error", "server_is_overloaded", None),
    "moderation": ("invalid_request_error", "content_policy_violation", None),
}


class ChatBody(msgspec.Struct):
    """The fields of a chat request that change what a stand-in does; the others are accepted and ignored."""

    model: str
    messages: list[dict[str, Any]]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stream: bool | None = None
    response_format: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


_decoder = msgspec.json.Decoder(ChatBody)


def read_chat(request: Request) -> Ask | Problem:
    """What a chat request asks for, or why it is not one."""
    return read_chat_body(request.body, request.headers.get("x-spillway-labels", ""))


def read_chat_body(data: bytes, labels: str = "") -> Ask | Problem:
    """The same for a body that came inside a batch; `labels` are named outside of it, with commas."""
    try:
        body = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _invalid(f"We could not parse the JSON body of your request: {error}.")
    if not body.messages:
        return _invalid("Invalid 'messages': empty array. Expected an array with minimum length 1.")
    if body.stream:
        return _invalid("The stand-in server does not stream.")
    limit = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    if limit is not None and limit < 1:
        return _invalid("Invalid 'max_tokens': integer below minimum value.")
    kind = (body.response_format or {}).get("type")
    return Ask(
        model=body.model,
        texts=tuple(message_text(message) for message in body.messages),
        roles=tuple(str(message.get("role", "")) for message in body.messages),
        max_tokens=limit,
        choices=body.n or 1,
        schema=_schema(body.response_format or {}) if kind == "json_schema" else None,
        wants_json=kind == "json_object",
        labels=label_hint(labels, body.metadata),
        stop=(body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ()),
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        **tool_wishes(body.tools, body.tool_choice, body.parallel_tool_calls),
    )


def tool_wishes(tools: Sequence[Mapping[str, Any]] | None, choice: Any, parallel: bool | None) -> dict[str, Any]:
    """The fields of an Ask that say which tools may, and must, be called."""
    named = choice.get("function", choice) if isinstance(choice, dict) else {}
    name = named.get("name") if isinstance(named, dict) else None
    return {
        "tools": tuple(each for each in tools or () if name is None or each.get("function", each).get("name") == name),
        "must_call": choice == "required" or isinstance(choice, dict),
        "may_call": choice != "none",
        "parallel": parallel is not False,
    }


def message_text(message: Mapping[str, Any]) -> str:
    """The text of one message; what is no text stands for itself as JSON."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [
        part["text"] if isinstance(part, dict) and isinstance(part.get("text"), str) else part_text(part)
        for part in parts
    ]
    return "\n".join([*texts, *(_json(call) for call in message.get("tool_calls") or ())])


def part_text(part: Any) -> str:
    """A picture or another file stands for itself by a few tokens, however large it is."""
    written = _json(part)
    return (
        f"[{hashlib.blake2b(written.encode(), digest_size=8).hexdigest()}]" if len(written) > MEDIA_CHARS else written
    )


def label_hint(named: str, metadata: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Labels that the client names outside the prompt: metadata.labels or the header x-spillway-labels."""
    hint = (metadata or {}).get("labels") or named
    return tuple(label.strip() for label in str(hint).split(",") if label.strip())


def say_chat(server: Server, ask: Ask, answer: Answer) -> bytes:
    """A chat completion."""
    return msgspec.json.encode(chat_body(server, ask, answer))


def chat_body(server: Server, ask: Ask, answer: Answer) -> dict[str, Any]:
    """The same before it is bytes, for vendors that add to it."""
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion",
        "created": int(answer.created),
        "model": answer.model,
        "choices": []
        if answer.shows == "no_choices"
        else [_choice(server, ask, answer, index) for index in range(len(answer.texts))],
        "usage": chat_usage(answer),
        "service_tier": "default",
        "system_fingerprint": "fp_standin",
    }


def chat_usage(answer: Answer) -> dict[str, Any] | None:
    usage = answer.usage
    if answer.shows == "no_usage":
        return None
    if answer.shows == "odd_usage":
        return {"prompt_tokens": str(usage.input_tokens), "completion_tokens": None, "total_tokens": -1}
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens, "audio_tokens": 0},
    }


def _choice(server: Server, ask: Ask, answer: Answer, index: int) -> dict[str, Any]:
    text: str | None = answer.texts[index]
    logprobs = None
    if ask.logprobs is not None and text and answer.finish != "refusal":
        logprobs = {"content": as_openai(pieces(server.config, text, ask.logprobs)), "refusal": None}
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if answer.finish == "refusal":
        message |= {"content": None, "refusal": text}
    if answer.calls:
        message["content"] = None
        message["tool_calls"] = [
            {"id": f"call_{answer.id[:12]}{number}", "type": "function", "function": msgspec.to_builtins(call)}
            for number, call in enumerate(answer.calls)
        ]
    finish = FINISH.get(answer.finish, answer.finish)
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}


def fail_chat(server: Server, problem: Problem) -> Reply:
    """An error in OpenAI's shape."""
    kind, code, param = ERRORS.get(problem.name, ("server_error", None, None))
    if problem.code:
        kind, code = ("insufficient_quota" if problem.name == "quota" else kind), problem.code
    error = {"message": problem.message, "type": kind, "param": param, "code": code}
    return json_reply({"error": error}, problem.status, retry_headers(problem))


def retry_headers(problem: Problem) -> tuple[tuple[str, str], ...]:
    """Retry-After in whole seconds, in milliseconds too for the fault that has both, and x-should-retry."""
    headers: list[tuple[str, str]] = []
    if problem.should_retry is not None:
        headers.append(("x-should-retry", str(problem.should_retry).lower()))
    if problem.retry_after_s is not None:
        headers.append(("retry-after", str(max(1, math.ceil(problem.retry_after_s)))))
        if problem.name == "rate_ms":
            headers.append(("retry-after-ms", str(math.ceil(problem.retry_after_s * 1000))))
    return tuple(headers)


def limit_headers(server: Server, answer: Answer) -> tuple[tuple[str, str], ...]:
    """x-ratelimit-* as OpenAI sends them, where the server has limits."""
    headers = [("x-request-id", f"req_{answer.id}")]
    for what, bucket, limit in (
        ("requests", server.limits.requests, server.config.rpm),
        ("tokens", server.limits.tokens, server.config.tpm),
    ):
        if bucket is not None:
            reset_s = (bucket.size - bucket.left()) / bucket.rate
            headers += [
                (f"x-ratelimit-limit-{what}", str(limit)),
                (f"x-ratelimit-remaining-{what}", str(bucket.left())),
                (f"x-ratelimit-reset-{what}", f"{reset_s:.3f}s"),
            ]
    return tuple(headers)


def chatting(
    voice: Voice, window: Callable[[Server], int] | None = None, known: frozenset[str] | None = None
) -> Handler:
    """The handler of a chat endpoint that speaks with `voice`; `window` gives the context where it is not as configured,
    `known` the parameters of a vendor that refuses all others."""

    async def chat(server: Server, request: Request) -> Reply:
        ask = (unknown(request.body, known) if known else None) or read_chat(request)
        if isinstance(ask, Problem):
            return reject(server, ask, voice)
        if window is not None:
            ask = msgspec.structs.replace(ask, context_tokens=window(server))
        return await generate(server, request, ask, voice)

    return chat


def reject(server: Server, problem: Problem, voice: Voice) -> Reply:
    """Refuses a request that could not be read."""
    server.arrive()
    server.in_flight -= 1
    server.bill.refuse(server.name, str(problem.status))
    return voice.fail(server, problem)


async def models(server: Server, _request: Request) -> Reply:
    """GET /v1/models."""
    data = [
        {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "stand-in"}
        for name in server.config.served
    ]
    return json_reply({"object": "list", "data": data})


def _invalid(message: str) -> Problem:
    return msgspec.structs.replace(PROBLEMS["400"], message=message)


def _schema(response_format: Mapping[str, Any]) -> Mapping[str, Any]:
    named = response_format.get("json_schema") or {}
    schema = named.get("schema") if isinstance(named, dict) else None
    return schema if isinstance(schema, dict) else {"type": "object"}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
