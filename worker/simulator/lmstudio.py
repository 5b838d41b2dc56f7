"""LM Studio: OpenAI's chat beside its own model lists (v1 and v0); `slots` is what it shows as `parallel`."""

from __future__ import annotations

from typing import Any

import msgspec

from worker.simulator.core.chat import chatting, fail_chat, models, say_chat
from worker.simulator.core.faults import Problem
from worker.simulator.core.generate import Voice
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.personality import Personality
from worker.simulator.core.server import Server

CONTEXT_TOKENS = 8_192
PARALLEL = 4


def fail(server: Server, problem: Problem) -> Reply:
    """LM Studio's errors are a text more often than an object."""
    if problem.name == "context":
        return json_reply({"error": f"{problem.message} Try to load the model with a larger context length."}, 400)
    if "model" in problem.detail:
        message = f'Invalid model identifier "{problem.detail["model"]}". Please specify a valid downloaded model.'
        return fail_chat(server, msgspec.structs.replace(problem, status=400, message=message))
    return fail_chat(server, problem)


async def list_v1(server: Server, _request: Request) -> Reply:
    """GET /api/v1/models: downloaded models, the loaded one with its instance."""
    return json_reply({"models": [_model(server, name) for name in server.config.served]})


def _model(server: Server, name: str) -> dict[str, Any]:
    config = server.config
    loaded = name == server.engine.loaded
    shown = {"context_length": config.context_tokens or CONTEXT_TOKENS, "parallel": config.slots or PARALLEL}
    return {
        "type": "llm",
        "key": name,
        "display_name": name,
        "max_context_length": max(config.context_tokens or 0, 32_768),
        "capabilities": {"vision": False, "trained_for_tool_use": True},
        "loaded_instances": [{"id": name, "config": {**shown, "eval_batch_size": 512, "flash_attention": True}}]
        if loaded
        else [],
    }


async def list_v0(server: Server, _request: Request) -> Reply:
    """GET /api/v0/models, the older form."""
    return json_reply({"object": "list", "data": [_model_v0(server, name) for name in server.config.served]})


def _model_v0(server: Server, name: str) -> dict[str, Any]:
    loaded = name == server.engine.loaded
    context = server.config.context_tokens or CONTEXT_TOKENS
    model: dict[str, Any] = {"id": name, "object": "model", "type": "llm", "max_context_length": max(context, 32_768)}
    model["state"] = "loaded" if loaded else "not-loaded"
    return {**model, "loaded_context_length": context} if loaded else model


async def elsewhere(_server: Server, request: Request) -> Reply:
    """It says 200 to everything."""
    return json_reply({"error": f"Unexpected endpoint or method. ({request.method} {request.path})"})


PERSONALITY = Personality(
    routes={
        ("POST", "/v1/chat/completions"): chatting(Voice(say_chat, fail)),
        ("GET", "/v1/models"): models,
        ("GET", "/api/v1/models"): list_v1,
        ("GET", "/api/v0/models"): list_v0,
    },
    defaults={"slots": PARALLEL},
    elsewhere=elsewhere,
)
