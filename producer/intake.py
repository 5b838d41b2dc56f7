"""Registers a run in Redis and rings the bell, cancels it, retries it. It reads no prompt and asks nobody.

The record on disk comes first: a Redis that forgets its last seconds is told again what it says.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from pipelines import identity, paths, registration, wire
from pipelines.errors import UsageError
from pipelines.registration import Registration
from pipelines.types import Options, Source
from producer import unchanged
from producer.queue import Redis
from producer.records import Records
from producer.runs import RunView, fields_of, get, view

RESUMED = ["expired", "cancelled"]
"""What a resumed run asks again; its failed rows are `retry`'s matter. But where a source could not be read again in the
middle of a retry or resume, nobody knows which rows are failed for that alone."""

# KEYS: 1 fingerprints  2 run  3 open runs  4 all runs  5 wake  6 prepare's bell  7 the client's runs, for a new one
# ARGV: 1 fingerprint ('' leave)  2 run id under it as seen ('' none)  3 run's status and cancel as seen ('' new run)
#       4 run id  5 created_ms, then field value ...
# Returns 1, or 0 when somebody else was faster: look again.
_PUT = """
if ARGV[1] ~= '' and (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] ~= '' then
  local seen = redis.call('HMGET', KEYS[2], 'status', 'cancel')
  if (seen[1] or '') .. '|' .. (seen[2] or '') ~= ARGV[3] then return 0 end
end
redis.call('HSET', KEYS[2], unpack(ARGV, 6))
redis.call('PERSIST', KEYS[2])  -- an inbox run that has ended goes some day, unless it is begun again
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[4]) end
redis.call('SADD', KEYS[3], ARGV[4])
redis.call('ZADD', KEYS[4], 'NX', ARGV[5], ARGV[4])
if KEYS[7] then redis.call('ZADD', KEYS[7], 'NX', ARGV[5], ARGV[4]) end
redis.call('LPUSH', KEYS[5], 'x')
redis.call('LTRIM', KEYS[5], 0, 15)
redis.call('LPUSH', KEYS[6], 'x')
redis.call('LTRIM', KEYS[6], 0, 3)
return 1
"""


class Registered(msgspec.Struct, frozen=True):
    """What became of a command: `new`, `resumed`, `finished` (nothing to do), `ending` (ask again later).

    `unfinished` names an earlier run of the same command that `fresh` left behind.
    """

    run_id: str
    state: str
    unfinished: str | None = None


def fingerprint(client: str, sources: tuple[Source, ...], options: Options) -> str:
    """A run's identity: deadline and budget are left out, for they may change on resume."""
    same = msgspec.structs.replace(options, deadline_s=None, budget_nusd=None)
    return identity.fingerprint(client, tuple(source.url for source in sources), msgspec.to_builtins(same))


def new_run_id(now_ms: int) -> str:
    return f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def private_run_id(now_ms: int) -> str:
    """For runs of the server's clients: nobody may guess another's, and nobody may ever be given one."""
    return f"{new_run_id(now_ms)}{secrets.token_hex(8)}"


async def register(
    redis: Redis,
    keys: wire.Keys,
    records: Records,
    *,
    client: str,
    sources: tuple[Source, ...],
    options: Options,
    now_ms: int,
    fresh: bool = False,
    estimate: tuple[int, int] = (0, 0),
) -> Registered:
    """Starts, resumes or recognises the run of this command; safe to repeat. `estimate` is (rows, bytes).

    Raises SourceError when an unfinished run's source is not what it was.
    """
    print_ = fingerprint(client, sources, options)
    while True:
        seen = await redis.hget(keys.fingerprints, print_)
        run = await fields_of(redis, keys, seen) if seen else {}
        if run and seen and not fresh and (now := _decide(seen, run, sources)) != "new":
            if now != "resumed" or await _resume(redis, keys, records, seen, run, options, now_ms):
                if now == "finished":
                    ended = view(seen, run)
                    records.close(seen, ended.status, ended.finished_ms or now_ms, ended.summary)
                return Registered(seen, now)
            continue
        name = await memory_of(redis, keys)
        lost = None
        if not run and not fresh:
            known = list(await redis.zrange(keys.all_runs, 0, -1))
            if finished := _finished(records, print_, sources, known):
                return Registered(finished, "finished")
            lost = _forgotten(records, print_, sources, known, name)
        new = Registration(
            run_id=lost or new_run_id(now_ms), client=client, fingerprint=print_, created_ms=now_ms, options=options,
            sources=sources, estimate=estimate, fresh=fresh, redis=name,
        )  # fmt: skip
        records.write(new.run_id, registration.record(new))
        fields = registration.fields(new)
        done = await put(redis, keys, new.run_id, now_ms, fields, fingerprint=print_, seen=seen or "", client=client)
        if done or (fresh and await fields_of(redis, keys, new.run_id)):  # a worker that started now read the record
            open_ = bool(run) and run.get("status") not in ("completed", "failed")
            return Registered(new.run_id, "resumed" if lost else "new", seen if open_ else None)
        if not await fields_of(redis, keys, new.run_id):
            records.delete(new.run_id)


async def register_as(
    redis: Redis,
    keys: wire.Keys,
    records: Records,
    run_id: str,
    *,
    client: str,
    sources: tuple[Source, ...],
    options: Options,
    now_ms: int,
    origin: str,
    estimate: tuple[int, int] = (0, 0),
    fresh: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> bool:
    """A new run under a name that its caller can find again, once: False when it is there already. Whatever ran before
    with these sources and options is not asked, and its answers are reused like any other run's, unless it is `fresh`."""
    print_ = fingerprint(client, sources, options)
    new = Registration(
        run_id=run_id, client=client, fingerprint=print_, created_ms=now_ms, options=options, sources=sources,
        estimate=estimate, redis=await memory_of(redis, keys), origin=origin, fresh=fresh,
        metadata=dict(metadata or {}),
    )  # fmt: skip
    while not await redis.exists(keys.run(run_id)):
        seen = await redis.hget(keys.fingerprints, print_)
        if records.read(run_id) is None:  # who slept on the way must not undo the record of a run that has ended
            records.write(run_id, registration.record(new))
        fields = registration.fields(new)
        if await put(
            redis, keys, run_id, now_ms, fields, fingerprint=print_, seen=seen or "", was=_was({}), client=client
        ):
            return True
    return False


def _decide(run_id: str, run: Mapping[str, str], sources: tuple[Source, ...]) -> str:
    """new | resumed | finished | ending, for a command whose run is already known."""
    status = run.get("status", "")
    differs = unchanged.difference(wire.unpack_sources(run["sources"].encode()), sources)
    if status == "completed":
        return "new" if differs else "finished"
    if status == "failed":
        return "new" if differs or run.get("aside") else "resumed"
    if differs:
        raise unchanged.refusal(differs, run_id)
    return "ending" if status in wire.RUN_OPEN and run.get("cancel") else "resumed"


async def memory_of(redis: Redis, keys: wire.Keys) -> str:
    """The name of this Redis' memory: another one, or the same after it was emptied, has another name."""
    await redis.set(keys.id, secrets.token_hex(8), nx=True)
    return await redis.get(keys.id) or ""


def _forgotten(
    records: Records, print_: str, sources: tuple[Source, ...], known: Iterable[str], redis: str
) -> str | None:
    """An open run of this command that this Redis was told of and has lost with its last seconds; nothing is settled yet.

    Raises SourceError when its source is not what it was.
    """
    run = registration.lost(records.with_fingerprint(print_, known) or {}, redis)
    if run is None or records.has_parts(run.run_id):
        return None
    if differs := unchanged.difference(run.sources, sources):
        raise unchanged.refusal(differs, run.run_id)
    return run.run_id


def finished_on_disk(records: Records, client: str, sources: tuple[Source, ...], options: Options) -> str | None:
    """The finished run of this command, by the records alone; None when there is none or Redis must be asked."""
    return _finished(records, fingerprint(client, sources, options), sources, ())


def _finished(records: Records, print_: str, sources: tuple[Source, ...], known: Iterable[str]) -> str | None:
    record = records.with_fingerprint(print_, known)
    if record is None or record.get("status") != "completed":
        return None
    old = wire.unpack_sources(wire.dump(record.get("sources", [])))
    return str(record["run_id"]) if unchanged.difference(old, sources) is None else None


async def _resume(
    redis: Redis, keys: wire.Keys, records: Records, run_id: str, run: Mapping[str, str], options: Options, now_ms: int
) -> bool:
    """Brings the run back on this command's terms; one that had ended asks its unanswered rows again."""
    fields = registration.terms(options, now_ms)
    if run["status"] in wire.RUN_ENDED:
        records.reopen(run_id)
    if run["status"] in ("expired", "cancelled"):
        fields |= _again(run, RESUMED)
    elif run["status"] == "failed" and int(run.get("generation") or 0):
        fields |= _again(run, [*RESUMED, "failed"])
    elif run["status"] == "failed":
        cleared = dict.fromkeys(("error", "summary", "finished_ms", "cancel"), "")
        fields |= {"status": "in_progress", "prepared": "0", **cleared}
    return await put(redis, keys, run_id, now_ms, fields, was=_was(run))


def _again(run: Mapping[str, str], statuses: list[str]) -> dict[str, str | bytes | int]:
    """An ended run that asks its rows of these statuses again: a new generation, from the first chunk on."""
    cursor, generation = wire.load(run["cursor"]) if run.get("cursor") else None, int(run.get("generation") or 0) + 1
    if isinstance(cursor, dict):
        cursor.pop("redo", None)
        cursor["generation"] = generation  # who slept since an earlier retry must not find its cursor here
    return {
        "status": "in_progress",
        "redo": wire.dump(statuses),
        "generation": generation,
        "prepared": "0",
        "cursor": wire.dump(cursor) if cursor else "",
        **dict.fromkeys(("cancel", "summary", "finished_ms", "error"), ""),
        **dict.fromkeys(statuses, "0"),
    }


async def put(
    redis: Redis,
    keys: wire.Keys,
    run_id: str,
    created_ms: int,
    fields: Mapping[str, str | bytes | int],
    *,
    fingerprint: str = "",
    seen: str = "",
    was: str = "",
    client: str = "",
) -> bool:
    """One atomic step: compare what was seen, then run, sets and bell together. `client` is given with a new run."""
    names = [keys.fingerprints, keys.run(run_id), keys.open_runs, keys.all_runs, keys.wake, keys.arrived]
    names += [keys.runs_of(client)] if client else []
    flat = [part for pair in fields.items() for part in pair]
    arguments: list[Any] = [*names, fingerprint, seen, was, run_id, created_ms, *flat]
    return bool(await redis.eval(_PUT, len(names), *arguments))


def _was(run: Mapping[str, str]) -> str:
    return f"{run.get('status', '')}|{run.get('cancel', '')}"


async def cancel(redis: Redis, keys: wire.Keys, run_id: str) -> RunView:
    """Asks the workers to end a run; a run that has ended stays as it is, twice is once."""
    while True:
        fields = await fields_of(redis, keys, run_id)
        now = await get(redis, keys, run_id)
        if now.ended or fields.get("cancel"):
            return now
        wanted = {"cancel": "1", "status": "cancelling"}
        if await put(redis, keys, run_id, now.created_ms, wanted, was=_was(fields)):
            return await get(redis, keys, run_id)


async def retry(redis: Redis, keys: wire.Keys, records: Records, run_id: str, now_ms: int) -> RunView:
    """Asks an ended run's failed rows again; its deadline starts again. UsageError when there is nothing to retry."""
    while True:
        now = await get(redis, keys, run_id)
        fields = await fields_of(redis, keys, run_id)
        if not now.ended:
            raise UsageError(f"run {run_id} is {now.status}: retry it when it has ended")
        if (now.summary or {}).get("failed", now.failed) == 0:
            rest = f": what was not answered is {now.status}; submit it again to have it asked"
            raise UsageError(f"run {run_id} has no failed rows to retry{rest if now.status in RESUMED else ''}")
        if fields.get("aside"):
            raise UsageError(f"run {run_id} was set aside: submit it again, it begins anew")
        await asyncio.to_thread(unchanged.check, now)
        if not await asyncio.to_thread(records.store.exists, whole := paths.results(run_id)):
            raise UsageError(f"run {run_id} has lost {whole}: put it back, or submit it again with --fresh")
        records.reopen(run_id)
        terms = registration.terms(wire.unpack_options(fields["options"].encode()), now_ms)
        if await put(redis, keys, run_id, now_ms, {**terms, **_again(fields, ["failed"])}, was=_was(fields)):
            return await get(redis, keys, run_id)
