"""Anthropic's message shape: body to Ask, Answer to body, Problem to error."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from worker.simulator.core.answers import Ask
from worker.simulator.core.chat import label_hint, message_text, retry_headers, tool_wishes
from worker.simulator.core.faults import PROBLEMS, Problem
from worker.simulator.core.generate import Answer, Voice
from worker.simulator.core.http import Reply, json_reply
from worker.simulator.core.server import Server

FINISH = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use", "filter": "refusal", "refusal": "refusal"}
# A problem's name -> type, and the error code in its details.
ERRORS: dict[str, tuple[str, str | None]] = {
    "invalid": ("invalid_request_error", None),
    "auth": ("authentication_error", None),
    "funds": ("billing_error", None),
    "quota": ("rate_limit_error", "enforced_spend_limit_reached"),
    "permission": ("permission_error", None),
    "not_found": ("not_found_error", None),
    "conflict": ("conflict_error", None),
    "too_large": ("request_too_large", None),
    "context": ("invalid_request_error", None),
    "rate": ("rate_limit_error", None),
    "rate_ms": ("rate_limit_error", None),
    "rate_day": ("rate_limit_error", None),
    "slow_down": ("rate_limit_error", "ramp_limit_exceeded"),
    "overloaded": ("overloaded_error", None),
    "timeout": ("timeout_error", None),
    "moderation": ("invalid_request_error", None),
}
STATUS = {"overloaded": 529, "moderation": 400}
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
ONE_CALL = "disable_parallel_tool_use"
SAMPLING = ("temperature", "top_p", "top_k")
WITHOUT_SAMPLING = "2026-10-21"


class MessageBody(msgspec.Struct, forbid_unknown_fields=True):
    """All that there is; the vendor refuses every other name. The lower ones change nothing here."""

    model: str
    max_tokens: int
    messages: list[dict[str, Any]]
    system: str | list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None

    thinking: Any = None
    service_tier: str | None = None
    speed: str | None = None
    container: Any = None
    context_management: Any = None
    inference_geo: str | None = None
    mcp_servers: Any = None


def read_message(data: bytes, version: str) -> Ask | Problem:
    """What a request asks for, or why it is none."""
    try:
        body = msgspec.json.decode(data, type=MessageBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        unknown = re.search("unknown field `(.+)`", str(error))
        return _invalid(f"{unknown[1]}: Extra inputs are not permitted" if unknown else str(error))
    if body.stream:
        return _invalid("the stand-in server does not stream")
    if not body.messages or body.max_tokens < 0:
        return _invalid(
            "messages: at least one message is required" if not body.messages else "max_tokens: must be 0 or more"
        )
    sent = [name for name in SAMPLING if getattr(body, name) is not None]
    if sent and version >= WITHOUT_SAMPLING:
        return _invalid(f"{sent[0]}: Extra inputs are not permitted")
    turns = [(str(turn.get("role", "")), message_text(turn)) for turn in body.messages]
    if body.system:
        turns.insert(0, ("system", message_text({"content": body.system})))
    form = (body.output_config or {}).get("format") or {}
    choice = body.tool_choice or {}
    return Ask(
        model=body.model,
        texts=tuple(text for _, text in turns),
        roles=tuple(role for role, _ in turns),
        max_tokens=body.max_tokens,
        schema=form.get("schema") if isinstance(form.get("schema"), dict) else None,
        labels=label_hint("", body.metadata),
        stop=tuple(body.stop_sequences or ()),
        **tool_wishes(body.tools, CHOICES.get(choice.get("type", "auto"), choice), not choice.get(ONE_CALL)),
        cache="write" if body.cache_control or b'"cache_control"' in data else "off",
    )


def message_body(_server: Server, _ask: Ask, answer: Answer, tier: str = "standard") -> dict[str, Any]:
    """A message."""
    content: list[dict[str, Any]] = [{"type": "text", "text": answer.texts[0]}] if answer.texts[0] else []
    for number, call in enumerate(answer.calls):
        use = {"type": "tool_use", "id": f"toolu_{answer.id}{number}", "name": call.name}
        content.append({**use, "input": msgspec.json.decode(call.arguments)})
    refused = answer.finish in ("refusal", "filter")
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [] if answer.shows == "no_choices" else content,
        "stop_reason": "stop_sequence" if answer.stopped_by else FINISH.get(answer.finish, answer.finish),
        "stop_sequence": answer.stopped_by,
        "stop_details": {"type": "refusal", "category": "general_harms", "explanation": None} if refused else None,
        "usage": _usage(answer, tier),
    }


def _usage(answer: Answer, tier: str) -> dict[str, Any] | None:
    usage = answer.usage
    if answer.shows == "no_usage":
        return None
    if answer.shows == "odd_usage":
        return {"input_tokens": str(usage.input_tokens), "output_tokens": None}
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.cache_write_tokens, "ephemeral_1h_input_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "service_tier": tier,
    }


def say(server: Server, ask: Ask, answer: Answer) -> bytes:
    return msgspec.json.encode(message_body(server, ask, answer))


def error_body(problem: Problem, number: str = "req_standin") -> dict[str, Any]:
    """An error as it stands in a body or in a line of batch results."""
    kind, code = ERRORS.get(problem.name, ("api_error", None))
    code = problem.code or code
    message = problem.message
    if problem.name == "context" and problem.detail:
        message = (
            f"prompt is too long: {problem.detail.get('tokens', 0)} tokens > {problem.detail.get('limit', 0)} maximum"
        )
    if "model" in problem.detail:
        message = f"model: {problem.detail['model']}"
    error: dict[str, Any] = {"type": kind, "message": message}
    if code:
        error["details"] = {"error_code": code}
    return {"type": "error", "error": error, "request_id": number}


def fail(_server: Server, problem: Problem) -> Reply:
    return json_reply(error_body(problem), STATUS.get(problem.name, problem.status), retry_headers(problem))


def _headers(server: Server, answer: Answer) -> tuple[tuple[str, str], ...]:
    headers = [("request-id", f"req_{answer.id}")]
    for what, bucket, limit in (
        ("requests", server.limits.requests, server.config.rpm),
        ("tokens", server.limits.tokens, server.config.tpm),
    ):
        if bucket is not None:
            left = bucket.left() if what == "requests" else bucket.left() // 1000 * 1000
            headers += [
                (f"anthropic-ratelimit-{what}-limit", str(limit)),
                (f"anthropic-ratelimit-{what}-remaining", str(left)),
            ]
    return tuple(headers)


def _invalid(message: str) -> Problem:
    return msgspec.structs.replace(PROBLEMS["400"], message=message)


VOICE = Voice(say, fail, _headers)
