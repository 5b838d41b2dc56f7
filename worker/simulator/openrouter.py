"""OpenRouter: OpenAI's chat with the cost in the usage, models with prices, /key, /generation and batches."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from worker.simulator.core.answers import Ask
from worker.simulator.core.batches import Desk, Job, Line, desk
from worker.simulator.core.bill import cost_pusd
from worker.simulator.core.chat import chat_body, chatting, read_chat_body, retry_headers
from worker.simulator.core.faults import PROBLEMS, Problem
from worker.simulator.core.generate import Answer, Voice, client_key
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.openai_batches import newest
from worker.simulator.core.openai_lines import page
from worker.simulator.core.personality import Personality
from worker.simulator.core.server import Server

ERROR_TYPES = {
    "context": "context_length_exceeded", "rate": "rate_limit_exceeded", "overloaded": "provider_overloaded",
    "bad_gateway": "provider_unavailable", "funds": "payment_required", "quota": "payment_required",
    "moderation": "content_policy_violation", "permission": "permission_denied", "timeout": "timeout",
}  # fmt: skip
MAX_GENERATIONS = 20_000


def _usd(pusd: int) -> float:
    return pusd / 1e12


def _body(server: Server, ask: Ask, answer: Answer, *, batch: bool = False) -> dict[str, Any]:
    body = chat_body(server, ask, answer)
    body |= {"id": f"gen-{answer.id}", "provider": "StandIn"}
    if isinstance(body["usage"], dict) and not answer.shows:
        usage = answer.usage
        cost = _usd(cost_pusd(server.config, usage, batch=batch))
        details = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens}
        body["usage"] |= {"cost": cost, "is_byok": False, "cost_details": {"upstream_inference_cost": None},
                          "prompt_tokens_details": details}  # fmt: skip
    for choice in body["choices"]:
        choice["native_finish_reason"] = choice["finish_reason"]
    _remember(server, body)
    return body


def _remember(server: Server, body: dict[str, Any]) -> None:
    known = server.notes.setdefault("generations", {})
    known[body["id"]] = body["usage"]
    if len(known) > MAX_GENERATIONS:
        del known[next(iter(known))]


def say(server: Server, ask: Ask, answer: Answer) -> bytes:
    return msgspec.json.encode(_body(server, ask, answer))


def error_body(problem: Problem) -> dict[str, Any]:
    """The status stands in `code`; the canonical type in the metadata."""
    metadata: dict[str, Any] = {"error_type": ERROR_TYPES.get(problem.name, "unknown")}
    code, message = problem.status, problem.message
    if "model" in problem.detail:
        code, message = 400, f"{problem.detail['model']} is not a valid model ID"
    if problem.name in ("funds", "quota"):
        code, metadata["limit_source"] = 402, "openrouter_credits"
    return {"error": {"code": code, "message": message, "metadata": metadata}}


def fail(_server: Server, problem: Problem) -> Reply:
    body = error_body(problem)
    headers = retry_headers(problem)
    if problem.status == 429:
        headers += (("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "0"))
    return json_reply(body, int(body["error"]["code"]), headers)


_answer = chatting(Voice(say, fail))


async def chat(server: Server, request: Request) -> Reply:
    """POST /api/v1/chat/completions; it has one host, which may be dearer than the request allows."""
    if _is_too_dear(server, request.body):
        message = "No allowed providers are available for the selected model."
        return fail(server, msgspec.structs.replace(PROBLEMS["404"], message=message))
    return await _answer(server, request)


class Wanted(msgspec.Struct):
    """What a request says of those who may answer it, in dollars for a million tokens."""

    max_price: dict[str, float | str] = {}


class Routed(msgspec.Struct):
    provider: Wanted | None = None


def _is_too_dear(server: Server, body: bytes) -> bool:
    try:
        most = (msgspec.json.decode(body, type=Routed).provider or Wanted()).max_price
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    asked = {"prompt": server.config.usd_per_mtok_in, "completion": server.config.usd_per_mtok_out}
    return any(Decimal(str(usd)) > Decimal(str(most.get(name, usd))) for name, usd in asked.items())


async def models(server: Server, _request: Request) -> Reply:
    """GET /api/v1/models: prices are texts, in dollars per token."""
    config = server.config
    pricing = {
        "prompt": _price(config.usd_per_mtok_in),
        "completion": _price(config.usd_per_mtok_out),
        "request": "0",
        "image": "0",
    }
    if config.usd_per_mtok_cached is not None:
        pricing["input_cache_read"] = _price(config.usd_per_mtok_cached)
    window = config.context_tokens or 128_000
    top = {"context_length": window, "max_completion_tokens": 16_384, "is_moderated": False}
    data = [
        {"id": name, "canonical_slug": name, "name": name, "context_length": window, "pricing": pricing, "top_provider": top,
         "supported_parameters": ["max_tokens", "temperature", "seed", "stop", "response_format", "tools"]}
        for name in config.served
    ]  # fmt: skip
    return json_reply({"data": data})


def _price(usd_per_mtok: float) -> str:
    return f"{Decimal(repr(usd_per_mtok)) / 1_000_000:f}"


async def key(server: Server, _request: Request) -> Reply:
    """GET /api/v1/key: what the key has spent."""
    data = {
        "label": "stand-in",
        "usage": _usd(server.account.cost_pusd),
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
    }
    return json_reply({"data": {**data, "is_free_tier": False}})


async def generation(server: Server, request: Request) -> Reply:
    """GET /api/v1/generation?id=: recovers the cost of a lost answer."""
    identity = request.parameters().get("id", "")
    usage = server.notes.get("generations", {}).get(identity)
    if usage is None:
        return fail(server, PROBLEMS["404"])
    data = {"id": identity, "total_cost": usage["cost"], "tokens_prompt": usage["prompt_tokens"]}
    return json_reply({"data": {**data, "tokens_completion": usage["completion_tokens"]}})


async def create_batch(server: Server, request: Request) -> Reply:
    """POST /api/v1/batches: inline requests of one model."""
    try:
        body = msgspec.json.decode(request.body, type=dict[str, Any])
        rows = [(str(row["custom_id"]), {"model": body["model"], **row["body"]}) for row in body["requests"]]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        return fail(server, msgspec.structs.replace(PROBLEMS["400"], message=f"Invalid batch: {error}"))
    lines = [Line(custom_id, read_chat_body(msgspec.json.encode(each))) for custom_id, each in rows]
    work = desk(server)
    job = work.create(lines, prefix="batch_", key=client_key(request), about={"body": body})
    if isinstance(job, Problem):
        return fail(server, job)
    return job.told(json_reply(_batch(server, work, job), 202))


async def list_batches(server: Server, request: Request) -> Reply:
    """GET /api/v1/batches, the newest first."""
    work = desk(server)
    work.settle()
    jobs, has_more = newest(work, request.parameters())
    return json_reply(page([_batch(server, work, job, results=False) for job in jobs], has_more=has_more))


async def get_batch(server: Server, request: Request) -> Reply:
    """GET /api/v1/batches/{id}, with its results once it has ended."""
    work = desk(server)
    job = work.get(request.args["id"])
    return fail(server, PROBLEMS["404"]) if job is None else json_reply(_batch(server, work, job))


async def cancel_batch(server: Server, request: Request) -> Reply:
    """POST /api/v1/batches/{id}/cancel."""
    work = desk(server)
    job = work.get(request.args["id"])
    if job is None:
        return fail(server, PROBLEMS["404"])
    work.cancel(job)
    return json_reply(_batch(server, work, job))


def _batch(server: Server, work: Desk, job: Job, *, results: bool = True) -> dict[str, Any]:
    state = job.state(work.now_s())
    succeeded = sum(isinstance(result, Answer) for result in job.results)
    counts = {"total": len(job.lines), "completed": succeeded, "failed": len(job.results) - succeeded}
    body: dict[str, Any] = {
        "id": job.id, "object": "batch", "endpoint": job.about["body"].get("endpoint", "/v1/chat/completions"),
        "model": job.about["body"].get("model"), "status": state, "completion_window": "24h",
        "created_at": int(job.created_unix_s), "expires_at": job.unix_s(job.timing.expires_s), "request_counts": counts,
    }  # fmt: skip
    if results and state in ("completed", "expired", "cancelled"):
        body["results"] = [_result(server, job, rank) for rank in range(len(job.results))]
    return body


def _result(server: Server, job: Job, rank: int) -> dict[str, Any]:
    line, result = job.named(rank), job.results[rank]
    if isinstance(result, Answer) and isinstance(line.ask, Ask):
        response = {"status_code": 200, "body": _body(server, line.ask, result, batch=True)}
    else:
        problem = result if isinstance(result, Problem) else PROBLEMS["500"]
        response = {"status_code": problem.status, "body": error_body(problem)}
    return {"custom_id": line.custom_id, "response": response, "error": None}


PERSONALITY = Personality(
    base_path="/api/v1",
    routes={
        ("POST", "/api/v1/chat/completions"): chat,
        ("GET", "/api/v1/models"): models,
        ("GET", "/api/v1/key"): key,
        ("GET", "/api/v1/generation"): generation,
        ("POST", "/api/v1/batches"): create_batch,
        ("GET", "/api/v1/batches"): list_batches,
        ("GET", "/api/v1/batches/{id}"): get_batch,
        ("POST", "/api/v1/batches/{id}/cancel"): cancel_batch,
    },
)
