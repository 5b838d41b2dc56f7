"""`/v1/files` as OpenAI has it: upload, list, retrieve, content, delete. Bytes travel in blocks, both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from pipelines.errors import StoreError
from producer import uploads
from producer.api import upload
from producer.api.auth import Caller
from producer.api.errors import ApiError, not_found
from producer.api.once import Once
from producer.api.state import Here, State
from producer.api.upload import Form
from producer.queue import now_ms
from producer.uploads import Upload
from producer.vetting import first_line_is_json

router = APIRouter(prefix="/v1/files", tags=["files"])

BLOCK_BYTES = 256 << 10
LEAST_S, MOST_S = 3_600, 2_592_000
INVALID_FORMAT = "Invalid file format for Batch API. Must be .jsonl"


@router.post("", openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
    "type": "object", "required": ["file", "purpose"],
    "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"type": "string", "enum": ["batch"]}},
}}}}})  # fmt: skip
async def create(request: Request, here: Here, caller: Caller) -> dict[str, Any]:
    """Takes a file: JSON lines, or Parquet as an extension."""
    at_ms = await now_ms(here.redis)
    form = await upload.receive(request, here.store, uploads.new_id(at_ms))
    try:
        made = await _made(request, here, caller.client, form)
    except (ApiError, StoreError):  # of other trouble nobody knows whether the file is known
        await upload.discard(here.store, form)
        raise
    if made.name != form.name:
        await upload.discard(here.store, form)
    return made.shown()


@router.get("")
async def list_files(
    here: Here,
    caller: Caller,
    purpose: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    after: str | None = None,
) -> dict[str, Any]:
    """The caller's files."""
    if after is not None and not uploads.is_id(after):
        raise ApiError(400, f"Invalid 'after': '{after[:100]}' is no file id.", code="invalid_value", param="after")
    found, more = await uploads.page(
        here.redis, here.keys, caller.client, after=after, limit=limit, purpose=purpose, newest=order == "desc"
    )
    return listing([each.shown() for each in found], more)


@router.get("/{file_id}")
async def retrieve(file_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """One file's record."""
    return (await _mine(here, caller.client, file_id)).shown()


@router.delete("/{file_id}")
async def delete(file_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """The file is gone for its client; a batch that reads it goes on."""
    found = await _mine(here, caller.client, file_id)
    await uploads.delete(here.redis, here.keys, here.store, found)
    return {"id": file_id, "object": "file", "deleted": True}


@router.get("/{file_id}/content", response_class=StreamingResponse)
async def content(file_id: str, here: Here, caller: Caller) -> StreamingResponse:
    """The file's bytes."""
    found = await _mine(here, caller.client, file_id)
    try:
        stream = await asyncio.to_thread(here.store.open, found.name)
    except FileNotFoundError:
        raise not_found("file", file_id) from None
    return StreamingResponse(
        blocks(stream),
        media_type="application/octet-stream",
        headers={"content-length": str(found.size_bytes), "x-content-type-options": "nosniff"},
    )


async def blocks(stream: BinaryIO) -> AsyncIterator[bytes]:
    """A stream's bytes, read in threads; closed at the end, whatever that is."""
    try:
        while block := await asyncio.to_thread(stream.read, BLOCK_BYTES):
            yield block
    finally:
        await asyncio.to_thread(stream.close)


def listing(data: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    """A page, as OpenAI's client pages through it."""
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": more}


async def _made(request: Request, here: State, client: str, form: Form) -> Upload:
    """The file that a form is, or the one that its first try made; ApiError for what may not be one."""
    kept_s = _kept_s(here, form.fields)
    await asyncio.to_thread(_check, here, form)
    once = Once.of(request, here, client, form.digest)
    file_id = await once.reserve(form.id)
    async with once.alone(file_id):
        if file_id != form.id and (known := await uploads.get(here.redis, here.keys, client, file_id)) is not None:
            return known
        at_s, name = int(uploads.made_s(file_id) or 0), form.filename or "file"
        made = Upload(file_id, client, name, "batch", form.kind, form.size_bytes, at_s, at_s + kept_s)
        if made.name != form.name:
            await asyncio.to_thread(here.store.copy, form.name, made.name)
        await uploads.keep(here.redis, here.keys, made)
    await once.made(file_id)
    return made


async def _mine(here: State, client: str, file_id: str) -> Upload:
    found = await uploads.get(here.redis, here.keys, client, file_id)
    if found is None:
        raise not_found("file", file_id, "file_id")
    return found


def _check(here: State, form: Form) -> None:
    """400 for what cannot be a batch's input."""
    if form.kind == "parquet":
        return
    with here.store.open(form.name) as stream:
        if form.kind != "jsonl" or not first_line_is_json(stream):
            raise ApiError(400, f"{INVALID_FORMAT}.", code="invalid_file_format", param="file")


def _kept_s(here: State, fields: dict[str, str]) -> int:
    """After how many seconds the file expires; 400 for a form that is not in order."""
    if (purpose := fields.get("purpose")) is None:
        raise ApiError(
            400, "Missing required parameter: 'purpose'.", code="missing_required_parameter", param="purpose"
        )
    if purpose != "batch":
        message = f"Invalid value: '{purpose[:60]}'. Supported values are: 'batch'."
        raise ApiError(400, message, code="invalid_value", param="purpose")
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return int(here.settings.api.keep_files)
    if anchor != "created_at":
        raise ApiError(400, "Invalid 'expires_after.anchor': it must be 'created_at'.", param="expires_after.anchor")
    if seconds is None or not seconds.isdecimal() or not LEAST_S <= int(seconds[:9]) <= MOST_S:
        message = f"Invalid 'expires_after.seconds': it must be a whole number from {LEAST_S} to {MOST_S}."
        raise ApiError(400, message, code="invalid_value", param="expires_after.seconds")
    return int(seconds[:9])
