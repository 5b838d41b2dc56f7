"""Hugging Face's router: OpenAI's chat for "org/name:provider", and models with each provider's price."""

from __future__ import annotations

import msgspec

from worker.simulator.core.chat import fail_chat, read_chat, reject, say_chat
from worker.simulator.core.faults import Problem
from worker.simulator.core.generate import Voice, generate
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.personality import Personality
from worker.simulator.core.server import Server

PROVIDER = "stand-in"

VOICE = Voice(say_chat, fail_chat)


async def chat(server: Server, request: Request) -> Reply:
    """POST /v1/chat/completions; the provider after the colon is chosen, and not part of the model that answers."""
    ask = read_chat(request)
    if isinstance(ask, Problem):
        return reject(server, ask, VOICE)
    return await generate(server, request, msgspec.structs.replace(ask, model=ask.model.partition(":")[0]), VOICE)


async def models(server: Server, _request: Request) -> Reply:
    """GET /v1/models."""
    config = server.config
    provider = {
        "provider": PROVIDER,
        "status": "error" if server.is_down else "live",
        "context_length": config.context_tokens or 32_768,
        "pricing": {"input": config.usd_per_mtok_in, "output": config.usd_per_mtok_out},
        "is_free": not (config.usd_per_mtok_in or config.usd_per_mtok_out),
        "supports_tools": True,
        "supports_structured_output": True,
        "first_token_latency_ms": config.latency_ms,
        "throughput": config.tokens_per_s or 100.0,
    }
    data = [
        {"id": name, "object": "model", "owned_by": name.partition("/")[0], "providers": [provider]}
        for name in config.served
    ]
    return json_reply({"object": "list", "data": data})


PERSONALITY = Personality(routes={("POST", "/v1/chat/completions"): chat, ("GET", "/v1/models"): models})
