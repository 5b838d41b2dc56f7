"""Batches of the HTTP API as Redis has them, OpenAI's and Anthropic's: records, their states and the steps between them. Who takes the steps is `keeper.py`.

validating -> failed | in_progress -> finalizing -> completed | expired; any open one -> cancelling -> cancelled. A step
compares the state that it leaves, so two servers that take it at once take it once.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from pipelines import hooks, wire
from pipelines.dialects.openai_lines import Wrong
from pipelines.hooks import Notice
from producer.queue import Redis, now_ms
from producer.runs import RunView, view
from producer.uploads import behind

OPEN = ("validating", "in_progress", "finalizing", "cancelling")
CANCELLABLE = ("validating", "in_progress", "finalizing")
BATCHES, MESSAGES = "batch_", "msgbatch_"
"""The two kinds, told apart by how their ids begin; each has a list of its own."""
_HEX = re.compile(r"[0-9a-f]{32}")

# KEYS: 1 batch  2 batches of the client  3 open  4 input file  5 held   ARGV: 1 id  2 client, then field value ...
_CREATE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local raw = redis.call('HMGET', KEYS[4], 'record', 'gone')
if raw[1] and not raw[2] and cjson.decode(raw[1])['client'] == ARGV[2] then
  redis.call('SADD', KEYS[5], ARGV[1])
end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('SADD', KEYS[3], ARGV[1])
return 1
"""

# KEYS: 1 batch  2 open  3 hooks  4 notice
# ARGV: 1 id  2 states it may leave, with commas around each  3 '1' when it has ended by this  4 id of the notice that tells
#       of it, '' for none  5 notice  6 seconds to remember it, then field value ...
# -> the state it was in; '' when there is none
_STEP = """
local now = redis.call('HGET', KEYS[1], 'status')
if not now then return '' end
if not string.find(ARGV[2], ',' .. now .. ',', 1, true) then return now end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
if ARGV[4] ~= '' and redis.call('HSETNX', KEYS[4], 'notice', ARGV[5]) == 1 then
  redis.call('EXPIRE', KEYS[4], ARGV[6])
  redis.call('ZADD', KEYS[3], 0, ARGV[4])
end
if ARGV[3] == '1' then redis.call('SREM', KEYS[2], ARGV[1]) else redis.call('SADD', KEYS[2], ARGV[1]) end
return now
"""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch's record; times are unix seconds."""

    id: str
    client: str
    run_id: str  # chosen with the batch, so that whoever registers it registers this one
    status: str
    endpoint: str
    input_file_id: str
    completion_window: str
    window_s: int
    created_at: int
    expires_at: int
    metadata: dict[str, str] | None = None
    output_expires_s: int | None = None
    model: str | None = None
    total: int = 0
    completed: int = 0
    failed: int = 0
    generation: int = 0
    errors: tuple[Wrong, ...] = ()
    usage: dict[str, Any] | None = None
    tally: dict[str, int] | None = None  # of messages: how many ended how
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: int | None = None
    finalizing_at: int | None = None
    completed_at: int | None = None
    failed_at: int | None = None
    expired_at: int | None = None
    cancelling_at: int | None = None
    cancelled_at: int | None = None

    @property
    def ended(self) -> bool:
        return self.status not in OPEN

    @property
    def is_messages(self) -> bool:
        """Whether it is Anthropic's kind."""
        return self.id.startswith(MESSAGES)

    def shown(self, run: RunView | None = None) -> dict[str, Any]:
        """OpenAI's Batch object; `run` has the live counts of one that is under way."""
        errors = [msgspec.to_builtins(each) for each in self.errors]
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "errors": {"object": "list", "data": errors} if errors else None,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "in_progress_at": self.in_progress_at,
            "expires_at": self.expires_at,
            "finalizing_at": self.finalizing_at,
            "completed_at": self.completed_at,
            "failed_at": self.failed_at,
            "expired_at": self.expired_at,
            "cancelling_at": self.cancelling_at,
            "cancelled_at": self.cancelled_at,
            "request_counts": self._counts(run),
            "usage": self.usage,
            "metadata": self.metadata,
        }

    def again(self, run: RunView, at_s: int) -> dict[str, Any]:
        """The fields of an ended batch that is under way once more, as its run is; its window begins anew."""
        gone = ("output_file_id", "error_file_id", "usage", "errors")
        times = ("finalizing_at", "completed_at", "failed_at", "expired_at", "cancelling_at", "cancelled_at")
        return {
            "status": "in_progress",
            "generation": max(self.generation + 1, run.generation),
            "expires_at": at_s + self.window_s,
            **dict.fromkeys((*gone, *times)),
        }

    def _counts(self, run: RunView | None) -> dict[str, int]:
        completed, failed = self.completed, self.failed
        if run is not None and not self.ended:
            completed = min(run.ok + run.reused + run.refused, self.total)
            failed = min(run.invalid + run.failed, self.total - completed)
        return {"total": self.total, "completed": completed, "failed": failed}


_JSON = frozenset({"metadata", "errors", "usage", "tally"})


def new_id(at_ms: int, kind: str = BATCHES) -> str:
    return f"{kind}{at_ms:012x}{secrets.token_hex(10)}"


def is_id(text: str, kind: str = BATCHES) -> bool:
    return text.startswith(kind) and _HEX.fullmatch(text, len(kind)) is not None


def _list(keys: wire.Keys, client: str, kind: str) -> str:
    return keys.api_messages(client) if kind == MESSAGES else keys.api_batches(client)


def _kind(batch_id: str) -> str:
    return MESSAGES if batch_id.startswith(MESSAGES) else BATCHES


async def create(redis: Redis, keys: wire.Keys, batch: Batch) -> None:
    """Registers a batch, and that it reads its input file; one that is there already stays as it is."""
    names = [
        keys.api_batch(batch.id),
        _list(keys, batch.client, _kind(batch.id)),
        keys.api_open,
        keys.api_file(batch.input_file_id[:80]),
        keys.api_held(batch.input_file_id[:80]),
    ]
    fields = _flat({field: getattr(batch, field) for field in Batch.__struct_fields__})
    await redis.eval(_CREATE, len(names), *names, batch.id, batch.client, *fields)


async def step(
    redis: Redis,
    keys: wire.Keys,
    batch_id: str,
    leaving: Sequence[str],
    *,
    notice: Notice | None = None,
    **fields: Any,
) -> str:
    """Changes a batch that is in one of the states `leaving`, and has `notice` delivered; the state that it was in, ''
    for none."""
    ends = "1" if fields.get("status", OPEN[0]) not in OPEN else "0"
    states = f",{','.join(leaving)},"
    told = (notice.id, msgspec.json.encode(notice), hooks.KEPT_S) if notice else ("", "", 0)
    names = [keys.api_batch(batch_id), keys.api_open, keys.hooks, keys.hook(told[0])]
    return str(await redis.eval(_STEP, len(names), *names, batch_id, states, ends, *told, *_flat(fields)))


async def get(
    redis: Redis, keys: wire.Keys, client: str, batch_id: str, kind: str = BATCHES
) -> tuple[Batch, RunView | None] | None:
    """A client's batch with its run; None for what is not there and for what is somebody else's, after the same look."""
    found = await read(redis, keys, [batch_id if is_id(batch_id, kind) else "-"], client)
    return found[0] if found else None


async def read(
    redis: Redis, keys: wire.Keys, batch_ids: Sequence[str], client: str | None = None
) -> list[tuple[Batch, RunView | None]]:
    """These batches, or those of them that are the client's; those under way with their runs."""
    pipe = redis.pipeline(transaction=False)
    for batch_id in batch_ids:
        pipe.hgetall(keys.api_batch(batch_id))
    found = [fields for fields in await pipe.execute() if fields and client in (None, fields["client"])]
    batches = [_read(fields) for fields in found]
    for batch in batches:
        pipe.hgetall(keys.run("-" if batch.ended else batch.run_id))
    runs = await pipe.execute()
    return [
        (batch, view(batch.run_id, fields) if fields else None) for batch, fields in zip(batches, runs, strict=True)
    ]


def is_due(status: str, run_status: str, cancels: bool) -> bool:
    """Whether there is a step to take for an open batch; `run_status` is '' where there is no run."""
    if status in ("validating", "finalizing"):
        return True
    if run_status == "" or run_status in wire.RUN_ENDED:
        return True
    return status == "cancelling" and not cancels


async def due(redis: Redis, keys: wire.Keys) -> list[str]:
    """The open batches for which there is a step to take."""
    ids = list(await redis.smembers(keys.api_open))
    pipe = redis.pipeline(transaction=False)
    for batch_id in ids:
        pipe.hmget(keys.api_batch(batch_id), ["status", "run_id"])
    known = await pipe.execute()
    for _, run_id in known:
        pipe.hmget(keys.run(run_id or "-"), ["status", "cancel"])
    runs = await pipe.execute()
    return [
        batch_id
        for batch_id, (status, _), (run_status, cancels) in zip(ids, known, runs, strict=True)
        if is_due(status or "", run_status or "", bool(cancels))
    ]


async def ended(redis: Redis, keys: wire.Keys, batch_ids: Iterable[str]) -> list[str]:
    """Those that read their input no more: of which there is nothing, or that have ended, and whose run has too."""
    found: list[str] = []
    for batch_id in batch_ids:
        status, run_id = await redis.hmget(keys.api_batch(batch_id), ["status", "run_id"])
        if status not in OPEN and await redis.hget(keys.run(run_id or "-"), "status") not in wire.RUN_OPEN:
            found.append(batch_id)
    return found


async def page(
    redis: Redis,
    keys: wire.Keys,
    client: str,
    *,
    after: str | None,
    limit: int,
    before: str | None = None,
    kind: str = BATCHES,
) -> tuple[list[tuple[Batch, RunView | None]], bool]:
    """Up to `limit` of a client's batches behind `after`, or those just ahead of `before`; newest first, and whether
    there are more that way."""
    ids = await behind(redis, _list(keys, client, kind), after or before, limit + 1, newest=before is None)
    shown = ids[:limit] if before is None else ids[:limit][::-1]
    return await read(redis, keys, shown), len(ids) > limit


async def delete(redis: Redis, keys: wire.Keys, batch: Batch) -> None:
    """An ended batch is gone for its client; its run stays in the reports."""
    pipe = redis.pipeline(transaction=True)
    pipe.zrem(_list(keys, batch.client, _kind(batch.id)), batch.id)
    pipe.delete(keys.api_batch(batch.id))
    await pipe.execute()


async def now_s(redis: Redis) -> int:
    return await now_ms(redis) // 1000


def _flat(fields: Mapping[str, Any]) -> list[Any]:
    """Fields as Redis keeps them; None is an empty text."""
    flat: list[Any] = []
    for name, value in fields.items():
        empty = value is None or (name in _JSON and not value)
        flat += [name, "" if empty else wire.dump(msgspec.to_builtins(value)) if name in _JSON else value]
    return flat


def _read(fields: Mapping[str, str]) -> Batch:
    given = {name: wire.load(text) if name in _JSON else text for name, text in fields.items() if text != ""}
    return msgspec.convert(given, Batch, strict=False)
