"""`/v1/runs`: prompts or a file in, progress and rows out; a bad row ends as `invalid` and stops nothing.

The run's source is a file of its own under the data root, so that whatever becomes of an upload, the run goes on. Runs of
batches are their batches' matter and are not seen here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from pipelines import paths
from pipelines.errors import SourceError, StoreError, UsageError
from pipelines.money import pusd_to_usd_str
from pipelines.types import Source
from producer import intake, runs, uploads
from producer.api import ask, events, results, upload
from producer.api.ask import Asked
from producer.api.auth import Caller
from producer.api.bodies import body_of
from producer.api.errors import ApiError, conflict, not_found, source_changed
from producer.api.files import listing
from producer.api.once import Once, digest_of
from producer.api.quota import admitted
from producer.api.state import Here, State
from producer.content import HEAD_BYTES
from producer.queue import now_ms
from producer.quotas import ticket_of
from producer.records import NOBODYS
from producer.runs import RunView
from producer.sources import estimate, inspect, lines

router = APIRouter(prefix="/v1/runs", tags=["runs"])

ORIGIN = "api"


class Content(NamedTuple):
    """A source that is written, with about how many rows and bytes it has."""

    source: Source
    rows: int
    size_bytes: int


@router.post("", openapi_extra=ask.document(form=True))
async def create(request: Request, here: Here, caller: Caller) -> dict[str, Any]:
    """A run of prompts, of an uploaded file or of a file that comes with it; under way when this returns."""
    is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    at_ms = await now_ms(here.redis)
    if not is_form:
        body = await body_of(request, here.settings.api.max_body_bytes)
        asked = ask.of_body(here, caller.client, body)
        return shown(await _made(Once.of(request, here, caller.client, digest_of(body)), at_ms, asked))
    form = await upload.receive(request, here.store, intake.private_run_id(at_ms))
    try:
        asked = ask.of_form(here, caller.client, form)
        return shown(await _made(Once.of(request, here, caller.client, form.digest), at_ms, asked))
    finally:
        await upload.discard(here.store, form)  # the run has its own


@router.get("")
async def list_runs(
    here: Here, caller: Caller, after: str = "", limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> dict[str, Any]:
    """The caller's runs, newest first, those of its schedules and of the command line included."""
    found = await runs.page(here.redis, here.keys, caller.client, after[:100], limit)
    if found is None:
        raise ApiError(400, f"Invalid 'after': '{after[:100]}' is no run id.", code="invalid_value", param="after")
    page, more = found
    return listing([shown(view) for view in page if not _is_batch(view)], more) | _ends(page)


@router.get("/{run_id}")
async def retrieve(run_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """One run, as it is now."""
    return shown(await mine(here, caller.client, run_id))


@router.get("/{run_id}/results", response_class=Response, responses=results.DOCUMENT)
async def get_results(run_id: str, here: Here, caller: Caller, format: results.Format = "jsonl") -> Response:  # noqa: A002
    """The rows, in input order; of a run under way those that are settled so far, in no order."""
    return await results.respond(here, await mine(here, caller.client, run_id), format)


@router.get("/{run_id}/events", response_class=Response, responses=events.DOCUMENT)
async def get_events(run_id: str, here: Here, caller: Caller) -> Response:
    """Server-sent events: `progress` with the run whenever it changed, and `end` with the run as it ended."""
    return events.follow(here, caller.client, await mine(here, caller.client, run_id), shown)


@router.post("/{run_id}/cancel")
async def cancel(run_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """Ends a run: what was answered is kept. Twice is once; one that has ended otherwise cannot be cancelled."""
    view = await mine(here, caller.client, run_id)
    if view.ended and view.status != "cancelled":
        raise conflict(f"Cannot cancel a run with status '{view.status}'.")
    return shown(view if view.ended else await intake.cancel(here.redis, here.keys, run_id))


@router.post("/{run_id}/retry")
async def retry(run_id: str, here: Here, caller: Caller) -> dict[str, Any]:
    """Asks the failed rows of an ended run again."""
    view = await mine(here, caller.client, run_id)
    if not view.ended:
        raise conflict(f"Cannot retry a run with status '{view.status}'.")
    try:
        async with admitted(here, caller.client, view.failed, 0, ticket=ticket_of(run_id, view.generation + 1)):
            again = await intake.retry(here.redis, here.keys, here.records, run_id, await now_ms(here.redis))
    except UsageError as error:
        raise conflict(f"Cannot retry this run: {error}.") from None
    except SourceError as error:
        raise source_changed("run", error) from None
    return shown(again)


async def mine(here: State, client: str, run_id: str) -> RunView:
    """The client's run, or the 404 that everybody gets for any other."""
    found = await _find(here, client, run_id)
    if found is None:
        raise not_found("run", run_id)
    return found


async def _find(here: State, client: str, run_id: str) -> RunView | None:
    """By Redis, or for a run that ended before this Redis began, by its record. Somebody else's run is looked for as long
    as one that does not exist."""
    fields = await runs.fields_of(here.redis, here.keys, run_id)
    if fields.get("client") == client:
        view: RunView | None = runs.view(run_id, fields)
    else:
        record = await asyncio.to_thread(here.records.read, NOBODYS if fields else run_id)
        view = runs.of_record(record) if record is not None and record.get("summary") else None
    return view if view is not None and view.client == client and not _is_batch(view) else None


def shown(view: RunView) -> dict[str, Any]:
    """A run as its client sees it; money as decimal text, times in unix seconds. Figures are exact when it has ended."""
    return {
        "id": view.run_id,
        "object": "run",
        "status": view.status,
        "created_at": view.created_ms // 1000,
        "deadline_at": _seconds(view.deadline_ms),
        "finished_at": _seconds(view.finished_ms),
        "rows": view.total,
        "ok": view.ok,
        "duplicate": view.reused,
        "invalid": view.invalid,
        "failed": view.failed,
        "refused": view.refused,
        "unanswered": max(0, view.total - view.done),
        "calls": view.calls,
        "local_calls": view.local_calls,
        "cloud_calls": view.cloud_calls,
        "provider_batch_calls": view.provider_batch_calls,
        "cost_usd": pusd_to_usd_str(view.cost_pusd),
        "avoided_usd": pusd_to_usd_str(view.avoided_pusd),
        "waiting_for": view.blocked or None,
        "lacks": None if view.ended else view.lacks,
        "error": view.error or None,
        "metadata": view.metadata,
    }


def _seconds(at_ms: int | None) -> int | None:
    return at_ms // 1000 if at_ms else None


def _is_batch(view: RunView) -> bool:
    return view.origin.startswith("batch ")


def _ends(page: list[RunView]) -> dict[str, Any]:
    """Where to go on: runs that are not shown count too."""
    return {"first_id": page[0].run_id, "last_id": page[-1].run_id} if page else {}


# -- from a request to a registered run --------------------------------------------------------------------------------


async def _made(once: Once, at_ms: int, asked: Asked) -> RunView:
    """The run that is asked for, or the one that the first request with its key made."""
    here, client = once.here, once.client
    run_id = await once.reserve(intake.private_run_id(at_ms))
    async with once.alone(run_id):
        if (known := await _find(here, client, run_id)) is not None:
            return known
        name = await _write(here, client, run_id, asked)
        try:
            await _register(here, client, run_id, asked, await asyncio.to_thread(look, here.store.path(name)))
        except (ApiError, StoreError):  # of other trouble nobody knows whether the run is there and reads it
            await asyncio.to_thread(here.store.delete, name)
            raise
    await once.made(run_id)
    return await runs.get(here.redis, here.keys, run_id)


async def _write(here: State, client: str, run_id: str, asked: Asked) -> str:
    """The run's own source file; its name."""
    if asked.prompts is not None:
        name = paths.upload(run_id, "jsonl")
        await asyncio.to_thread(_write_rows, here, name, ask.rows(asked.prompts))
        return name
    if asked.form is not None:
        name = paths.upload(run_id, asked.form.kind)
        await asyncio.to_thread(here.store.copy, asked.form.name, name)
        return name
    file = await uploads.get(here.redis, here.keys, client, asked.file_id or "")
    if file is None:
        raise not_found("file", asked.file_id or "", "file_id")
    name = paths.upload(run_id, file.form)
    try:
        await asyncio.to_thread(here.store.copy, file.name, name)
    except FileNotFoundError:
        raise not_found("file", asked.file_id or "", "file_id") from None
    return name


def _write_rows(here: State, name: str, lines: Iterable[bytes]) -> None:
    with here.store.create(name) as out:
        out.writelines(lines)


def look(path: str) -> Content:
    """A source file as it is; ApiError for what can be seen to be none. Blocking."""
    try:
        source = inspect(path)
        rows, size_bytes = estimate(source)
        if source.format == "jsonl" and size_bytes >= HEAD_BYTES:  # a quota is not to be fooled by the first MiB
            rows = max(1, lines(source))
        return Content(source, rows, size_bytes)
    except SourceError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ApiError(400, f"The file cannot be run: {reason}.", code="invalid_file_format", param="file") from None


async def _register(here: State, client: str, run_id: str, asked: Asked, content: Content) -> None:
    async with admitted(here, client, content.rows, content.size_bytes, ticket=ticket_of(run_id, 0)):
        await intake.register_as(
            here.redis,
            here.keys,
            here.records,
            run_id,
            client=client,
            sources=(content.source,),
            options=asked.options,
            now_ms=await now_ms(here.redis),
            origin=ORIGIN,
            estimate=(content.rows, content.size_bytes),
            fresh=asked.terms.fresh,
            metadata=asked.terms.metadata,
        )
