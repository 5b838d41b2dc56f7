"""Runs as Redis has them: one, all, or one again and again until it ends. Nothing is changed here."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from pipelines import paths, wire
from pipelines.errors import QueueError, UsageError
from pipelines.types import Source
from producer.queue import Redis

FOLLOW_S = 0.5
FORGOTTEN_S = 20.0
"""How long who follows a run waits for it to be registered again, when Redis has forgotten its last seconds."""


COUNTED = (
    "rows", "ok", "duplicate", "invalid", "failed", "refused", "calls", "local_calls", "cloud_calls",
    "provider_batch_calls", "cost_pusd", "avoided_pusd",
)  # fmt: skip
"""What a worker's summary says exactly and the live counters say nearly."""
LIVE = (*COUNTED, "rows_estimate", "asked", "borrowed", "freed", "lent")


class RunView(msgspec.Struct, frozen=True):
    """A run as Redis has it; counters are live and become exact in `summary` when it has ended."""

    run_id: str
    status: str
    client: str = "default"
    created_ms: int = 0
    started_ms: int = 0
    finished_ms: int | None = None
    deadline_ms: int | None = None
    rows_estimate: int = 0
    prepared: bool = False
    rows: int = 0
    asked: int = 0
    duplicate: int = 0
    borrowed: int = 0  # of them with a leader in another run,
    freed: int = 0  # and of these: wait for that run no more,
    lent: int = 0  # since it has the answer
    invalid: int = 0
    ok: int = 0
    failed: int = 0
    refused: int = 0
    open: int = 0
    rows_local: int = 0
    rows_cloud: int = 0
    rows_provider_batch: int = 0
    calls: int = 0
    local_calls: int = 0
    cloud_calls: int = 0
    provider_batch_calls: int = 0  # of the cloud's
    cost_pusd: int = 0
    avoided_pusd: int = 0
    budget_nusd: int | None = None
    blocked: str = ""
    lacks: dict[str, Any] | None = None  # what it needs to be done in time and within its budget: usd, seconds, text
    error: str = ""
    cancel: str = ""
    generation: int = 0  # how often it was resumed or retried after an end
    origin: str = ""
    metadata: dict[str, str] = {}
    sources: tuple[Source, ...] = ()
    summary: dict[str, Any] | None = None

    @property
    def counted(self) -> dict[str, int]:
        """The counters that a record keeps."""
        return {name: getattr(self, name) for name in LIVE}

    @property
    def ended(self) -> bool:
        return self.status in wire.RUN_ENDED

    @property
    def done(self) -> int:
        """Rows whose fate is known."""
        return self.ok + self.reused + self.invalid + self.failed + self.refused

    @property
    def reused(self) -> int:
        """Duplicates whose leader has an answer; nobody counts them of the run's own leaders: the share as of all that is asked."""
        ended, own = self.ok + self.failed + self.refused, self.duplicate - self.lent - (self.borrowed - self.freed)
        share = min(ended, self.asked) / self.asked if self.asked else 1.0
        return self.duplicate if self.summary else min(self.duplicate, self.lent + int(max(0, own) * share))

    @property
    def needs(self) -> str:
        """What an open run lacks, in one line; empty where it lacks nothing."""
        if self.ended or self.lacks is None:
            return ""
        return f"infeasible: needs {self.lacks.get('text') or 'another lane'}"

    @property
    def total(self) -> int:
        """Rows of the source: counted once it is read, estimated before."""
        return self.rows if self.prepared else max(self.rows, self.rows_estimate)


_FIELDS = msgspec.structs.fields(RunView)[2:]


async def get(redis: Redis, keys: wire.Keys, run_id: str) -> RunView:
    """A run as it is now; UsageError when there is none of that id."""
    fields = await fields_of(redis, keys, run_id)
    if not fields:
        raise UsageError(f"no run {run_id[:64]!r} here; `spillway status` lists the runs")
    return view(run_id, fields)


async def list_runs(redis: Redis, keys: wire.Keys, limit: int = 50) -> list[RunView]:
    """The newest runs first."""
    return await _views(redis, keys, await redis.zrevrange(keys.all_runs, 0, limit - 1))


async def _views(redis: Redis, keys: wire.Keys, ids: Sequence[str]) -> list[RunView]:
    """These runs in their order, without those that are gone."""
    pipe = redis.pipeline(transaction=False)
    for run_id in ids:
        pipe.hgetall(keys.run(run_id))
    return [view(run_id, fields) for run_id, fields in zip(ids, await pipe.execute(), strict=True) if fields]


# KEYS: 1 the client's runs  ARGV: 1 the run behind which the page begins, '' none  2 rows  -> ids, or nil: no such run
_PAGE = """
local first = 0
if ARGV[1] ~= '' then
  local rank = redis.call('ZREVRANK', KEYS[1], ARGV[1])
  if not rank then return false end
  first = rank + 1
end
return redis.call('ZREVRANGE', KEYS[1], first, first + ARGV[2] - 1)
"""


async def page(redis: Redis, keys: wire.Keys, client: str, after: str, limit: int) -> tuple[list[RunView], bool] | None:
    """Up to `limit` of a client's runs behind the run `after` ('': from the newest on), and whether there are more; None
    when the client has no run `after`."""
    found: list[str] | None = await redis.eval(_PAGE, 1, keys.runs_of(client), after, str(limit + 1))
    return None if found is None else (await _views(redis, keys, found[:limit]), len(found) > limit)


async def follow(redis: Redis, keys: wire.Keys, run_id: str, every_s: float = FOLLOW_S) -> AsyncIterator[RunView]:
    """The run, again and again, until it has ended; the last view is the end.

    UsageError when there is none of that id; QueueError when Redis forgets it and no worker registers it again.
    """
    now = await get(redis, keys, run_id)
    seen_s = time.monotonic()
    while True:
        yield now
        if now.ended:
            return
        await asyncio.sleep(every_s)
        if fields := await fields_of(redis, keys, run_id):
            now, seen_s = view(run_id, fields), time.monotonic()
        elif time.monotonic() - seen_s > FORGOTTEN_S:
            raise QueueError(f"Redis has forgotten run {run_id}; the same command starts it again")


async def fields_of(redis: Redis, keys: wire.Keys, run_id: str) -> dict[str, str]:
    """The hash of a run; empty when there is none, or what is left of one that Redis forgot."""
    if not paths.is_run_id(run_id):
        return {}
    found = await redis.hgetall(keys.run(run_id))
    return found if "status" in found else {}


def view(run_id: str, fields: Mapping[str, str]) -> RunView:
    """Redis' texts as values; what is missing is nought."""
    given: dict[str, Any] = {"run_id": run_id, "status": fields.get("status", "in_progress")}
    for field in _FIELDS:
        text = fields.get(field.name, "")
        with contextlib.suppress(ValueError, OverflowError, RecursionError):  # not what we wrote
            if text != "":
                given[field.name] = _value(field.name, field.type, text)
    exact = given.get("summary") or {}
    return RunView(**{**given, **{name: int(exact[name]) for name in COUNTED if isinstance(exact.get(name), int)}})


def _value(name: str, kind: Any, text: str) -> Any:
    if name == "prepared":
        return text == "1"
    if name == "sources":
        return wire.unpack_sources(text.encode())
    if name in ("summary", "lacks"):
        return wire.load_object(text) or None
    if name == "metadata":
        return msgspec.json.decode(text, type=dict[str, str])
    return text if kind is str else int(float(text))


class LaneView(msgspec.Struct, frozen=True):
    """A target as the scheduler and the workers see it now."""

    name: str
    lane: str = ""
    up: bool = True
    reason: str = ""
    slots: int = 0
    in_flight: int = 0
    rows_per_s: float = 0.0


async def lanes(redis: Redis, keys: wire.Keys) -> list[LaneView]:
    """Every target that the scheduler knows, local ones first; `in_flight` is summed over the living workers."""
    pipe = redis.pipeline(transaction=False)
    pipe.hgetall(keys.lanes)
    pipe.hkeys(keys.workers)
    replies = await pipe.execute(raise_on_error=False)  # a key of another kind says nothing: workers put it aside
    figures, owners = ({} if isinstance(reply, Exception) else reply for reply in replies)
    beats = await redis.mget([keys.worker(owner) for owner in owners]) if owners else []
    flying: dict[str, int] = {}
    for beat in (wire.load_object(raw) for raw in beats if raw):
        for name, stats in _mapping(beat.get("targets")).items():
            count = _mapping(stats).get("in_flight", 0)
            flying[name] = flying.get(name, 0) + (count if isinstance(count, int) else 0)
    found = [_lane(name, wire.load_object(raw), flying.get(name, 0)) for name, raw in figures.items()]
    return sorted(found, key=lambda lane: (lane.lane != "local", lane.name))


class TargetState(msgspec.Struct, frozen=True):
    """What workers have learned of a target."""

    name: str
    up: bool = True
    closed: bool = False
    reason: str = ""
    changed_ms: int = 0  # when it last went up or down; 0: it never did


async def target_states(redis: Redis, keys: wire.Keys) -> list[TargetState]:
    """Every target of which a worker has said something, by name."""
    raw = await redis.hgetall(keys.targets)
    return [_target_state(name, wire.load_object(value)) for name, value in sorted(raw.items())]


def _target_state(name: str, said: Mapping[str, Any]) -> TargetState:
    try:
        return msgspec.convert({**said, "name": name}, TargetState)
    except msgspec.ValidationError:
        return TargetState(name)


async def workers(redis: Redis, keys: wire.Keys) -> int:
    """How many workers are alive."""
    owners = await redis.hkeys(keys.workers)
    return int(await redis.exists(*[keys.worker(owner) for owner in owners])) if owners else 0


def _lane(name: str, figures: Mapping[str, Any], in_flight: int) -> LaneView:
    known = {field: figures[field] for field in ("lane", "up", "reason", "slots", "rows_per_s") if field in figures}
    out = figures.get("in_flight", in_flight)  # of a provider's batches no worker counts the calls
    try:
        return msgspec.convert({**known, "name": name, "in_flight": out}, LaneView)
    except msgspec.ValidationError:
        return LaneView(name, in_flight=in_flight, up=False, reason="its figures cannot be read")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


STOPPED = "stopped; the same command resumes it"
FORGOTTEN = "Redis forgot it with its last seconds; a worker that starts, or the same command, goes on with it"
ELSEWHERE = "another Redis has it, or this one was emptied or set back; the same command starts it anew here"


async def why_unknown(redis: Redis, keys: wire.Keys, record: Mapping[str, Any], *, has_parts: bool) -> str:
    """Why this Redis, which is up, does not know the open run of a record, and what to do."""
    ours = record.get("redis") == await redis.get(keys.id)
    return FORGOTTEN if ours and not has_parts else ELSEWHERE


def of_record(record: Mapping[str, Any], why: str = STOPPED) -> RunView:
    """A run of which only its record is left: ended, or open for some reason."""
    summary = record.get("summary")
    seen = summary or record.get("seen") or {}
    counts: dict[str, Any] = {name: int(seen[name]) for name in LIVE if name in seen}
    return RunView(
        run_id=record["run_id"],
        status=record.get("status") or "in_progress",
        client=record.get("client") or "default",
        created_ms=record.get("created_ms") or 0,
        finished_ms=record.get("finished_ms"),
        prepared=bool(summary),
        origin=record.get("origin") or "",
        metadata=record.get("metadata") or {},
        summary=summary,
        blocked="" if summary else why,
        **counts,
    )
