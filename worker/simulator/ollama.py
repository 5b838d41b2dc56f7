"""Ollama: native chat, tags and ps beside OpenAI's chat; old turns are dropped in silence when a prompt is too long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from worker.simulator.core.answers import Ask, count_tokens
from worker.simulator.core.chat import chat_body, message_text, models, read_chat, reject
from worker.simulator.core.faults import PROBLEMS, Problem
from worker.simulator.core.generate import Answer, Voice, generate
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.personality import Personality
from worker.simulator.core.pieces import as_openai, pieces
from worker.simulator.core.server import Server

CONTEXT_TOKENS = 4_096
MOST_CONTEXT_TOKENS = 32_768
DONE = {"stop": "stop", "length": "length", "tool": "stop", "filter": "stop", "refusal": "stop"}
TYPES = {"not_found": "not_found_error", "invalid": "invalid_request_error", "context": "invalid_request_error"}


class Options(msgspec.Struct):
    num_ctx: int | None = None
    num_predict: int | None = None
    stop: list[str] = []


class NativeBody(msgspec.Struct):
    """The fields of /api/chat that change what a stand-in does."""

    model: str
    messages: list[dict[str, Any]] = []
    stream: bool = True
    format: Any = None
    options: Options = msgspec.field(default_factory=Options)
    truncate: bool = True
    tools: list[dict[str, Any]] | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    think: bool | str | None = None


def say_openai(server: Server, ask: Ask, answer: Answer) -> bytes:
    """The usage of its OpenAI shape has three counters only."""
    body = chat_body(server, ask, answer)
    if body["usage"]:
        body["usage"] = {key: body["usage"][key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return msgspec.json.encode(body)


def fail_openai(server: Server, problem: Problem) -> Reply:
    error = {"message": problem.message, "type": TYPES.get(problem.name, "api_error"), "param": None, "code": None}
    return json_reply({"error": error}, problem.status)


def say_native(server: Server, ask: Ask, answer: Answer) -> bytes:
    usage, total_ns = answer.usage, int(answer.service_s * 1e9)
    body: dict[str, Any] = {
        "model": answer.model,
        "created_at": datetime.fromtimestamp(answer.created, UTC).isoformat(),
        "message": _message(answer),
        "done": True,
        "done_reason": DONE.get(answer.finish, answer.finish),
        "total_duration": total_ns,
        "load_duration": 0,
        "prompt_eval_count": usage.input_tokens,
        "prompt_eval_duration": total_ns // 10,
        "eval_count": usage.output_tokens,
        "eval_duration": total_ns - total_ns // 10,
    }
    if ask.logprobs is not None:
        body["logprobs"] = as_openai(pieces(server.config, answer.texts[0], ask.logprobs))
    if answer.shows == "no_usage":
        del body["prompt_eval_count"], body["eval_count"]
    return msgspec.json.encode(body)


def _message(answer: Answer) -> dict[str, Any]:
    """Its calls have no ids, and their arguments are no text."""
    said: dict[str, Any] = {"role": "assistant", "content": answer.texts[0]}
    if answer.calls:
        functions = [{"name": call.name, "arguments": msgspec.json.decode(call.arguments)} for call in answer.calls]
        said["tool_calls"] = [{"function": function} for function in functions]
    return {**said, "thinking": "Hm."} if answer.usage.reasoning_tokens else said


def fail_native(_server: Server, problem: Problem) -> Reply:
    """It moderates nothing, so that is any bad request."""
    model = problem.detail.get("model")
    message = f"model '{model}' not found" if model else problem.message
    return json_reply({"error": message}, 400 if problem.name == "moderation" else problem.status)


OPENAI = Voice(say_openai, fail_openai)
NATIVE = Voice(say_native, fail_native)


async def chat_openai(server: Server, request: Request) -> Reply:
    """POST /v1/chat/completions: the window cannot be asked for, and is kept to in silence."""
    ask = read_chat(request)
    if isinstance(ask, Problem):
        return reject(server, ask, OPENAI)
    return await generate(server, request, _shortened(server, ask, CONTEXT_TOKENS, None), OPENAI)


async def chat_native(server: Server, request: Request) -> Reply:
    """POST /api/chat with stream: false."""
    try:
        body = msgspec.json.decode(request.body, type=NativeBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return reject(server, msgspec.structs.replace(PROBLEMS["400"], message=str(error)), NATIVE)
    if body.stream:
        return reject(server, msgspec.structs.replace(PROBLEMS["400"], message="the stand-in does not stream"), NATIVE)
    options = body.options
    ask = Ask(
        model=body.model,
        texts=tuple(message_text(message) for message in body.messages),
        roles=tuple(str(message.get("role", "")) for message in body.messages),
        max_tokens=options.num_predict if options.num_predict and options.num_predict > 0 else None,
        schema=body.format if isinstance(body.format, dict) else None,
        wants_json=body.format == "json",
        tools=tuple(body.tools or ()),
        stop=tuple(options.stop),
        logprobs=body.top_logprobs if body.logprobs else None,
    )
    if body.truncate:
        ask = _shortened(server, ask, CONTEXT_TOKENS, options.num_ctx)
    else:
        ask = msgspec.structs.replace(
            ask, context_tokens=options.num_ctx or server.config.context_tokens or CONTEXT_TOKENS
        )
    return await generate(server, request, ask, NATIVE)


def _shortened(server: Server, ask: Ask, default: int, asked: int | None) -> Ask:
    """The oldest turns that are no system prompt go first, then the head of what is left."""
    window = asked or server.config.context_tokens or default
    turns = list(zip(ask.roles, ask.texts, strict=True))
    size = server.config.bytes_per_token
    while len(turns) > 1 and _tokens(server, turns) > window:
        oldest = next((index for index, turn in enumerate(turns[:-1]) if turn[0] != "system"), 0)
        turns.pop(oldest)
    if turns and _tokens(server, turns) > window:
        role, text = turns[-1]
        turns[-1] = role, text.encode("utf-8", "surrogatepass")[-(window - 4) * size :].decode("utf-8", "ignore")
    roles, texts = tuple(role for role, _ in turns), tuple(text for _, text in turns)
    return msgspec.structs.replace(ask, roles=roles, texts=texts, context_tokens=window)


def _tokens(server: Server, turns: list[tuple[str, str]]) -> int:
    return sum(count_tokens(server.config, text) + 4 for _, text in turns)


async def tags(server: Server, _request: Request) -> Reply:
    """GET /api/tags: what is installed."""
    return json_reply(
        {"models": [{"name": name, "model": name, "size": 9_000_000_000} for name in server.config.served]}
    )


async def ps(server: Server, _request: Request) -> Reply:
    """GET /api/ps: what is loaded, with its window."""
    model = {
        "name": server.engine.loaded,
        "model": server.engine.loaded,
        "size": 9_000_000_000,
        "size_vram": 9_000_000_000,
        "expires_at": "2030-01-01T00:00:00Z",
        "context_length": server.config.context_tokens or CONTEXT_TOKENS,
    }
    return json_reply({"models": [model]})


async def show(server: Server, _request: Request) -> Reply:
    """POST /api/show: what the model was made for."""
    most = max(MOST_CONTEXT_TOKENS, server.config.context_tokens or 0)
    return json_reply({"details": {"family": "standin"}, "model_info": {"standin.context_length": most}})


async def version(_server: Server, _request: Request) -> Reply:
    """GET /api/version."""
    return json_reply({"version": "0.12.0"})


PERSONALITY = Personality(
    routes={
        ("POST", "/v1/chat/completions"): chat_openai,
        ("POST", "/api/chat"): chat_native,
        ("GET", "/v1/models"): models,
        ("GET", "/api/tags"): tags,
        ("GET", "/api/ps"): ps,
        ("POST", "/api/show"): show,
        ("GET", "/api/version"): version,
    },
    defaults={"slots": 1, "max_queue": 512, "context_tokens": CONTEXT_TOKENS},
)
