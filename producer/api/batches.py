"""`/v1/batches` as OpenAI has it: create, list, retrieve, cancel; `retry` and `results` beside it are ours.

Here a batch is only written down; `keeper.py` takes it from there.
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from pipelines import paths, wire
from pipelines.config.sections import duration_s
from pipelines.dialects.endpoints import ENDPOINTS
from pipelines.dialects.openai_lines import line_of
from pipelines.errors import SourceError, UsageError
from producer import batches, intake, runs, uploads
from producer.api import outputs
from producer.api.ask import KEY_MAX_CHARS, PAIRS_MAX, VALUE_MAX_CHARS
from producer.api.auth import Caller
from producer.api.bodies import json_object
from producer.api.errors import ApiError, conflict, not_found, source_changed
from producer.api.files import LEAST_S, MOST_S, listing
from producer.api.once import Once, digest_of
from producer.api.quota import admit, admitted
from producer.api.results import gathered
from producer.api.state import Here, State
from producer.batches import CANCELLABLE, Batch
from producer.exports import line_bytes, rows_of
from producer.partial import rows_so_far
from producer.queue import now_ms
from producer.quotas import ticket_of
from producer.runs import RunView

router = APIRouter(prefix="/v1/batches", tags=["batches"])

WINDOW = "24h"
WINDOW_MAX_S = 30 * 86_400
NEW: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/json": {"schema": {
    "type": "object", "required": ["input_file_id", "endpoint", "completion_window"],
    "properties": {
        "input_file_id": {"type": "string"}, "endpoint": {"type": "string", "enum": list(ENDPOINTS)},
        "completion_window": {"type": "string", "example": WINDOW},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": PAIRS_MAX},
        "output_expires_after": {
            "type": "object", "required": ["anchor", "seconds"],
            "properties": {
                "anchor": {"type": "string", "enum": ["created_at"]},
                "seconds": {"type": "integer", "minimum": LEAST_S, "maximum": MOST_S},
            },
        },
    },
}}}}}  # fmt: skip
"""The body is read by hand, so that every mistake is told as OpenAI tells it."""
_WORD = re.compile(r"[\x21-\x7e]{1,80}")


@router.post("", openapi_extra=NEW)
async def create(request: Request, here: Here, caller: Caller) -> dict[str, Any]:
    """A batch of an uploaded file; the file is looked at afterwards, and what is wrong with it is in the batch."""
    body = await request.body()
    given = json_object(body)
    at_ms = await now_ms(here.redis)
    wanted = _checked(here, given, caller.client, at_ms)
    once = Once.of(request, here, caller.client, digest_of(body))
    batch_id = await once.reserve(batches.new_id(at_ms))
    async with once.alone(batch_id):
        if await batches.get(here.redis, here.keys, caller.client, batch_id) is None:
            await admit(here, caller.client)
            await batches.create(here.redis, here.keys, msgspec.structs.replace(wanted, id=batch_id))
        found = await batches.get(here.redis, here.keys, caller.client, batch_id)
    assert found is not None
    here.wake(batch_id)
    await once.made(batch_id)
    return found[0].shown(found[1])


@router.get("")
async def list_batches(
    here: Here, caller: Caller, after: str | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> dict[str, Any]:
    """The caller's batches, newest first."""
    if after is not None and not batches.is_id(after):
        raise ApiError(400, f"Invalid 'after': '{after[:100]}' is no batch id.", code="invalid_value", param="after")
    found, more = await batches.page(here.redis, here.keys, caller.client, after=after, limit=limit)
    return listing([batch.shown(run) for batch, run in found], more)


@router.get("/{batch_id}")
async def retrieve(batch_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """One batch, as it is now."""
    batch, run = await mine(here, caller.client, batch_id)
    return batch.shown(run)


@router.post("/{batch_id}/cancel")
async def cancel(batch_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """Ends a batch: what was answered is kept. Twice is once; one that has ended otherwise cannot be cancelled."""
    batch, _ = await mine(here, caller.client, batch_id)
    if ended := await stop(here, batch):
        raise conflict(f"Cannot cancel a batch with status '{ended}'.")
    return await retrieve(batch_id, here, caller)


@router.post("/{batch_id}/retry")
async def retry(batch_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """Asks the failed lines of an ended batch again; its output and error files are made anew when it has ended."""
    batch, _ = await mine(here, caller.client, batch_id)
    if not batch.ended:
        raise conflict(f"Cannot retry a batch with status '{batch.status}'.")
    held = await uploads.hold(here.redis, here.keys, caller.client, batch.input_file_id, batch_id)
    run = await _run_of(here, batch)
    if not _is_ahead(run, batch):
        if not held:
            raise conflict("Cannot retry this batch: its input file is gone.")
        run = await _asked_again(here, batch, run)
    anew = batch.again(run, await batches.now_s(here.redis))
    await batches.step(here.redis, here.keys, batch_id, (batch.status,), **anew)
    for file_id in (batch.output_file_id, batch.error_file_id):
        if file_id and (file := await uploads.get(here.redis, here.keys, caller.client, file_id)):
            await uploads.delete(here.redis, here.keys, here.store, file)
    here.wake(batch_id)
    return await retrieve(batch_id, here, caller)


@router.get("/{batch_id}/results", response_class=StreamingResponse)
async def results(batch_id: str, here: Here, caller: Caller) -> StreamingResponse:
    """Output and error lines in one stream, also while the batch is under way: those that there are so far."""
    batch, _ = await mine(here, caller.client, batch_id)
    whole = paths.results(batch.run_id)
    if batch.ended and await asyncio.to_thread(here.store.exists, whole):
        rows = rows_of(here.store.path(whole), outputs.COLUMNS)
    else:
        rows = rows_so_far(here.store, batch.run_id)
    return StreamingResponse(
        gathered(line_bytes(line_of(row, batch.endpoint)) for row in rows), media_type="application/jsonl"
    )


async def mine(here: State, client: str, batch_id: str) -> tuple[Batch, RunView | None]:
    """The client's batch, or the 404 that everybody gets for any other."""
    found = await batches.get(here.redis, here.keys, client, batch_id)
    if found is None:
        raise not_found("batch", batch_id)
    return found


async def stop(here: State, batch: Batch) -> str:
    """Has a batch end as cancelled; '' if it does or did, else the state in which it has ended."""
    at_s = await batches.now_s(here.redis)
    was = await batches.step(here.redis, here.keys, batch.id, CANCELLABLE, status="cancelling", cancelling_at=at_s)
    if was in CANCELLABLE and await here.redis.exists(here.keys.run(batch.run_id)):
        await intake.cancel(here.redis, here.keys, batch.run_id)
    here.wake(batch.id)
    return "" if was in (*CANCELLABLE, "cancelling", "cancelled") else was


async def _run_of(here: State, batch: Batch) -> RunView:
    """The batch's run; one that failed before anything was asked, where there is none."""
    fields = await runs.fields_of(here.redis, here.keys, batch.run_id)
    return runs.view(batch.run_id, fields or {"status": "failed"})


def _is_ahead(run: RunView, batch: Batch) -> bool:
    """Whether a run went on after its batch had ended: an earlier retry came this far, and the batch is to follow."""
    return run.generation > batch.generation or run.status in wire.RUN_OPEN


async def _asked_again(here: State, batch: Batch, run: RunView) -> RunView:
    """The run of a batch, which asks its failed rows again; 409 or 429 where it does not, and its file is let go."""
    ticket = ticket_of(run.run_id, run.generation + 1)
    try:
        async with admitted(here, batch.client, run.failed, 0, ticket=ticket):
            return await intake.retry(here.redis, here.keys, here.records, run.run_id, await now_ms(here.redis))
    except (UsageError, SourceError, ApiError) as error:
        now = await _run_of(here, batch)
        if _is_ahead(now, batch):  # somebody else was faster
            return now
        await uploads.release(here.redis, here.keys, here.store, batch.input_file_id, batch.id)
        if isinstance(error, ApiError):
            raise
        if isinstance(error, SourceError):
            raise source_changed("batch", error) from None
        raise conflict(f"Cannot retry this batch: {error}." if now.failed else _nothing_failed(batch)) from None


def _nothing_failed(batch: Batch) -> str:
    """Lines of the error file that were never asked, or can never be, are not what a retry asks again."""
    if not batch.failed:
        return "Cannot retry this batch: none of its requests failed."
    ended = f"when it was {batch.status}" if batch.status in ("cancelled", "expired") else "because they are invalid"
    return (
        f"Cannot retry this batch: a retry asks again what was asked and failed, and the {batch.failed:,} requests of its "
        f"error file were not answered {ended}; send them in a new batch."
    )


# -- what a batch may be made of -----------------------------------------------------------------------------------------


def _checked(here: State, given: dict[str, Any], client: str, at_ms: int) -> Batch:
    """The batch that is asked for, without its id; ApiError for what is wrong with the request itself."""
    for name in ("input_file_id", "endpoint", "completion_window"):
        if given.get(name) is None:
            code = "missing_required_parameter"
            raise ApiError(400, f"Missing required parameter: '{name}'.", code=code, param=name)
        if type(given[name]) is not str:
            raise _wrong_type(name, "a string", given[name])
    if given["endpoint"] not in ENDPOINTS:
        known = ", ".join(f"'{each}'" for each in ENDPOINTS)
        message = f"Invalid value: '{given['endpoint'][:100]}'. Supported values are: {known}."
        raise ApiError(400, message, code="invalid_value", param="endpoint")
    window_s = _window_s(given["completion_window"], any_window=here.settings.api.any_window)
    return Batch(
        id="",
        client=client,
        run_id=intake.private_run_id(at_ms),
        status="validating",
        endpoint=given["endpoint"],
        input_file_id=given["input_file_id"] if _WORD.fullmatch(given["input_file_id"]) else "-",
        completion_window=given["completion_window"],
        window_s=window_s,
        created_at=at_ms // 1000,
        expires_at=at_ms // 1000 + window_s,
        metadata=_metadata(given.get("metadata")),
        output_expires_s=_output_expires(given.get("output_expires_after")),
    )


def _window_s(text: str, *, any_window: bool) -> int:
    if text == WINDOW:
        return 86_400
    message = f"Invalid value: '{text[:60]}' for 'completion_window'. Supported values are: '{WINDOW}'."
    try:
        seconds = duration_s(text) if any_window else 0
    except ValueError:
        seconds = 0
    if not 1 <= seconds <= WINDOW_MAX_S:
        more = " Here any duration from 1s to 30d is taken, such as '2h'." if any_window else ""
        raise ApiError(400, message + more, code="invalid_value", param="completion_window")
    return round(seconds)


def _metadata(given: Any) -> dict[str, str] | None:
    if given is None:
        return None
    if type(given) is not dict:
        raise _wrong_type("metadata", "an object", given)
    if len(given) > PAIRS_MAX:
        message = f"Invalid 'metadata': it has {len(given)} pairs, and {PAIRS_MAX} are the most."
        raise ApiError(400, message, code="object_above_max_properties", param="metadata")
    for name, value in given.items():
        if type(value) is not str:
            raise _wrong_type(f"metadata.{name[:KEY_MAX_CHARS]}", "a string", value)
        if len(name) > KEY_MAX_CHARS or len(value) > VALUE_MAX_CHARS:
            message = f"a key may have {KEY_MAX_CHARS} characters, a value {VALUE_MAX_CHARS}"
            param = f"metadata.{name[:KEY_MAX_CHARS]}"
            raise ApiError(400, f"Invalid '{param}': {message}.", code="string_above_max_length", param=param)
    return given


def _output_expires(given: Any) -> int | None:
    """Seconds after which the output files expire."""
    if given is None:
        return None
    if type(given) is not dict:
        raise _wrong_type("output_expires_after", "an object", given)
    if given.get("anchor") != "created_at":
        param = "output_expires_after.anchor"
        raise ApiError(400, f"Invalid '{param}': it must be 'created_at'.", code="invalid_value", param=param)
    seconds = given.get("seconds")
    if type(seconds) is not int or not LEAST_S <= seconds <= MOST_S:
        param = "output_expires_after.seconds"
        message = f"Invalid '{param}': it must be a whole number from {LEAST_S} to {MOST_S}."
        raise ApiError(400, message, code="invalid_value", param=param)
    return seconds


def _wrong_type(param: str, wanted: str, given: Any) -> ApiError:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "an integer"}
    got = kinds.get(type(given), "null" if given is None else "a number")
    message = f"Invalid type for '{param}': expected {wanted}, but got {got} instead."
    return ApiError(400, message, code="invalid_type", param=param)
