"""`/v1/chat/completions` and `/v1/responses`: one prompt that goes through the queue like every other, and is waited for.

The prompt is a row of an inbox run. It is accepted before it is waited for: whoever hangs up, or whose wait ends, finds the
answer under its id. What an answer looks like, and an error, is for replies.py; who answers is the queue's matter.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from pipelines.errors import StoreError
from pipelines.shard import parse_record
from pipelines.types import BadRow, Options
from producer import placed
from producer.api import quota, replies
from producer.api.auth import Caller, client_of, who
from producer.api.bodies import json_object
from producer.api.errors import ApiError, not_found
from producer.api.once import Once, digest_of
from producer.api.replies import CHAT, RESPONSES, Form
from producer.api.state import Here, State, state_of
from producer.placed import Place
from producer.quotas import ticket_of
from producer.records import NOBODYS

router = APIRouter(tags=["chat"])

WAIT, ACCEPTED = "x-spillway-wait-s", "x-spillway-accepted-ms"
UNSUPPORTED = ("/v1/embeddings", "/v1/completions", "/v1/moderations", "/v1/images/generations")


def _described(asks: str) -> dict[str, Any]:
    """For the description of the API; the body is read by hand, and has OpenAI's other parameters too."""
    kinds = {
        "messages": {"type": "array", "minItems": 1, "items": {"type": "object"}},
        "input": {"type": ["string", "array"], "minLength": 1, "minItems": 1, "items": {"type": "object"}},
    }
    properties = {"model": {"type": "string"}, "stream": {"type": "boolean"}, asks: kinds[asks]}
    schema = {"type": "object", "required": [asks], "properties": properties}
    content = {"application/json": {"schema": schema}}
    return {"security": [{"HTTPBearer": []}], "requestBody": {"required": True, "content": content}}


@router.post(CHAT.url, openapi_extra=_described("messages"))
async def create(request: Request) -> Response:
    """Waits for the answer, at most as long as `x-spillway-wait-s` or the configuration says; 0 only accepts (202)."""
    return await _asked(request, CHAT)


@router.post(RESPONSES.url, openapi_extra=_described("input"))
async def create_response(request: Request) -> Response:
    """The same in the form of OpenAI's Responses; each stands alone, an earlier one is not known here."""
    return await _asked(request, RESPONSES)


ENDPOINTS = {CHAT.url: create, RESPONSES.url: create_response}
"""Those that are asked hundreds of times a second: nothing about them is declared, all is read by hand."""


@router.get(f"{CHAT.url}/{{completion_id}}")
async def retrieve(completion_id: str, request: Request, here: Here, caller: Caller) -> Response:
    """The answer to an earlier request by its id; 202 while there is none, waited for if `x-spillway-wait-s` says so."""
    return await _found(request, here, CHAT, caller.client, completion_id)


@router.get(f"{RESPONSES.url}/{{response_id}}")
async def retrieve_response(response_id: str, request: Request, here: Here, caller: Caller) -> Response:
    """The same for a response."""
    return await _found(request, here, RESPONSES, caller.client, response_id)


async def _asked(request: Request, form: Form) -> Response:
    since_s = time.monotonic()
    here = await state_of(request)
    caller = await client_of(await who(request, here))
    body = await request.body()
    given = json_object(body)
    streams, usage_too = _stream(given)
    line = _line(here, caller.client, given, form.url)
    wait_s = _wait_s(request, here, here.settings.api.chat_wait)
    once = Once.of(request, here, caller.client, digest_of(body))
    place = await _once(once, line)
    key = (place.run_id, place.row)
    once.note(form.id(key))
    took = {ACCEPTED: str(round((time.monotonic() - since_s) * 1000, 1))}
    if wait_s == 0:
        return replies.accepted(form, key, took)
    row = await here.answers.wait(key, wait_s)
    if row is None:
        blocked = await here.redis.hget(here.keys.run(key[0]), "blocked") or ""
        raise replies.pending(form, key, blocked)
    if streams:
        return replies.streamed(form, row, key, given, usage_too)
    return replies.told(form, row, key, took, given)


async def _found(request: Request, here: State, form: Form, client: str, name: str) -> Response:
    key = form.key(name)
    if key is None or not await _is_theirs(here, client, key[0]):
        raise not_found(form.kind.replace(".", " "), name)
    row = await here.answers.wait(key, _wait_s(request, here, 0.0), old=True)
    return replies.accepted(form, key, {}) if row is None else replies.told(form, row, key, {})


async def unsupported(request: Request, caller: Caller) -> None:
    """What this server does not answer."""
    raise ApiError(
        400, f"{request.url.path} is not supported; ask {CHAT.url} or {RESPONSES.url}.", code="unsupported_endpoint"
    )


for _path in UNSUPPORTED:
    router.add_api_route(_path, unsupported, methods=["POST"], include_in_schema=False)


# -- in ----------------------------------------------------------------------------------------------------------------


def _stream(given: dict[str, Any]) -> tuple[bool, bool]:
    """Takes the wish for a stream, and for its usage, out of a request."""
    streams, options = given.pop("stream", None), given.pop("stream_options", None)
    if streams not in (None, True, False):
        raise ApiError(400, "Invalid type for 'stream': expected a boolean.", code="invalid_type", param="stream")
    return streams is True, isinstance(options, dict) and options.get("include_usage") is True


def _line(here: State, client: str, given: dict[str, Any], url: str) -> bytes:
    """The row of a request that can be asked."""
    record = {"url": url, "body": given}
    row = parse_record(0, record)
    if isinstance(row, BadRow):
        raise ApiError(400, f"{row.message}.", code=row.code)
    models = here.models(client)
    if models is not None and row.model is not None and row.model not in models:
        message = f"The model '{row.model[:100]}' does not exist or you do not have access to it."
        raise ApiError(404, message, code="model_not_found", param="model")
    return msgspec.json.encode(record)


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


async def _once(once: Once, line: bytes) -> Place:
    """The row's place; with an Idempotency-Key that of the first request with it, whatever became of its server."""
    here = once.here
    if not once.key:
        return await _submit(here, once.client, line)
    mine = secrets.token_hex(12)
    made = await once.reserve(mine)
    name = here.keys.api_once(once.client, f"place {made}")
    async with once.alone(made):
        found = None if made == mine else await placed.find(here.redis, here.keys, here.records.store, name)
        return found or await _submit(here, once.client, line, name, ticket_of(made, 0))


async def _submit(here: State, client: str, line: bytes, name: str = "", ticket: str = "") -> Place:
    options = Options(keep_response=here.settings.spillway.keep_response)
    async with quota.admitted(here, client, 1, len(line), ticket=ticket, undone=StoreError):  # else it may be in
        return await here.inboxes.submit(client, [line], options, name)


async def _is_theirs(here: State, client: str, run_id: str) -> bool:
    """Whether it is an inbox run of the client's; Redis forgets one some hours after its end. Somebody else's run is looked
    for as long as one that does not exist."""
    owner, origin = await here.redis.hmget(here.keys.run(run_id), ["client", "origin"])
    if owner != client:
        record = await asyncio.to_thread(here.records.read, run_id if owner is None else NOBODYS) or {}
        if owner is None:
            owner, origin = record.get("client"), record.get("origin")
    return bool(owner == client and origin == "inbox")
