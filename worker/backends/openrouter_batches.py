"""OpenRouter's batches: lines inline, results inline with what each has cost. A batch has no place for a tag: see Anthropic's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.config.sections import Target
from pipelines.types import Failure
from worker.backends import looks
from worker.backends.batching import (
    LONG_S,
    Line,
    Listing,
    Remote,
    Result,
    Results,
    Sought,
    answer,
    counted,
    garbled,
    is_id,
    likely,
    number,
    pages,
    proven,
    results_of,
    stopped,
    text,
)
from worker.backends.exchange import Response

if TYPE_CHECKING:
    from worker.backends.http import Web

ENDED = {"completed": "", "expired": "expired", "cancelled": "cancelled"}
LISTING = Listing(lambda row: number(row.get("created_at")))
OPEN = frozenset({"validating", "in_progress", "finalizing", "cancelling"})


class OpenRouterBatches:
    """See `BatchApi`."""

    most_lines = 10_000
    most_bytes = 50 << 20
    create_s = LONG_S

    async def stage(self, web: Web, target: Target, tag: str, lines: Sequence[Line]) -> bytes | Failure:
        rows = b",".join(
            b'{"custom_id":"' + each.custom_id.encode() + b'","body":' + each.body + b"}" for each in lines
        )
        model = msgspec.json.encode(target.model)
        head = b'{"endpoint":"/v1/chat/completions","completion_window":"24h","model":' + model
        return head + b',"requests":[' + rows + b"]}"

    async def create(self, web: Web, target: Target, staged: bytes) -> Remote | Failure:
        headers = {**looks.bearer(target), "content-type": "application/json"}
        return _remote(
            answer(await web.post(f"{target.base_url}/batches", headers, staged, self.create_s), ok=(200, 201, 202))
        )

    async def find(self, web: Web, target: Target, sought: Sought) -> Remote | Failure | None:
        def fits(row: dict[str, Any]) -> bool:
            return counted(row, "total") == sought.lines and row.get("model") in (None, target.model)

        listed = pages(web, f"{target.base_url}/batches", looks.bearer(target), sought, LISTING)
        found = await likely(listed, sought, LISTING, fits, _remote)
        return found if isinstance(found, Failure) else await proven(self, web, target, sought, found)

    async def look(self, web: Web, target: Target, identity: str) -> Remote | Failure:
        return _remote(answer(await web.get(f"{target.base_url}/batches/{identity}", looks.bearer(target))))

    async def cancel(self, web: Web, target: Target, identity: str) -> Failure | None:
        headers = {**looks.bearer(target), "content-type": "application/json"}
        said = await web.post(f"{target.base_url}/batches/{identity}/cancel", headers, b"{}")
        return stopped(answer(said, ok=(200, 202)))

    async def results(self, web: Web, target: Target, remote: Remote) -> Results | Failure:
        data = answer(await web.get(f"{target.base_url}/batches/{remote.id}", looks.bearer(target), LONG_S))
        if isinstance(data, Failure):
            return data
        rows = data.get("results")
        if rows is not None and type(rows) is not list:
            return garbled("results that are no list")
        return results_of(map(_result, rows or ()))


API = OpenRouterBatches()


def _remote(data: Any) -> Remote | Failure:
    if isinstance(data, Failure):
        return data
    identity, status = data.get("id"), text(data.get("status"))
    if not is_id(identity) or status not in ENDED.keys() | OPEN | {"failed"}:
        return garbled(f"a batch without id, or of status {status[:40]!r}")
    if status == "failed":
        first = next(iter(looks.table(data.get("errors"), "data")), {})
        return Remote(identity, "failed", text(first.get("code")) or "batch_failed", text(first.get("message"))[:300])
    answered = counted(data, "completed")
    return Remote(identity, "ended" if status in ENDED else "open", ENDED.get(status, ""), answered=answered)


def _result(row: Any) -> Result | None:
    """An answer or an error; an error without an answer is one of the provider's."""
    name = row.get("custom_id") if type(row) is dict else None
    if type(name) is not str:
        return None
    said = row.get("response")
    if type(said) is dict and type(said.get("status_code")) is int:
        return Result(name, Response(said["status_code"], {}, msgspec.json.encode(said.get("body"))))
    return Result(name, Response(500, {}, msgspec.json.encode({"error": row.get("error")})))
