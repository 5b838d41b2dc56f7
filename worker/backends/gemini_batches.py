"""Gemini's batches: lines by key in an uploaded file, results in another; tagged by their display name.

Inline requests would be less work, but their results have been seen without keys and in the wrong order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from pipelines.config.sections import Target
from pipelines.types import Failure
from worker.backends import failures
from worker.backends.batching import (
    LONG_S,
    SHORT_S,
    Line,
    Listing,
    NotRun,
    Remote,
    Result,
    Results,
    Sought,
    answer,
    content,
    each_line,
    garbled,
    is_id,
    moment_s,
    pages,
    results_of,
    stopped,
    text,
)
from worker.backends.exchange import Response
from worker.backends.lenient import decode

if TYPE_CHECKING:
    from worker.backends.http import Web

OPEN = frozenset({"QUEUED", "PENDING", "RUNNING", "CANCELLING", "UNSPECIFIED"})
ENDED = {"SUCCEEDED": "", "PARTIALLY_SUCCEEDED": "", "CANCELLED": "cancelled", "EXPIRED": "expired"}
FULL = (8, 429)
"""RESOURCE_EXHAUSTED, as gRPC and as HTTP say it: the quota of what may be enqueued is used up."""
GRPC = {
    3: (400, "INVALID_ARGUMENT"), 5: (404, "NOT_FOUND"), 7: (403, "PERMISSION_DENIED"), 8: (429, "RESOURCE_EXHAUSTED"),
    9: (400, "FAILED_PRECONDITION"), 14: (503, "UNAVAILABLE"), 16: (401, "UNAUTHENTICATED"),
}  # fmt: skip
"""The codes of a line's error, and how a call would have had them; others are the provider's own trouble."""
INTERNAL = (500, "INTERNAL")
NEVER_RUN = {1: "batch_cancelled", 4: "batch_expired"}


class Trouble(msgspec.Struct, frozen=True):
    code: int = 13
    message: str = ""


NOTHING = msgspec.Raw(b"null")


class OutLine(msgspec.Struct, frozen=True):
    key: str
    response: msgspec.Raw = NOTHING
    error: Trouble | None = None


_OUT_LINE = msgspec.json.Decoder(OutLine)


class GeminiBatches:
    """See `BatchApi`."""

    most_lines = 100_000
    most_bytes = 512 << 20
    create_s = SHORT_S

    async def stage(self, web: Web, target: Target, tag: str, lines: Sequence[Line]) -> bytes | Failure:
        rows = b"".join(b'{"key":"' + each.custom_id.encode() + b'","request":' + each.body + b"}\n" for each in lines)
        name = await _upload(web, target, tag, rows)
        if isinstance(name, Failure):
            return name
        return msgspec.json.encode({"batch": {"displayName": tag, "inputConfig": {"fileName": name}}})

    async def create(self, web: Web, target: Target, staged: bytes) -> Remote | Failure:
        url = f"{target.base_url}/models/{target.model.removeprefix('models/')}:batchGenerateContent"
        return _remote(answer(await web.post(url, _headers(target), staged, self.create_s)))

    async def find(self, web: Web, target: Target, sought: Sought) -> Remote | Failure | None:
        async for rows in pages(web, f"{target.base_url}/batches", _headers(target), sought, LISTING):
            if isinstance(rows, Failure):
                return rows
            for row in rows:
                if _about(row).get("displayName") == sought.tag:
                    return _remote(row)
        return None

    async def look(self, web: Web, target: Target, identity: str) -> Remote | Failure:
        return _remote(answer(await web.get(f"{target.base_url}/batches/{identity}", _headers(target))))

    async def cancel(self, web: Web, target: Target, identity: str) -> Failure | None:
        return stopped(answer(await web.post(f"{target.base_url}/batches/{identity}:cancel", _headers(target), b"{}")))

    async def results(self, web: Web, target: Target, remote: Remote) -> Results | Failure:
        found: list[Result | None] = []
        for file in remote.handles:
            url = f"{target.base_url}/files/{file}:download?alt=media"
            data = content(await web.get(url, _headers(target), LONG_S))
            if isinstance(data, Failure):
                return data
            found += each_line(data, _result)
        return results_of(found)


API = GeminiBatches()


def _headers(target: Target) -> dict[str, str]:
    return {"content-type": "application/json", "x-goog-api-key": target.key or ""}


def _version(target: Target) -> str:
    return urlsplit(target.base_url or "").path


def _root(target: Target) -> str:
    return (target.base_url or "").removesuffix(_version(target))


async def _upload(web: Web, target: Target, tag: str, rows: bytes) -> str | Failure:
    """Its two steps: an address, then the bytes. The address must be the server's own: the key goes with them."""
    start = {
        **_headers(target), "x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start",
        "x-goog-upload-header-content-length": str(len(rows)), "x-goog-upload-header-content-type": "application/jsonl",
    }  # fmt: skip
    url = f"{_root(target)}/upload{_version(target)}/files"
    begun = await web.post(url, start, msgspec.json.encode({"file": {"displayName": tag}}))
    if isinstance(begun, Failure) or begun.status != 200:
        return begun if isinstance(begun, Failure) else failures.failure(begun, failures.told(decode(begun.body)))
    where = str(begun.headers.get("x-goog-upload-url", ""))
    if urlsplit(where)[:2] != urlsplit(target.base_url or "")[:2]:
        return garbled("an upload without an address of its own server")
    command = {**_headers(target), "x-goog-upload-offset": "0", "x-goog-upload-command": "upload, finalize"}
    done = answer(await web.post(where, command, rows, LONG_S))
    if isinstance(done, Failure):
        return done
    name = text((done.get("file") or {}).get("name")) if type(done.get("file")) is dict else ""
    return name if is_id(name.removeprefix("files/")) else garbled("an upload without a name")


def _about(row: dict[str, Any]) -> dict[str, Any]:
    about = row.get("metadata")
    return about if type(about) is dict else {}


LISTING = Listing(lambda row: moment_s(_about(row).get("createTime")), "operations", "pageSize", "pageToken", True)


def _remote(data: Any) -> Remote | Failure:
    if isinstance(data, Failure):
        return data
    about = _about(data)
    identity = text(data.get("name")).removeprefix("batches/")
    state = text(about.get("state")).removeprefix("BATCH_STATE_").removeprefix("JOB_STATE_")
    if not is_id(identity) or state not in OPEN | ENDED.keys() | {"FAILED"}:
        return garbled(f"a batch without name, or of state {state[:40]!r}")
    if state == "FAILED":
        error = data.get("error")
        error = error if type(error) is dict else {}
        code = "token_limit_exceeded" if error.get("code") in FULL else "batch_failed"
        return Remote(identity, "failed", code, text(error.get("message"))[:300])
    places = (data.get("response"), about.get("output"))
    names = [text(each.get("responsesFile")) for each in places if type(each) is dict]
    file = next((name.removeprefix("files/") for name in names if is_id(name.removeprefix("files/"))), None)
    handles, answered = (file,) if file else (), _answered(about)
    return Remote(identity, "ended" if state in ENDED else "open", ENDED.get(state, ""), "", handles, answered)


def _answered(about: dict[str, Any]) -> int:
    """Its figures are text, as all of 64 bits."""
    stats = about.get("batchStats")
    said = str(stats.get("successfulRequestCount")) if type(stats) is dict else ""
    return int(said) if said.isdecimal() and len(said) < 10 else 0


def _result(raw: bytes) -> Result:
    line = _OUT_LINE.decode(raw)
    if bytes(line.response) != b"null":
        return Result(line.key, Response(200, {}, bytes(line.response)))
    error = line.error or Trouble()
    if error.code in NEVER_RUN:
        return Result(line.key, NotRun(NEVER_RUN[error.code]))
    status, name = GRPC.get(error.code, INTERNAL)
    body = {"error": {"code": status, "status": name, "message": error.message}}
    return Result(line.key, Response(status, {}, msgspec.json.encode(body)))
