"""Gemini's batches over the batch desk: a long-running operation with its state in the metadata."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from worker.simulator.core.answers import Ask
from worker.simulator.core.batches import Desk, Job, Line, desk
from worker.simulator.core.faults import PROBLEMS, Problem
from worker.simulator.core.gemini_shape import content_body, error_body, fail, read_content
from worker.simulator.core.generate import Answer, client_key
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.server import Server

STATES = {
    "validating": "PENDING", "in_progress": "RUNNING", "finalizing": "RUNNING", "completed": "SUCCEEDED", "failed": "FAILED",
    "expired": "EXPIRED", "cancelling": "RUNNING", "cancelled": "CANCELLED",
}  # fmt: skip
MAX_INLINE_BYTES = 20 * 1024 * 1024
LONG = 160
"""Bytes that a page's token stands for."""


async def start_upload(server: Server, request: Request) -> Reply:
    """POST /upload/v1beta/files: the first step of a resumable upload."""
    uploads = desk(server).files
    identity = f"files/{len(uploads) + 1:08d}"
    uploads[identity] = bytearray()
    url = f"http://{request.headers.get('host', '')}/upload/v1beta/{identity}"
    return Reply(body=b"{}", headers=(("x-goog-upload-url", url), ("x-goog-upload-status", "active")))


async def take_upload(server: Server, request: Request) -> Reply:
    """POST to the address of an upload: one piece, or the last."""
    identity = f"files/{request.args['id']}"
    kept = desk(server).files.get(identity)
    if not isinstance(kept, bytearray):
        return fail(server, PROBLEMS["404"])
    kept += request.body
    is_last = "finalize" in request.headers.get("x-goog-upload-command", "")
    file = {"name": identity, "mimeType": "application/jsonl", "sizeBytes": str(len(kept)), "state": "ACTIVE",
            "uri": f"http://{request.headers.get('host', '')}/v1beta/{identity}"}  # fmt: skip
    status = (("x-goog-upload-status", "final" if is_last else "active"),)
    return json_reply({"file": file} if is_last else {}, headers=status)


async def download(server: Server, request: Request) -> Reply:
    """GET /download/v1beta/files/{id}:download: what a batch has put out, or an upload."""
    work = desk(server)
    job = work.get(f"batches/{request.args['id'].removeprefix('batch-')}")
    kept = work.files.get(f"files/{request.args['id']}")
    if job is not None:
        lines = _results(server, job, work.now_s())
        kept = b"".join(msgspec.json.encode({"key": line.custom_id, **result}) + b"\n" for line, result in lines)
    return fail(server, PROBLEMS["404"]) if kept is None else Reply(body=bytes(kept), content_type="application/jsonl")


async def create(server: Server, request: Request) -> Reply:
    """POST /v1beta/models/{model}:batchGenerateContent, inline or with a file."""
    if server.config.api_key is not None and client_key(request) != server.config.api_key:
        return fail(server, PROBLEMS["401"])
    work, model = desk(server), request.args["model"]
    try:
        batch = msgspec.json.decode(request.body, type=dict[str, Any])["batch"]
        source = batch.get("inputConfig") or batch.get("input_config") or {}
        name = source.get("fileName") or source.get("file_name")
        if name is None and len(request.body) > MAX_INLINE_BYTES:
            return fail(server, msgspec.structs.replace(PROBLEMS["400"], message="inline requests must be below 20 MB"))
        lines = list(_from_file(work.files[name], model) if name else _inline(source["requests"]["requests"], model))
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        return fail(server, msgspec.structs.replace(PROBLEMS["400"], message=f"Invalid batch: {error}"))
    about = {"model": model, "display": batch.get("displayName") or batch.get("display_name"), "file": bool(name)}
    job = work.create(lines, prefix="batches/", key=client_key(request), about=about)
    if isinstance(job, Problem):
        return fail(server, job)
    return job.told(json_reply(_operation(server, work, job)))


async def list_batches(server: Server, request: Request) -> Reply:
    """GET /v1beta/batches."""
    work, asked = desk(server), request.parameters()
    work.settle()
    jobs = list(reversed(work.jobs.values()))
    try:
        start = _start(asked["pageToken"]) if "pageToken" in asked else 0
    except ValueError:
        return fail(server, msgspec.structs.replace(PROBLEMS["400"], message="Invalid page token."))
    size = int(asked["pageSize"]) if asked.get("pageSize", "").isdigit() else 50
    page: dict[str, Any] = {"operations": [_operation(server, work, job) for job in jobs[start : start + size]]}
    return json_reply({**page, "nextPageToken": _token(start + size)} if len(jobs) > start + size else page)


MARK = b"\xfb\xff"


def _token(start: int) -> str:
    """As the real ones: base64 with all the characters that have another meaning in an address."""
    return b64encode(MARK + f"{start:08d}".encode() + b"~" * (LONG - 10)).decode()


def _start(token: str) -> int:
    told = b64decode(token, validate=True)
    if not told.startswith(MARK):
        raise ValueError("not one of ours")
    return int(told[2:10])


async def get_batch(server: Server, request: Request) -> Reply:
    """GET /v1beta/batches/{id}."""
    work = desk(server)
    job = work.get(f"batches/{request.args['id']}")
    return fail(server, PROBLEMS["404"]) if job is None else json_reply(_operation(server, work, job))


async def cancel(server: Server, request: Request) -> Reply:
    """POST /v1beta/batches/{id}:cancel."""
    work = desk(server)
    job = work.get(f"batches/{request.args['id']}")
    if job is None:
        return fail(server, PROBLEMS["404"])
    work.cancel(job)
    return json_reply({})


async def delete(server: Server, request: Request) -> Reply:
    """DELETE /v1beta/batches/{id}."""
    gone = desk(server).jobs.pop(f"batches/{request.args['id']}", None)
    return fail(server, PROBLEMS["404"]) if gone is None else json_reply({})


def _inline(rows: list[dict[str, Any]], model: str) -> Iterator[Line]:
    for number, row in enumerate(rows):
        metadata = row.get("metadata") or {}
        yield Line(str(metadata.get("key", number)), read_content(msgspec.json.encode(row["request"]), model), metadata)


def _from_file(data: bytes, model: str) -> Iterator[Line]:
    for raw in bytes(data).splitlines():
        if raw.strip():
            row = msgspec.json.decode(raw)
            yield Line(str(row["key"]), read_content(msgspec.json.encode(row["request"]), model), {})


def _operation(server: Server, work: Desk, job: Job) -> dict[str, Any]:
    now_s, timing = work.now_s(), job.timing
    state = job.state(now_s)
    shown, answered = STATES[state], sum(isinstance(result, Answer) for result in job.results)
    ended = state in ("completed", "expired", "cancelled", "failed")
    metadata: dict[str, Any] = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "name": job.id,
        "model": f"models/{job.about['model']}",
        "displayName": job.about["display"],
        "state": f"BATCH_STATE_{shown}",
        "createTime": _moment(job, timing.created_s),
        "updateTime": _moment(job, now_s),
        "endTime": _moment(job, min(timing.done_s, timing.expires_s, now_s)) if ended else None,
        "batchStats": {
            "requestCount": str(len(job.lines)),
            "pendingRequestCount": str(len(job.lines) - len(job.results)),
            "successfulRequestCount": str(answered),
            "failedRequestCount": str(len(job.results) - answered),
        },
    }
    operation: dict[str, Any] = {"name": job.id, "metadata": metadata, "done": ended}
    if ended and state != "failed":
        output = _output(server, job, now_s)
        metadata["output"] = output
        operation["response"] = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            **output,
        }
    elif state == "failed":
        operation["error"] = {
            "code": 8 if job.kind == "token_limit" else 3,
            "message": "The batch could not be started.",
        }
    return operation


def _output(server: Server, job: Job, now_s: float) -> dict[str, Any]:
    if job.about["file"]:
        return {"responsesFile": f"files/batch-{job.id.removeprefix('batches/')}"}
    results = [
        {**result, **({"metadata": line.about} if line.about else {})} for line, result in _results(server, job, now_s)
    ]
    return {"inlinedResponses": {"inlinedResponses": results}}


def _results(server: Server, job: Job, now_s: float) -> Iterator[tuple[Line, dict[str, Any]]]:
    """In the order of the requests, as is documented; keys are the client's own."""
    code = {"cancelled": (1, "Cancelled."), "expired": (4, "Expired.")}.get(job.state(now_s), (13, "Not executed."))
    by_line = {job.order[rank]: (rank, result) for rank, result in enumerate(job.results)}
    for index, line in enumerate(job.lines):
        if index not in by_line:
            yield line, {"error": {"code": code[0], "message": code[1]}}
            continue
        rank, result = by_line[index]
        if isinstance(result, Answer) and isinstance(line.ask, Ask):
            yield job.named(rank), {"response": content_body(server, line.ask, result)}
        else:
            error = error_body(result if isinstance(result, Problem) else PROBLEMS["500"])["error"]
            yield job.named(rank), {"error": {"code": 13, "message": error["message"]}}


def _moment(job: Job, loop_s: float) -> str:
    return datetime.fromtimestamp(job.unix_s(loop_s), UTC).isoformat().replace("+00:00", "Z")


ROUTES = {
    ("POST", "/v1beta/models/{model}:batchGenerateContent"): create,
    ("GET", "/v1beta/batches"): list_batches,
    ("GET", "/v1beta/batches/{id}"): get_batch,
    ("POST", "/v1beta/batches/{id}:cancel"): cancel,
    ("DELETE", "/v1beta/batches/{id}"): delete,
    ("POST", "/upload/v1beta/files"): start_upload,
    ("POST", "/upload/v1beta/files/{id}"): take_upload,
    ("GET", "/v1beta/files/{id}:download"): download,
    ("GET", "/download/v1beta/files/{id}:download"): download,
}
