"""`/v1/chat/completions`: one prompt that goes through the queue like every other, and whose answer is waited for.

The prompt is a row of an inbox run. It is accepted before it is waited for: whoever hangs up, or whose wait ends, finds the
answer under its id. What an answer is, and what an error, is said here; who answers is the queue's matter.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from pipelines import openai_lines
from pipelines.shard import parse_record
from pipelines.told import Key, Row
from pipelines.types import BadRow, Options
from producer.api import errors, quota
from producer.api.auth import Caller, client_of, who
from producer.api.bodies import json_object
from producer.api.errors import ApiError, not_found
from producer.api.once import KEPT_S, reserve
from producer.api.state import Here, State, state_of
from producer.inbox import Place

router = APIRouter(tags=["chat"])

WAIT, ACCEPTED = "x-spillway-wait-s", "x-spillway-accepted-ms"
PREFIX = "chatcmpl-"
MOST_WAITING = 4096
"""Each takes some 15 kB of the server."""
ONCE_S = 10.0
"""So long a repeated request waits for the first one's place in the queue."""
NOT_RETRIED = {"x-should-retry": "false"}
"""It was tried here as often as it makes sense; official clients would try again by themselves."""
UNSUPPORTED = ("/v1/embeddings", "/v1/responses", "/v1/completions", "/v1/moderations", "/v1/images/generations")

DESCRIBED: dict[str, Any] = {
    "security": [{"HTTPBearer": []}],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object", "required": ["messages"],
                    "properties": {
                        "model": {"type": "string"}, "stream": {"type": "boolean"},
                        "messages": {"type": "array", "minItems": 1, "items": {"type": "object"}},
                    },
                }
            }
        },
    },
}  # fmt: skip
"""For the description of the API; the body is read by hand, and has OpenAI's other parameters too."""


@router.post("/v1/chat/completions", openapi_extra=DESCRIBED)
async def create(request: Request) -> Response:
    """Waits for the answer, at most as long as `x-spillway-wait-s` or the configuration says; 0 only accepts (202)."""
    since_s = time.monotonic()
    here = await state_of(
        request
    )  # by hand: hundreds come every second, and declared dependencies take half of the time
    caller = await client_of(await who(request, here))
    body = await request.body()
    given = json_object(body)
    streams, usage_too = _stream(given)
    line = _line(here, caller.client, given)
    wait_s = _wait_s(request, here, here.settings.api.chat_wait)
    if wait_s and here.answers.waiting >= MOST_WAITING:
        raise errors.unavailable("Too many requests wait for their answer; try again.")
    place = await _once(request, here, caller.client, line, body)
    key = (place.run_id, place.row)
    accepted = {ACCEPTED: str(round((time.monotonic() - since_s) * 1000, 1))}
    if wait_s == 0:
        shown = {"id": _id(key), "object": "chat.completion.accepted", "spillway": _where(key)}
        return JSONResponse(shown, 202, accepted)
    row = await here.answers.wait(key, wait_s)
    if row is None:
        raise await _pending(here, key)
    if streams and openai_lines.answered(row["status"]):
        return Response(b"".join(_chunks(_completion(row, key), usage_too)), media_type="text/event-stream")
    return _told(row, key, accepted)


@router.get("/v1/chat/completions/{completion_id}")
async def retrieve(completion_id: str, request: Request, here: Here, caller: Caller) -> Response:
    """The answer to an earlier request by its id; 202 while there is none, waited for if `x-spillway-wait-s` says so."""
    key = _key(completion_id)
    if key is None or await _owner(here, key[0]) != caller.client:
        raise not_found("chat completion", completion_id)
    row = await here.answers.wait(key, _wait_s(request, here, 0.0), old=True)
    if row is None:
        return JSONResponse({"id": completion_id, "object": "chat.completion.accepted", "spillway": _where(key)}, 202)
    return _told(row, key, {})


async def unsupported(request: Request, caller: Caller) -> None:
    """What this server does not answer."""
    raise ApiError(400, f"{request.url.path} is not supported; ask /v1/chat/completions.", code="unsupported_endpoint")


for _path in UNSUPPORTED:
    router.add_api_route(_path, unsupported, methods=["POST"], include_in_schema=False)


# -- in ----------------------------------------------------------------------------------------------------------------


def _stream(given: dict[str, Any]) -> tuple[bool, bool]:
    """Takes the wish for a stream, and for its usage, out of a request."""
    streams, options = given.pop("stream", None), given.pop("stream_options", None)
    if streams not in (None, True, False):
        raise ApiError(400, "Invalid type for 'stream': expected a boolean.", code="invalid_type", param="stream")
    return streams is True, isinstance(options, dict) and options.get("include_usage") is True


def _line(here: State, client: str, given: dict[str, Any]) -> bytes:
    """The row of a request that can be asked."""
    row = parse_record(0, {"body": given})
    if isinstance(row, BadRow):
        raise ApiError(400, f"{row.message}.", code=row.code)
    models = here.models(client)
    if models is not None and row.model is not None and row.model not in models:
        message = f"The model '{row.model[:100]}' does not exist or you do not have access to it."
        raise ApiError(404, message, code="model_not_found", param="model")
    return msgspec.json.encode({"body": given})


def _wait_s(request: Request, here: State, default_s: float) -> float:
    """How long to wait: what the request says, never longer than the configuration does."""
    text = request.headers.get(WAIT)
    if text is None:
        return default_s
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 86_400:
        raise ApiError(400, f"The header {WAIT} must be a number of seconds.", code="invalid_value", param=WAIT)
    return min(seconds, here.settings.api.chat_wait)


async def _once(request: Request, here: State, client: str, line: bytes, body: bytes) -> Place:
    """The row's place; with an Idempotency-Key that of the first request with it."""
    if not request.headers.get("idempotency-key"):
        return await _submit(here, client, line)
    mine = secrets.token_hex(12)
    made = await reserve(request, here, client, mine, body)
    name = here.keys.api_once(client, f"place {made}")
    until_s = time.monotonic() + ONCE_S
    while made != mine and time.monotonic() < until_s:
        if found := await here.redis.get(name):
            run_id, _, row = found.partition(" ")
            return Place(run_id, int(row))
        await asyncio.sleep(0.05)
    place = await _submit(here, client, line)
    await here.redis.set(name, f"{place.run_id} {place.row}", ex=KEPT_S)
    return place


async def _submit(here: State, client: str, line: bytes) -> Place:
    async with quota.admitted(here, client, 1, len(line)):
        return await here.inboxes.submit(client, [line], Options(keep_response=here.settings.spillway.keep_response))


# -- out ---------------------------------------------------------------------------------------------------------------


def _id(key: Key) -> str:
    return f"{PREFIX}{key[0]}-{key[1]}"


def _key(completion_id: str) -> Key | None:
    run_id, _, row = completion_id.removeprefix(PREFIX).rpartition("-")
    good = completion_id.startswith(PREFIX) and row.isascii() and row.isdecimal() and len(row) < 16
    return (run_id, int(row)) if good else None


async def _owner(here: State, run_id: str) -> str | None:
    """The client of an inbox run, which Redis forgets some hours after its end."""
    client, origin = await here.redis.hmget(here.keys.run(run_id), ["client", "origin"])  # type: ignore[misc]
    if client is None:
        record = await asyncio.to_thread(here.records.read, run_id) or {}
        client, origin = record.get("client"), record.get("origin")
    return client if origin == "inbox" else None


def _where(key: Key) -> dict[str, Any]:
    return {"id": _id(key), "run": key[0], "row": key[1]}


def _told(row: Row, key: Key, headers: dict[str, str]) -> JSONResponse:
    """An answer as OpenAI's `chat.completion`, or as OpenAI's error."""
    if openai_lines.answered(row["status"]):
        return JSONResponse(_completion(row, key), headers=headers)
    status, code, message = _failure(row)
    shown = {**errors.body(status, message, code), "spillway": _where(key)}
    return JSONResponse(shown, status, {**headers, **NOT_RETRIED})


def _failure(row: Row) -> tuple[int, str, str]:
    """Status, code and message of a row without an answer."""
    code, message = row["error_code"] or row["status"], row["error_message"] or f"The request ended {row['status']}."
    if row["status"] == "invalid":
        return 400, "context_length_exceeded" if code == "context_overflow" else code, message
    if row["status"] in openai_lines.NOT_RUN:
        return (409 if row["status"] == "cancelled" else 504), code, message
    http_status = row["http_status"] or 0
    return (http_status if http_status in (400, 404, 413, 422) else 502), code, message


def _completion(row: Row, key: Key) -> dict[str, Any]:
    """The provider's own answer where it has OpenAI's shape, with what Spillway knows of it beside."""
    body = openai_lines.answer_of(row)
    known = {"lane": row["lane"], "status": row["status"], "cost_usd": row["cost_usd"]}
    if row["status"] == "duplicate":
        known |= {"duplicate_of": row["duplicate_of"], "duplicate_run": row["duplicate_run"] or key[0]}
    return {**body, "spillway": {**_where(key), **known}}


def _chunks(body: dict[str, Any], usage_too: bool) -> Iterator[bytes]:
    """An answer that is there as a whole, in the form of a stream: each choice in one chunk, its end in another."""
    head = {**{name: body.get(name) for name in ("id", "created", "model")}, "object": "chat.completion.chunk"}

    def event(choices: list[dict[str, Any]], **more: Any) -> bytes:
        return b"data: " + msgspec.json.encode({**head, "choices": choices, **more}) + b"\n\n"

    for number, choice in enumerate(body["choices"]):
        message = dict(choice.get("message") or {})
        if isinstance(calls := message.get("tool_calls"), list):
            message["tool_calls"] = [{"index": at, **each} for at, each in enumerate(calls) if isinstance(each, dict)]
        index = choice.get("index", number)
        yield event([{"index": index, "delta": message, "logprobs": choice.get("logprobs"), "finish_reason": None}])
        yield event([{"index": index, "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"}])
    if usage_too:
        yield event([], usage=body.get("usage"))
    yield b"data: [DONE]\n\n"


async def _pending(here: State, key: Key) -> ApiError:
    """The wait is over and the answer is not there: why, where that is known, and where it will be."""
    blocked = await here.redis.hget(here.keys.run(key[0]), "blocked") or ""  # type: ignore[misc]
    later = f"ask GET /v1/chat/completions/{_id(key)} for it"
    if blocked.startswith("budget"):
        return ApiError(429, f"{blocked}; {later}.", code="insufficient_quota", headers=NOT_RETRIED)
    why = f" ({blocked})" if blocked else ""
    return ApiError(504, f"No answer yet{why}; {later}.", code="answer_pending", headers=NOT_RETRIED)
