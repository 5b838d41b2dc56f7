"""`/v1/messages/batches` as Anthropic has it: create, list, retrieve, cancel, delete, results.

A batch of messages is a batch as `keeper.py` knows it: its requests are translated into a batch file as they come in, and
its results from what the run left. The translation itself is in pipelines/dialects/anthropic_lines.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from tempfile import SpooledTemporaryFile
from typing import Annotated, Any, BinaryIO, cast

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from pipelines import paths
from pipelines.dialects import anthropic_lines
from pipelines.dialects.anthropic_turns import Cannot
from producer import batches, intake, uploads
from producer.api.auth import Caller
from producer.api.batches import stop
from producer.api.errors import ApiError, not_found
from producer.api.once import Digest, Once
from producer.api.quota import admit
from producer.api.results import gathered
from producer.api.state import Here, State
from producer.batches import MESSAGES, Batch
from producer.exports import line_bytes, rows_of
from producer.queue import now_ms
from producer.uploads import Upload
from producer.vetting import lines

VERSIONS = ("2023-06-01", "2026-10-21")
WINDOW_S = 86_400
ROWS_MAX = 100_000
IN_MEMORY_BYTES = 4 << 20
COLUMNS = (
    "run_id", "row", "custom_id", "status", "output", "finish_reason", "model", "input_tokens", "cached_input_tokens",
    "cache_write_tokens", "output_tokens", "error_message", "http_status", "response", "tags",
)  # fmt: skip
NEW: dict[str, Any] = {"requestBody": {"required": True, "content": {"application/json": {"schema": {
    "type": "object", "required": ["requests"],
    "properties": {"requests": {"type": "array", "minItems": 1, "maxItems": ROWS_MAX, "items": {
        "type": "object", "required": ["custom_id", "params"],
        "properties": {"custom_id": {"type": "string"}, "params": {"type": "object"}},
    }}},
}}}}}  # fmt: skip


async def _versioned(anthropic_version: Annotated[str | None, Header()] = None) -> None:
    if anthropic_version not in VERSIONS:
        raise ApiError(400, f"anthropic-version: this header is required, and it must be {' or '.join(VERSIONS)}")


router = APIRouter(prefix="/v1/messages/batches", tags=["messages"], dependencies=[Depends(_versioned)])


@router.post("", openapi_extra=NEW)
async def create(request: Request, here: Here, caller: Caller) -> dict[str, Any]:
    """A batch of requests. A request that cannot be asked becomes an `errored` result and fails no other."""
    at_ms = await now_ms(here.redis)
    with SpooledTemporaryFile(IN_MEMORY_BYTES) as body:
        once = Once.of(request, here, caller.client, await _received(request, cast(BinaryIO, body)))
        batch_id = await once.reserve(batches.new_id(at_ms, MESSAGES))
        async with once.alone(batch_id):
            if await batches.get(here.redis, here.keys, caller.client, batch_id, MESSAGES) is None:
                await admit(here, caller.client)
                file, rows = await _written(here, caller.client, cast(BinaryIO, body), batch_id, at_ms // 1000)
                await uploads.keep(here.redis, here.keys, file, listed=False)
                await batches.create(here.redis, here.keys, _new(batch_id, caller.client, file, rows, at_ms))
                here.wake(batch_id)
                await once.made(batch_id)
    return await retrieve(request, batch_id, here, caller)


@router.get("")
async def list_batches(
    request: Request,
    here: Here,
    caller: Caller,
    before_id: str | None = None,
    after_id: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
) -> dict[str, Any]:
    """The caller's batches, newest first: those behind `after_id`, or those just ahead of `before_id`."""
    for name, given in (("before_id", before_id), ("after_id", after_id)):
        if given is not None and not batches.is_id(given, MESSAGES):
            raise ApiError(400, f"{name}: {given[:100]!r} is no id of a batch")
    page = batches.page(
        here.redis, here.keys, caller.client, after=after_id, before=before_id, limit=limit, kind=MESSAGES
    )
    found, more = await page
    data = [_shown(request, batch) for batch, _ in found]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"data": data, "has_more": more, "first_id": first, "last_id": last}


@router.get("/{batch_id}")
async def retrieve(request: Request, batch_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """One batch, as it is now."""
    return _shown(request, await _mine(here, caller.client, batch_id))


@router.post("/{batch_id}/cancel")
async def cancel(request: Request, batch_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """Ends a batch: what was answered is kept, the rest is `canceled`. Twice is once."""
    batch = await _mine(here, caller.client, batch_id)
    if await stop(here, batch):
        raise ApiError(400, "This batch has ended; it cannot be canceled any more.")
    return await retrieve(request, batch_id, here, caller)


@router.delete("/{batch_id}")
async def delete(batch_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """The batch and its results are gone for its client."""
    batch = await _mine(here, caller.client, batch_id)
    if not batch.ended:
        raise ApiError(400, "This batch has not ended; cancel it before it is deleted.")
    file = await uploads.get(here.redis, here.keys, caller.client, batch.input_file_id)
    if file is not None:
        await uploads.delete(here.redis, here.keys, here.store, file)
    await batches.delete(here.redis, here.keys, batch)
    return {"id": batch_id, "type": "message_batch_deleted"}


@router.get("/{batch_id}/results", name="message_batch_results", response_class=StreamingResponse)
async def results(batch_id: str, here: Here, caller: Caller) -> StreamingResponse:
    """A line for each request, once the batch has ended."""
    batch = await _mine(here, caller.client, batch_id)
    if not batch.ended:
        raise ApiError(404, "The results of this batch are there when it has ended.")
    whole = paths.results(batch.run_id)
    if await asyncio.to_thread(here.store.exists, whole):
        found: Iterator[dict[str, Any]] = map(anthropic_lines.result_of, rows_of(here.store.path(whole), COLUMNS))
    else:
        file = await uploads.get(here.redis, here.keys, caller.client, batch.input_file_id)
        if file is None:
            raise not_found("result", batch_id)
        found = _never_asked(batch, await asyncio.to_thread(here.store.open, file.name))
    return StreamingResponse(gathered(map(line_bytes, found)), media_type="application/x-jsonl")


def tally(here: State, batch: Batch) -> dict[str, int]:
    """How many requests of a run that has ended ended how. Blocking."""
    name = paths.results(batch.run_id)
    if not here.store.exists(name):
        return {}
    return anthropic_lines.tally(row["status"] for row in rows_of(here.store.path(name), ("status",)))


# -- in ----------------------------------------------------------------------------------------------------------------


async def _received(request: Request, body: BinaryIO) -> str:
    """The body, rewound, and its digest; memory stays flat however long it is."""
    digest = Digest()
    async for block in request.stream():
        await asyncio.to_thread(body.write, block)
        digest.update(block)
    await asyncio.to_thread(body.seek, 0)
    return digest.hexdigest()


async def _written(here: State, client: str, body: BinaryIO, batch_id: str, at_s: int) -> tuple[Upload, int]:
    """The requests as a batch file of ours, and how many."""
    file_id = f"file-{batch_id.removeprefix(MESSAGES)}"
    rows, size_bytes = await asyncio.to_thread(_translate, here, client, body, file_id)
    expires_s = at_s + WINDOW_S + int(here.settings.api.keep_files)
    return Upload(file_id, client, f"{batch_id}.jsonl", "batch", "jsonl", size_bytes, at_s, expires_s), rows


def _translate(here: State, client: str, body: BinaryIO, file_id: str) -> tuple[int, int]:
    """Writes the batch file; 400 for what is no list of requests, and nothing is kept then."""
    import ijson

    models = here.models(client)
    most = min(ROWS_MAX, here.settings.api.max_batch_rows or ROWS_MAX)
    seen: set[str] = set()
    size_bytes = 0
    with here.store.create(paths.upload(file_id, "jsonl")) as out:
        try:
            for number, request in enumerate(ijson.items(body, "requests.item", use_float=True)):
                if number == most:
                    raise ApiError(413, f"requests: more than {most} requests")
                custom_id, params = anthropic_lines.envelope(number, request)
                if custom_id in seen:
                    raise Cannot(f"requests.{number}.custom_id: {custom_id} is there already; it must be unique")
                seen.add(custom_id)
                size_bytes += out.write(anthropic_lines.line_of(custom_id, params, models) + b"\n")
        except Cannot as error:
            raise ApiError(400, str(error)) from None
        except (ijson.JSONError, ValueError, RecursionError):
            raise ApiError(400, "The request body is not valid JSON.") from None
        if not seen:
            raise ApiError(400, "requests: Field required: a list with at least one request")
    return len(seen), size_bytes


def _new(batch_id: str, client: str, file: Upload, rows: int, at_ms: int) -> Batch:
    at_s = at_ms // 1000
    return Batch(
        id=batch_id, client=client, run_id=intake.private_run_id(at_ms), status="validating",
        endpoint=anthropic_lines.ENDPOINT, input_file_id=file.id, completion_window="24h", window_s=WINDOW_S,
        created_at=at_s, expires_at=at_s + WINDOW_S, total=rows,
    )  # fmt: skip


# -- out ---------------------------------------------------------------------------------------------------------------


async def _mine(here: State, client: str, batch_id: str) -> Batch:
    found = await batches.get(here.redis, here.keys, client, batch_id, MESSAGES)
    if found is None:
        raise not_found("batch", batch_id)
    return found[0]


def _shown(request: Request, batch: Batch) -> dict[str, Any]:
    """Anthropic's MessageBatch."""
    status = "ended" if batch.ended else "canceling" if batch.status == "cancelling" else "in_progress"
    ended_s = batch.completed_at or batch.failed_at or batch.expired_at or batch.cancelled_at
    return {
        "id": batch.id, "type": "message_batch", "processing_status": status, "request_counts": _counts(batch),
        "created_at": _time(batch.created_at), "expires_at": _time(batch.expires_at),
        "ended_at": _time(ended_s) if batch.ended else None, "cancel_initiated_at": _time(batch.cancelling_at),
        "archived_at": None,
        "results_url": str(request.url_for("message_batch_results", batch_id=batch.id)) if batch.ended else None,
    }  # fmt: skip


def _counts(batch: Batch) -> dict[str, int]:
    """All but `processing` stay 0 until the whole batch has ended."""
    none = dict.fromkeys(("processing", *anthropic_lines.RESULTS), 0)
    if not batch.ended:
        return {**none, "processing": batch.total}
    return {**none, **(batch.tally or {_unasked(batch): batch.total})}


def _unasked(batch: Batch) -> str:
    return "canceled" if batch.status == "cancelled" else "errored"


def _time(at_s: int | None) -> str | None:
    return None if at_s is None else f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _never_asked(batch: Batch, stream: BinaryIO) -> Iterator[dict[str, Any]]:
    """The results of a batch that became no run: all alike."""
    kind = _unasked(batch)
    why = batch.errors[0].message if batch.errors else "The batch could not be started."
    more = {"error": anthropic_lines.error("api_error", why)} if kind == "errored" else {}
    with stream:
        for _, line in lines(stream):
            assert isinstance(line, dict)  # we wrote it
            yield anthropic_lines.ended(line["custom_id"], kind, **more)
