"""Google Gemini's native API: generateContent, countTokens, models and batches."""

from __future__ import annotations

from typing import Any

from worker.simulator.core.answers import Ask, input_tokens
from worker.simulator.core.chat import reject
from worker.simulator.core.faults import PROBLEMS, Problem
from worker.simulator.core.gemini_batches import ROUTES as BATCH_ROUTES
from worker.simulator.core.gemini_shape import VOICE, fail, read_content
from worker.simulator.core.generate import generate
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.personality import Personality
from worker.simulator.core.server import Server


async def generate_content(server: Server, request: Request) -> Reply:
    """POST /v1beta/models/{model}:generateContent."""
    ask = read_content(request.body, request.args["model"])
    if isinstance(ask, Problem):
        return reject(server, ask, VOICE)
    return await generate(server, request, ask, VOICE)


async def count_tokens(server: Server, request: Request) -> Reply:
    """POST /v1beta/models/{model}:countTokens: free of charge."""
    ask = read_content(request.body, request.args["model"])
    return json_reply({"totalTokens": input_tokens(server.config, ask)}) if isinstance(ask, Ask) else fail(server, ask)


async def models(server: Server, _request: Request) -> Reply:
    """GET /v1beta/models."""
    return json_reply({"models": [_model(server, name) for name in server.config.served]})


async def model(server: Server, request: Request) -> Reply:
    """GET /v1beta/models/{model}."""
    name = request.args["model"]
    return json_reply(_model(server, name)) if name in server.config.served else fail(server, PROBLEMS["404"])


def _model(server: Server, name: str) -> dict[str, Any]:
    window = server.config.context_tokens or 1_048_576
    methods = ["generateContent", "countTokens", "batchGenerateContent"]
    return {"name": f"models/{name}", "displayName": name, "inputTokenLimit": window, "outputTokenLimit": 65_536,
            "supportedGenerationMethods": methods}  # fmt: skip


PERSONALITY = Personality(
    base_path="/v1beta",
    routes={
        ("POST", "/v1beta/models/{model}:generateContent"): generate_content,
        ("POST", "/v1beta/models/{model}:countTokens"): count_tokens,
        ("GET", "/v1beta/models"): models,
        ("GET", "/v1beta/models/{model}"): model,
        **BATCH_ROUTES,
    },
)
