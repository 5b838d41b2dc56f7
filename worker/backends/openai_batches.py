"""OpenAI's Batches: lines in a file, results in two, in any order; tagged by its metadata. Also what is compatible with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.config.sections import Target
from pipelines.types import Failure
from worker.backends import looks
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
    counted,
    each_line,
    garbled,
    is_id,
    number,
    pages,
    results_of,
    stopped,
    text,
)
from worker.backends.exchange import Response

if TYPE_CHECKING:
    from worker.backends.http import Web

TAG = "spillway_batch"
ENDED = frozenset({"completed", "expired", "cancelled"})
OPEN = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
LISTING = Listing(lambda row: number(row.get("created_at")))
NEVER_RUN = frozenset({"batch_expired", "batch_cancelled", "batch_failed"})


class Ending(msgspec.Struct, frozen=True):
    """How a line was answered; the body stays as it came."""

    status_code: int
    body: msgspec.Raw


class Said(msgspec.Struct, frozen=True):
    code: str | None = None


class OutLine(msgspec.Struct, frozen=True):
    custom_id: str
    response: Ending | None = None
    error: Said | None = None


_OUT_LINE = msgspec.json.Decoder(OutLine)


class OpenAIBatches:
    """See `BatchApi`."""

    most_lines = 50_000
    most_bytes = 190 << 20
    create_s = SHORT_S

    async def stage(self, web: Web, target: Target, tag: str, lines: Sequence[Line]) -> bytes | Failure:
        endpoint = f"/v1{lines[0].url.removeprefix(target.base_url or '')}"
        head = b'","method":"POST","url":' + msgspec.json.encode(endpoint) + b',"body":'
        rows = b"".join(b'{"custom_id":"' + line.custom_id.encode() + head + line.body + b"}\n" for line in lines)
        kind, body = form(tag, rows)
        headers = {**looks.bearer(target), "content-type": kind}
        file = answer(await web.post(f"{target.base_url}/files", headers, body, LONG_S))
        if isinstance(file, Failure):
            return file
        if not is_id(file.get("id")):
            return garbled("an upload without an id")
        return msgspec.json.encode({
            "input_file_id": file["id"], "endpoint": endpoint, "completion_window": "24h", "metadata": {TAG: tag},
        })  # fmt: skip

    async def create(self, web: Web, target: Target, staged: bytes) -> Remote | Failure:
        headers = {**looks.bearer(target), "content-type": "application/json"}
        return _remote(answer(await web.post(f"{target.base_url}/batches", headers, staged, self.create_s)))

    async def find(self, web: Web, target: Target, sought: Sought) -> Remote | Failure | None:
        async for rows in pages(web, f"{target.base_url}/batches", looks.bearer(target), sought, LISTING):
            if isinstance(rows, Failure):
                return rows
            for row in rows:
                tags = row.get("metadata")
                if type(tags) is dict and tags.get(TAG) == sought.tag:
                    return _remote(row)
        return None

    async def look(self, web: Web, target: Target, identity: str) -> Remote | Failure:
        return _remote(answer(await web.get(f"{target.base_url}/batches/{identity}", looks.bearer(target))))

    async def cancel(self, web: Web, target: Target, identity: str) -> Failure | None:
        headers = {**looks.bearer(target), "content-type": "application/json"}
        return stopped(answer(await web.post(f"{target.base_url}/batches/{identity}/cancel", headers, b"{}")))

    async def results(self, web: Web, target: Target, remote: Remote) -> Results | Failure:
        found: list[Result | None] = []
        for file in remote.handles:
            url = f"{target.base_url}/files/{file}/content"
            data = content(await web.get(url, looks.bearer(target), LONG_S))
            if isinstance(data, Failure):
                return data
            found += each_line(data, _result)
        return results_of(found)


API = OpenAIBatches()


def form(tag: str, rows: bytes) -> tuple[str, bytes]:
    """Content type and body of the upload; the boundary cannot occur in JSON lines, which hold no bare line break."""
    edge = f"--{tag}"
    head = (
        f'{edge}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'{edge}\r\ncontent-disposition: form-data; name="file"; filename="{tag}.jsonl"\r\n'
        "content-type: application/jsonl\r\n\r\n"
    )
    return f"multipart/form-data; boundary={tag}", head.encode() + rows + f"\r\n{edge}--\r\n".encode()


def _remote(data: Any) -> Remote | Failure:
    if isinstance(data, Failure):
        return data
    identity, status = data.get("id"), text(data.get("status"))
    if not is_id(identity) or status not in ENDED | OPEN | {"failed"}:
        return garbled(f"a batch without id, or of status {status[:40]!r}")
    files = (data.get("output_file_id"), data.get("error_file_id"))
    if status == "failed":
        first = next(iter(looks.table(data.get("errors"), "data")), {})
        return Remote(identity, "failed", text(first.get("code")) or "batch_failed", text(first.get("message"))[:300])
    code = status if status in ("expired", "cancelled") else ""
    handles, answered = tuple(filter(is_id, files)), counted(data, "completed")
    return Remote(identity, "ended" if status in ENDED else "open", code, "", handles, answered)


def _result(raw: bytes) -> Result:
    line = _OUT_LINE.decode(raw)
    if line.response is not None:
        return Result(line.custom_id, Response(line.response.status_code, {}, bytes(line.response.body)))
    if line.error is not None and line.error.code in NEVER_RUN:
        return Result(line.custom_id, NotRun(line.error.code))
    return Result(line.custom_id, Response(500, {}, raw))  # an error of its own, instead of an answer
