"""vLLM: OpenAI's chat, /health, max_model_len and Prometheus metrics; it queues without bound and never says 429."""

from __future__ import annotations

from worker.simulator.core.chat import chatting, fail_chat, say_chat
from worker.simulator.core.faults import Problem
from worker.simulator.core.generate import Voice
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.personality import Personality
from worker.simulator.core.server import Server

CONTEXT_TOKENS = 32_768
TYPES = {400: "BadRequestError", 401: "Unauthorized", 404: "NotFoundError", 500: "InternalServerError"}


def fail(server: Server, problem: Problem) -> Reply:
    """The status stands in `code`; an overflow is told by its text alone."""
    if problem.status not in TYPES:
        return fail_chat(server, problem)
    error = {"message": problem.message, "type": TYPES[problem.status], "param": None, "code": problem.status}
    return json_reply({"error": error}, problem.status)


async def models(server: Server, _request: Request) -> Reply:
    """GET /v1/models with each model's window."""
    window = server.config.context_tokens or CONTEXT_TOKENS
    data = [
        {"id": name, "object": "model", "owned_by": "vllm", "max_model_len": window} for name in server.config.served
    ]
    return json_reply({"object": "list", "data": data})


async def health(_server: Server, _request: Request) -> Reply:
    """GET /health: an empty 200."""
    return Reply()


async def metrics(server: Server, _request: Request) -> Reply:
    """GET /metrics, as plain as a scraper hopes, or as configured."""
    kind = server.config.metrics
    if kind == "absent":
        return Reply(status=404)
    load, account = server.engine.load, server.account
    labels = f'model_name="{server.engine.loaded}",engine="0"'
    waiting = len(server.engine.queue)
    values = {
        f"vllm:num_requests_running{{{labels}}}": load.running,
        f"vllm:num_requests_waiting{{{labels}}}": waiting,
        f'vllm:num_requests_waiting_by_reason{{{labels},reason="capacity"}}': waiting,
        f'vllm:num_requests_waiting_by_reason{{{labels},reason="deferred"}}': 0,
        f"vllm:kv_cache_usage_perc{{{labels}}}": min(1.0, load.running / (server.engine.slots or 256)),
        f"vllm:num_preemptions_total{{{labels}}}": 0,
        f"vllm:prompt_tokens_total{{{labels}}}": account.input_tokens,
        f"vllm:generation_tokens_total{{{labels}}}": account.output_tokens,
        f"vllm:prefix_cache_queries_total{{{labels}}}": account.input_tokens,
        f"vllm:prefix_cache_hits_total{{{labels}}}": account.cached_tokens,
        f'vllm:request_success_total{{{labels},finished_reason="stop"}}': account.answered,
        f'vllm:cache_config_info{{{labels},block_size="16",num_gpu_blocks="16384"}}': 1,
    }
    if kind == "renamed":
        values = {name.replace("kv_cache_usage_perc", "gpu_cache_usage_perc"): value for name, value in values.items()}
    if kind == "colliding":
        values[f"vllm:num_requests_running_by_adapter{{{labels}}}"] = 99
        values[f"vllm:num_requests_waiting_total{{{labels}}}"] = 99
    text = "".join(f"{name} {float(value)}\n" for name, value in values.items())
    return Reply(body=text.encode(), content_type="text/plain; version=0.0.4; charset=utf-8")


PERSONALITY = Personality(
    routes={
        ("POST", "/v1/chat/completions"): chatting(Voice(say_chat, fail)),
        ("GET", "/v1/models"): models,
        ("GET", "/health"): health,
        ("GET", "/metrics"): metrics,
    },
    defaults={"context_tokens": CONTEXT_TOKENS},
)
