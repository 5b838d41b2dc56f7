"""OpenAI's Batches over the batch desk: create, poll, cancel, and results in two files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from worker.simulator.core.answers import Ask
from worker.simulator.core.batches import Desk, Job, desk
from worker.simulator.core.chat import fail_chat
from worker.simulator.core.faults import Problem
from worker.simulator.core.generate import Answer, client_key
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.openai_lines import ENDPOINTS, bad, denied, line_error, missing, page, read_lines
from worker.simulator.core.server import Server

UNDONE = {"expired": "batch_expired", "cancelled": "batch_cancelled", "failed": "batch_failed"}
MAX_ERRORS = 50


async def create(server: Server, request: Request) -> Reply:
    """POST /v1/batches."""
    refused = denied(server, request)
    if refused:
        return refused
    try:
        body = msgspec.json.decode(request.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return bad("We could not parse the JSON body of your request.", None)
    endpoint, window = body.get("endpoint"), body.get("completion_window")
    if endpoint not in ENDPOINTS:
        return bad(
            f"Invalid value: '{endpoint}'. Supported values are: {', '.join(ENDPOINTS)}.", "endpoint", "invalid_value"
        )
    if window != "24h":
        return bad(
            f"Invalid value: '{window}' for completion_window. Supported values are: '24h'.", "completion_window"
        )
    kept = desk(server).files.get(str(body.get("input_file_id")))
    errors: list[dict[str, Any]] = []
    lines = list(read_lines(kept.data, str(endpoint), errors)) if kept else []
    if kept is None:
        errors.append(line_error("invalid_request", "Cannot find file or no access.", "file_id", None))
    if len(lines) > server.config.batch_max_requests:
        errors.append(
            line_error("too_many_tasks", f"Too many requests: at most {server.config.batch_max_requests}.", None, None)
        )
    about = {"body": body, "errors": errors[:MAX_ERRORS]}
    work = desk(server)
    job = work.create(lines, prefix="batch_", key=client_key(request), about=about, invalid=bool(errors))
    if isinstance(job, Problem):
        return fail_chat(server, job)
    return job.told(json_reply(_batch(work, job)))


async def list_batches(server: Server, request: Request) -> Reply:
    """GET /v1/batches, the newest first."""
    work = desk(server)
    work.settle()
    jobs, has_more = newest(work, request.parameters())
    return json_reply(page([_batch(work, job) for job in jobs], has_more=has_more))


def newest(work: Desk, asked: Mapping[str, str]) -> tuple[list[Job], bool]:
    """A page of batches, and whether there are more; `after` and `limit` say which."""
    ids = list(reversed(work.jobs))
    after = asked.get("after")
    start = ids.index(after) + 1 if after in work.jobs else 0
    limit = min(100, max(1, int(asked["limit"]) if asked.get("limit", "").isdigit() else 20))
    return [work.jobs[identity] for identity in ids[start : start + limit]], len(ids) > start + limit


async def get_batch(server: Server, request: Request) -> Reply:
    """GET /v1/batches/{id}."""
    work = desk(server)
    job = work.get(request.args["id"])
    return missing("batch", request.args["id"]) if job is None else json_reply(_batch(work, job))


async def cancel_batch(server: Server, request: Request) -> Reply:
    """POST /v1/batches/{id}/cancel."""
    work = desk(server)
    job = work.get(request.args["id"])
    if job is None:
        return missing("batch", request.args["id"])
    state = job.state(work.now_s())
    if state in ("completed", "failed", "expired"):
        message = f"Cannot cancel a batch with status '{state}'."
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
        return json_reply({"error": error}, 409, (("x-should-retry", "false"),))
    work.cancel(job)
    return json_reply(_batch(work, job))


def _batch(work: Desk, job: Job) -> dict[str, Any]:
    now_s, timing, body = work.now_s(), job.timing, job.about["body"]
    state = job.state(now_s)
    ended = state in ("completed", "expired", "cancelled")
    succeeded = sum(isinstance(result, Answer) for result in job.results)
    failed = len(job.results) - succeeded
    undone = len(job.lines) - len(job.results)
    errors = job.about["errors"] or [line_error(*_VALIDATION.get(job.kind, _VALIDATION["fail"]), None)]
    at: Mapping[str, float | None] = {
        "in_progress_at": timing.starts_s if state not in ("validating", "failed") else None,
        "finalizing_at": timing.worked_s if state in ("finalizing", "completed") else None,
        "completed_at": timing.done_s if state == "completed" else None,
        "failed_at": timing.starts_s if state == "failed" else None,
        "expired_at": timing.expires_s if state == "expired" else None,
        "expires_at": timing.expires_s,
        "cancelling_at": job.cancelled_s,
        "cancelled_at": (job.cancelled_s or 0) + timing.cancel_takes_s if state == "cancelled" else None,
    }
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": body["endpoint"],
        "errors": {"object": "list", "data": errors} if state == "failed" else None,
        "input_file_id": str(body.get("input_file_id")),
        "completion_window": "24h",
        "status": state,
        "output_file_id": f"file-out-{job.id}" if ended and succeeded else None,
        "error_file_id": f"file-err-{job.id}" if ended and (failed or undone) else None,
        "created_at": int(job.created_unix_s),
        **{name: None if moment is None else job.unix_s(moment) for name, moment in at.items()},
        "request_counts": {"total": len(job.lines), "completed": succeeded, "failed": failed},
        "metadata": body.get("metadata"),
        "usage": _usage(job) if ended else None,
    }


_VALIDATION = {
    "fail": ("invalid_request", "The batch could not be validated.", None),
    "token_limit": (
        "token_limit_exceeded",
        "Enqueued token limit reached. Please try again once some batches have ended.",
        None,
    ),
}


def _usage(job: Job) -> dict[str, Any]:
    usages = [result.usage for result in job.results if isinstance(result, Answer)]
    taken, written = sum(usage.input_tokens for usage in usages), sum(usage.output_tokens for usage in usages)
    return {
        "input_tokens": taken,
        "input_tokens_details": {"cached_tokens": sum(usage.cached_tokens for usage in usages)},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": sum(usage.reasoning_tokens for usage in usages)},
        "total_tokens": taken + written,
    }


def batch_file(server: Server, identity: str) -> tuple[str, str, bytes, int] | None:
    """Name, purpose, bytes and time of a file that a batch has put out."""
    work = desk(server)
    kind, _, batch = identity.removeprefix("file-").partition("-")
    job = work.get(batch) if kind in ("out", "err") else None
    if job is None or job.state(work.now_s()) not in ("completed", "expired", "cancelled"):
        return None
    lines = _outputs(server, job) if kind == "out" else _errors(server, job, work.now_s())
    data = b"".join(line + b"\n" for line in lines)
    return f"{batch}_{kind}.jsonl", "batch_output", data, job.unix_s(work.now_s())


def _outputs(server: Server, job: Job) -> Iterator[bytes]:
    _, shape = ENDPOINTS[job.about["body"]["endpoint"]]
    for rank, result in enumerate(job.results):
        line = job.named(rank)
        if isinstance(result, Answer) and isinstance(line.ask, Ask):
            encoded = msgspec.json.encode(_output_line(rank, job, line.custom_id, 200, shape(server, line.ask, result)))
            yield encoded[: len(encoded) // 2] if job.kind == "bad_line" and rank == 0 else encoded


def _errors(server: Server, job: Job, now_s: float) -> Iterator[bytes]:
    for rank, result in enumerate(job.results):
        if isinstance(result, Problem):
            body = msgspec.json.decode(fail_chat(server, result).body)
            yield msgspec.json.encode(_output_line(rank, job, job.named(rank).custom_id, result.status, body))
    code = UNDONE.get(job.state(now_s), "batch_failed")
    for rank in range(len(job.results), len(job.lines)):
        error = {"code": code, "message": "This request was not executed."}
        custom_id = job.lines[job.order[rank]].custom_id
        yield msgspec.json.encode(
            {"id": f"batch_req_{job.id}_{rank}", "custom_id": custom_id, "response": None, "error": error}
        )


def _output_line(rank: int, job: Job, custom_id: str, status: int, body: Any) -> dict[str, Any]:
    identity = f"batch_req_{job.id}_{rank}"
    response = {"status_code": status, "request_id": identity, "body": body}
    return {"id": identity, "custom_id": custom_id, "response": response, "error": None}
