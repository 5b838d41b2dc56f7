"""Anthropic's message batches over the batch desk; counts stay with `processing` until the whole batch has ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from worker.simulator.core.answers import Ask
from worker.simulator.core.anthropic_shape import error_body, fail, message_body, read_message
from worker.simulator.core.batches import Desk, Job, Line, desk
from worker.simulator.core.faults import PROBLEMS, Problem
from worker.simulator.core.generate import Answer, client_key
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.server import Server

PATH = "/v1/messages/batches"


async def create(server: Server, request: Request) -> Reply:
    """POST /v1/messages/batches."""
    if server.config.api_key is not None and client_key(request) != server.config.api_key:
        return fail(server, PROBLEMS["401"])
    try:
        rows = msgspec.json.decode(request.body, type=dict[str, Any])["requests"]
        ids = [str(row["custom_id"]) for row in rows]
        bodies = [msgspec.json.encode(row["params"]) for row in rows]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        return _bad(server, f"requests: {error}")
    if not ids or len(set(ids)) != len(ids) or len(ids) > 100_000:
        return _bad(server, "requests: custom_id must be unique" if ids else "requests: at least one is required")
    # Parameters are looked at later: a wrong one ends as an errored line.
    version = request.headers.get("anthropic-version", "")
    lines = [Line(custom_id, read_message(body, version)) for custom_id, body in zip(ids, bodies, strict=True)]
    about = {"host": request.headers.get("host", "")}
    work = desk(server)
    job = work.create(lines, prefix="msgbatch_", key=client_key(request), about=about)
    if isinstance(job, Problem):
        return fail(server, job)
    return job.told(json_reply(_batch(work, job)))


async def list_batches(server: Server, request: Request) -> Reply:
    """GET /v1/messages/batches, the newest first."""
    work, asked = desk(server), request.parameters()
    work.settle()
    ids = list(reversed(work.jobs))
    start = ids.index(asked["after_id"]) + 1 if asked.get("after_id") in work.jobs else 0
    limit = int(asked["limit"]) if asked.get("limit", "").isdigit() else 20
    data = [_batch(work, work.jobs[identity]) for identity in ids[start : start + limit]]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return json_reply({"data": data, **ends, "has_more": len(ids) > start + limit})


async def get_batch(server: Server, request: Request) -> Reply:
    """GET /v1/messages/batches/{id}."""
    work = desk(server)
    job = work.get(request.args["id"])
    return fail(server, PROBLEMS["404"]) if job is None else json_reply(_batch(work, job))


async def cancel(server: Server, request: Request) -> Reply:
    """POST /v1/messages/batches/{id}/cancel."""
    work = desk(server)
    job = work.get(request.args["id"])
    if job is None:
        return fail(server, PROBLEMS["404"])
    work.cancel(job)
    return json_reply(_batch(work, job))


async def delete(server: Server, request: Request) -> Reply:
    """DELETE /v1/messages/batches/{id}: ended ones only."""
    work = desk(server)
    job = work.get(request.args["id"])
    if job is None:
        return fail(server, PROBLEMS["404"])
    if _status(work, job) != "ended":
        return _bad(server, "the batch has not ended; cancel it first")
    del work.jobs[job.id]
    return json_reply({"id": request.args["id"], "type": "message_batch_deleted"})


async def results(server: Server, request: Request) -> Reply:
    """GET /v1/messages/batches/{id}/results as JSONL."""
    work = desk(server)
    job = work.get(request.args["id"])
    if job is None or _status(work, job) != "ended":
        return fail(server, PROBLEMS["404"])
    body = b"".join(line + b"\n" for line in _results(server, work, job))
    return Reply(body=body, content_type="application/x-jsonl")


def _results(server: Server, work: Desk, job: Job) -> Iterator[bytes]:
    for rank, result in enumerate(job.results):
        line = job.named(rank)
        if isinstance(result, Answer) and isinstance(line.ask, Ask):
            shown: dict[str, Any] = {"type": "succeeded", "message": message_body(server, line.ask, result, "batch")}
        else:
            problem = result if isinstance(result, Problem) else PROBLEMS["500"]
            shown = {"type": "errored", "error": error_body(problem)}
        encoded = msgspec.json.encode({"custom_id": line.custom_id, "result": shown})
        yield encoded[: len(encoded) // 2] if job.kind == "bad_line" and rank == 0 else encoded
    kind = _undone(work, job)
    for rank in range(len(job.results), len(job.lines)):
        line = job.lines[job.order[rank]]
        if kind == "errored":
            yield msgspec.json.encode(
                {"custom_id": line.custom_id, "result": {"type": kind, "error": error_body(PROBLEMS["500"])}}
            )
        else:
            yield msgspec.json.encode({"custom_id": line.custom_id, "result": {"type": kind}})


def _undone(work: Desk, job: Job) -> str:
    return {"cancelled": "canceled", "expired": "expired"}.get(job.state(work.now_s()), "errored")


def _status(work: Desk, job: Job) -> str:
    state = job.state(work.now_s())
    return {
        "cancelling": "canceling",
        "validating": "in_progress",
        "in_progress": "in_progress",
        "finalizing": "in_progress",
    }.get(state, "ended")


def _batch(work: Desk, job: Job) -> dict[str, Any]:
    status, timing = _status(work, job), job.timing
    ended = status == "ended"
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    if ended:
        counts["succeeded"] = sum(isinstance(result, Answer) for result in job.results)
        counts["errored"] = len(job.results) - counts["succeeded"]
        counts[_undone(work, job)] += len(job.lines) - len(job.results)
    else:
        counts["processing"] = len(job.lines)
    cancelled_s = job.cancelled_s
    ended_s = min(timing.done_s, timing.expires_s, (cancelled_s or timing.done_s) + timing.cancel_takes_s)
    return {
        "id": job.id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": counts,
        "created_at": _moment(job, timing.created_s),
        "expires_at": _moment(job, timing.expires_s),
        "ended_at": _moment(job, ended_s) if ended else None,
        "cancel_initiated_at": _moment(job, cancelled_s) if cancelled_s is not None else None,
        "archived_at": None,
        "results_url": f"http://{job.about['host']}{PATH}/{job.id}/results" if ended else None,
    }


def _moment(job: Job, loop_s: float) -> str:
    return datetime.fromtimestamp(job.unix_s(loop_s), UTC).isoformat().replace("+00:00", "Z")


def _bad(server: Server, message: str) -> Reply:
    return fail(server, msgspec.structs.replace(PROBLEMS["400"], message=message))


ROUTES = {
    ("POST", PATH): create,
    ("GET", PATH): list_batches,
    ("GET", f"{PATH}/{{id}}"): get_batch,
    ("POST", f"{PATH}/{{id}}/cancel"): cancel,
    ("DELETE", f"{PATH}/{{id}}"): delete,
    ("GET", f"{PATH}/{{id}}/results"): results,
}
