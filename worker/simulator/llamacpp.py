"""llama.cpp's server: OpenAI's chat with timings, /health, /props, /slots and /metrics; the context is split by slots."""

from __future__ import annotations

from typing import Any

import msgspec

from worker.simulator.core.answers import Ask, input_tokens
from worker.simulator.core.chat import chat_body, chatting, fail_chat, read_chat
from worker.simulator.core.faults import Problem
from worker.simulator.core.generate import Answer, Voice
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.personality import Personality
from worker.simulator.core.server import Server

CONTEXT_TOKENS = 8_192
SLOTS = 4


def say(server: Server, ask: Ask, answer: Answer) -> bytes:
    """A chat completion with llama.cpp's timings."""
    usage, total_ms = answer.usage, max(answer.service_s * 1000, 1e-3)
    timings = {
        "cache_n": usage.cached_tokens,
        "prompt_n": usage.input_tokens - usage.cached_tokens,
        "prompt_ms": round(total_ms * 0.1, 3),
        "predicted_n": usage.output_tokens,
        "predicted_ms": round(total_ms * 0.9, 3),
        "predicted_per_second": round(usage.output_tokens / (total_ms * 0.9) * 1000, 3),
    }
    return msgspec.json.encode({**chat_body(server, ask, answer), "timings": timings})


def fail(server: Server, problem: Problem) -> Reply:
    """Errors carry their status; an overflow its two numbers."""
    if problem.name == "context":
        detail = {
            "n_prompt_tokens": problem.detail.get("tokens", 0),
            "n_ctx": problem.detail.get("limit", _window(server)),
        }
        error = {"code": 400, "message": problem.message, "type": "exceed_context_size_error", **detail}
        return json_reply({"error": error}, 400)
    kinds = {"auth": "authentication_error", "invalid": "invalid_request_error", "overloaded": "unavailable_error"}
    kinds |= {"loading": "unavailable_error", "not_found": "not_found_error"}
    if problem.name not in kinds:
        return fail_chat(server, problem)
    error = {"code": problem.status, "message": problem.message, "type": kinds[problem.name]}
    return json_reply({"error": error}, problem.status)


async def count(server: Server, request: Request) -> Reply:
    """POST /v1/chat/completions/input_tokens: counts without generating."""
    ask = read_chat(request)
    return (
        fail(server, ask)
        if isinstance(ask, Problem)
        else json_reply({"input_tokens": input_tokens(server.config, ask)})
    )


async def models(server: Server, _request: Request) -> Reply:
    """GET /v1/models and, the same, /api/tags: one list in OpenAI's shape and one in Ollama's."""
    names = server.config.served
    listed = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "llamacpp"} for name in names]
    tagged = [{"name": name, "model": name, "type": "model", "capabilities": ["completion"]} for name in names]
    return json_reply({"models": tagged, "object": "list", "data": listed})


async def health(_server: Server, _request: Request) -> Reply:
    """GET /health."""
    return json_reply({"status": "ok"})


async def props(server: Server, _request: Request) -> Reply:
    """GET /props: the window is per slot."""
    settings = {"n_ctx": _window(server), "params": {}}
    return json_reply(
        {"total_slots": server.config.slots, "default_generation_settings": settings, "model_path": server.engine.loaded,
         "is_sleeping": False}
    )  # fmt: skip


async def slots(server: Server, request: Request) -> Reply:
    """GET /slots; with fail_on_no_slot=1 a 503 when all are busy."""
    total, busy = server.config.slots or SLOTS, server.engine.load.running
    if request.parameters().get("fail_on_no_slot") == "1" and busy >= total:
        return json_reply({"error": {"code": 503, "message": "no slot available", "type": "unavailable_error"}}, 503)
    return json_reply([_slot(server, number, busy) for number in range(total)])


def _slot(server: Server, number: int, busy: int) -> dict[str, Any]:
    return {"id": number, "n_ctx": _window(server), "is_processing": number < busy, "next_token": {"n_decoded": 0}}


async def metrics(server: Server, _request: Request) -> Reply:
    """GET /metrics: off unless the server was started with it."""
    if server.config.metrics == "absent":
        error = {
            "code": 501,
            "message": "This server does not support metrics endpoint.",
            "type": "not_supported_error",
        }
        return json_reply({"error": error}, 501)
    account = server.account
    values = {
        "requests_processing": server.engine.load.running,
        "requests_deferred": len(server.engine.queue),
        "prompt_tokens_total": account.input_tokens,
        "tokens_predicted_total": account.output_tokens,
        "n_busy_slots_per_decode": server.engine.load.running,
    }
    text = "".join(f"llamacpp:{name} {value}\n" for name, value in values.items())
    return Reply(body=text.encode(), content_type="text/plain; version=0.0.4")


def _window(server: Server) -> int:
    return (server.config.context_tokens or CONTEXT_TOKENS) // (server.config.slots or SLOTS)


PERSONALITY = Personality(
    routes={
        ("POST", "/v1/chat/completions"): chatting(Voice(say, fail), window=_window),
        ("POST", "/v1/chat/completions/input_tokens"): count,
        ("GET", "/v1/models"): models,
        ("GET", "/api/tags"): models,
        ("GET", "/health"): health,
        ("GET", "/props"): props,
        ("GET", "/slots"): slots,
        ("GET", "/metrics"): metrics,
    },
    defaults={"slots": SLOTS, "context_tokens": 4 * CONTEXT_TOKENS, "any_model": True},
)
