"""Anthropic's Message Batches: lines inline, results as JSONL once all have ended. A batch has no place for a tag, so one whose
creation was lost is known by its time and its number of lines, and proven by the names of its lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.config.sections import Target
from pipelines.types import Failure
from worker.backends.anthropic import headers_of, root_of
from worker.backends.batching import (
    LONG_S,
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
    likely,
    moment_s,
    pages,
    proven,
    results_of,
    stopped,
    text,
)
from worker.backends.exchange import Response

if TYPE_CHECKING:
    from worker.backends.http import Web

LISTING = Listing(lambda row: moment_s(row.get("created_at")), after="after_id")
STATUS = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504,
    "overloaded_error": 529,
}  # fmt: skip
"""With which status a call would have had an error."""


class Ending(msgspec.Struct, frozen=True):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


class OutLine(msgspec.Struct, frozen=True):
    custom_id: str
    result: Ending


class Inner(msgspec.Struct, frozen=True):
    type: str = ""


class Wrapped(msgspec.Struct, frozen=True):
    error: Inner = Inner()


_OUT_LINE = msgspec.json.Decoder(OutLine)
_ERROR = msgspec.json.Decoder(Wrapped)


class AnthropicBatches:
    """See `BatchApi`."""

    most_lines = 100_000
    most_bytes = 240 << 20
    create_s = LONG_S

    async def stage(self, web: Web, target: Target, tag: str, lines: Sequence[Line]) -> bytes | Failure:
        rows = b",".join(
            b'{"custom_id":"' + each.custom_id.encode() + b'","params":' + each.body + b"}" for each in lines
        )
        return b'{"requests":[' + rows + b"]}"

    async def create(self, web: Web, target: Target, staged: bytes) -> Remote | Failure:
        return _remote(answer(await web.post(_url(target), headers_of(target), staged, self.create_s)))

    async def find(self, web: Web, target: Target, sought: Sought) -> Remote | Failure | None:
        listed = pages(web, _url(target), headers_of(target), sought, LISTING)
        found = await likely(listed, sought, LISTING, lambda row: _lines(row) == sought.lines, _remote)
        return found if isinstance(found, Failure) else await proven(self, web, target, sought, found)

    async def look(self, web: Web, target: Target, identity: str) -> Remote | Failure:
        return _remote(answer(await web.get(f"{_url(target)}/{identity}", headers_of(target))))

    async def cancel(self, web: Web, target: Target, identity: str) -> Failure | None:
        return stopped(answer(await web.post(f"{_url(target)}/{identity}/cancel", headers_of(target), b"{}")))

    async def results(self, web: Web, target: Target, remote: Remote) -> Results | Failure:
        """From the address that we know, whatever `results_url` says: the key goes nowhere else."""
        data = content(await web.get(f"{_url(target)}/{remote.id}/results", headers_of(target), LONG_S))
        return data if isinstance(data, Failure) else results_of(each_line(data, _result))


API = AnthropicBatches()


def _url(target: Target) -> str:
    return f"{root_of(target)}/messages/batches"


def _remote(data: Any) -> Remote | Failure:
    if isinstance(data, Failure):
        return data
    identity, status = data.get("id"), text(data.get("processing_status"))
    if not is_id(identity) or status not in ("in_progress", "canceling", "ended"):
        return garbled(f"a batch without id, or of status {status[:40]!r}")
    counts = data.get("request_counts")
    undone = {name: counts.get(name) for name in ("canceled", "expired")} if type(counts) is dict else {}
    code = next((ENDINGS[name] for name, count in undone.items() if count), "")
    return Remote(identity, "ended" if status == "ended" else "open", code, answered=counted(data, "succeeded"))


ENDINGS = {"canceled": "cancelled", "expired": "expired"}


def _lines(row: dict[str, Any]) -> int:
    counts = row.get("request_counts")
    return sum(each for each in counts.values() if type(each) is int) if type(counts) is dict else 0


def _result(raw: bytes) -> Result:
    line = _OUT_LINE.decode(raw)
    if line.result.type == "succeeded":
        return Result(line.custom_id, Response(200, {}, bytes(line.result.message)))
    if line.result.type in ENDINGS:
        return Result(line.custom_id, NotRun(f"batch_{ENDINGS[line.result.type]}"))
    error = bytes(line.result.error)
    return Result(line.custom_id, Response(STATUS.get(_ERROR.decode(error).error.type, 500), {}, error))
