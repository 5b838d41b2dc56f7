"""Cerebras: OpenAI's chat with times; its limiter charges the longest possible answer before it is written."""

from __future__ import annotations

import msgspec

from worker.simulator.core.answers import Ask
from worker.simulator.core.chat import ERRORS, chat_body, models, read_chat, reject, retry_headers
from worker.simulator.core.faults import Problem
from worker.simulator.core.generate import Answer, Voice, generate
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.known import CEREBRAS, unknown
from worker.simulator.core.personality import Personality
from worker.simulator.core.server import Server

UNLIMITED_ANSWER_TOKENS = 8_192


def say(server: Server, ask: Ask, answer: Answer) -> bytes:
    """A chat completion with the times of its parts."""
    total_s = answer.service_s
    times = {"queue_time": 0.0, "prompt_time": total_s * 0.1, "completion_time": total_s * 0.9, "total_time": total_s}
    return msgspec.json.encode({**chat_body(server, ask, answer), "time_info": times})


def fail(_server: Server, problem: Problem) -> Reply:
    """Errors have no outer object."""
    kind, code, param = ERRORS.get(problem.name, ("server_error", None, None))
    message = problem.message
    if problem.name == "context" and problem.detail:
        tokens, limit = problem.detail.get("tokens", 0), problem.detail.get("limit", 0)
        message = (
            f"Please reduce the length of the messages or completion. Current length is {tokens} while limit is {limit}"
        )
    if problem.name == "rate" and "tokens" in message:
        kind, code = "too_many_tokens_error", "token_quota_exceeded"
    body = {"message": message, "type": kind, "param": param, "code": problem.code or code}
    return json_reply(body, problem.status, retry_headers(problem))


def _headers(server: Server, _answer: Answer) -> tuple[tuple[str, str], ...]:
    tokens = server.limits.tokens
    if tokens is None:
        return ()
    left, reset_s = tokens.left(), (tokens.size - tokens.left()) / tokens.rate
    return (
        ("x-ratelimit-limit-tokens-minute", str(server.config.tpm)),
        ("x-ratelimit-remaining-tokens-minute", str(left)),
        ("x-ratelimit-reset-tokens-minute", f"{reset_s:.3f}"),
    )


VOICE = Voice(say, fail, _headers)


async def chat(server: Server, request: Request) -> Reply:
    """POST /v1/chat/completions."""
    ask = unknown(request.body, CEREBRAS) or read_chat(request)
    if isinstance(ask, Problem):
        return reject(server, ask, VOICE)
    reserved = UNLIMITED_ANSWER_TOKENS if ask.max_tokens is None else ask.max_tokens
    return await generate(server, request, msgspec.structs.replace(ask, reserved_tokens=reserved), VOICE)


PERSONALITY = Personality(routes={("POST", "/v1/chat/completions"): chat, ("GET", "/v1/models"): models})
