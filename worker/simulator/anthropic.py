"""Anthropic: messages, token counts, models and message batches; input tokens exclude what was cached."""

from __future__ import annotations

from typing import Any

import msgspec

from worker.simulator.core.answers import Ask, input_tokens
from worker.simulator.core.anthropic_batches import ROUTES as BATCH_ROUTES
from worker.simulator.core.anthropic_shape import VOICE, fail, read_message
from worker.simulator.core.chat import reject
from worker.simulator.core.faults import Problem
from worker.simulator.core.generate import generate
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.personality import Personality
from worker.simulator.core.server import Server


async def messages(server: Server, request: Request) -> Reply:
    """POST /v1/messages."""
    ask = read_message(request.body, request.headers.get("anthropic-version", ""))
    if isinstance(ask, Problem):
        return reject(server, ask, VOICE)
    return await generate(server, request, ask, VOICE)


async def count_tokens(server: Server, request: Request) -> Reply:
    """POST /v1/messages/count_tokens: free of charge."""
    try:
        body = {"max_tokens": 1, **msgspec.json.decode(request.body, type=dict[str, Any])}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return fail(server, Problem("invalid", 400, str(error)))
    ask = read_message(msgspec.json.encode(body), "")
    return json_reply({"input_tokens": input_tokens(server.config, ask)}) if isinstance(ask, Ask) else fail(server, ask)


async def models(server: Server, _request: Request) -> Reply:
    """GET /v1/models."""
    data = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
        for name in server.config.served
    ]
    return json_reply({"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[-1]["id"]})


PERSONALITY = Personality(
    base_path="",
    routes={
        ("POST", "/v1/messages"): messages,
        ("POST", "/v1/messages/count_tokens"): count_tokens,
        ("GET", "/v1/models"): models,
        **BATCH_ROUTES,
    },
)
