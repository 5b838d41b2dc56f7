"""Runs that Redis forgot with its last seconds: their records are on disk, and they are registered again from them.

Only what this Redis was told itself: a data root may have runs of another Redis, which goes on with them. And only runs
of which nothing was settled: a Redis that knows nothing of settled parts was set back by more than its last seconds.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec
from msgspec.structs import replace

from pipelines import paths, registration, wire
from pipelines.registration import Registration
from worker.context import Context
from worker.prepare.inboxes import segments
from worker.store import Store

log = logging.getLogger("spillway.prepare")

NEWEST = 200
"""Of the runs that Redis does not know, so many are looked at: what it lost is young."""


async def remember(context: Context, run_id: str) -> None:
    """Notes a run that may just have been registered, before its first chunk is committed: said again together, they make
    the same batches, in which the other workers' journals find their place."""
    redis, keys = context.redis, context.keys
    fields = await redis.hgetall(keys.run(run_id))
    if fields.get(b"status") != b"in_progress" or fields.get(b"cursor"):
        return
    client = fields.get(b"client", b"default").decode(errors="replace")
    args = [run_id, fields.get(b"fingerprint", b""), fields.get(b"created_ms", b"0")]
    said = [part for pair in fields.items() for part in pair]
    context.again.remember_step("register_again", _names(keys, run_id, client), [*args, *said])


def _names(keys: wire.Keys, run_id: str, client: str) -> list[str]:
    return [keys.run(run_id), keys.fingerprints, keys.open_runs, keys.all_runs, keys.wake, keys.runs_of(client)]


class Lost:
    """Looks once in each life of Redis."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked: str | None = None

    async def look(self) -> None:
        life = self._context.again.life
        if life == self._looked:
            return
        redis, keys = self._context.redis, self._context.keys
        known = {run.decode(errors="replace") for run in await redis.zrange(keys.all_runs, 0, -1)}
        for run in await asyncio.to_thread(_forgotten, self._context.store, known, self._context.again.memory):
            said = [part for pair in registration.fields(run).items() for part in pair]
            args = [run.run_id, run.fingerprint, run.created_ms, *said]
            if await self._context.scripts.register_again(keys=_names(keys, run.run_id, run.client), args=args):
                log.warning("run %s: Redis had forgotten it; registered again from its record", run.run_id)
        self._looked = life


def _forgotten(store: Store, known: set[str], memory: str) -> list[Registration]:
    """Open runs whose records name this Redis' memory, and that are not in it; nothing of them is settled. Blocking."""
    ids = sorted(name.rsplit("/", 1)[1].removesuffix(".json") for name in store.names("runs"))
    unknown = [run_id for run_id in ids if run_id not in known and paths.is_run_id(run_id)]
    young = (registration.lost(_record(store, run_id), memory) for run_id in unknown[-NEWEST:])
    lost = [run for run in young if run is not None and not store.names(paths.parts_dir(run.run_id))]
    return [replace(run, sources=segments(store, run.run_id)) if run.inbox_until_ms else run for run in lost]


def _record(store: Store, run_id: str) -> dict[str, object]:
    """Empty for what is no record."""
    try:
        found = wire.load(store.read_bytes(paths.run_record(run_id)))
    except (OSError, ValueError, msgspec.MsgspecError):
        return {}
    return found if isinstance(found, dict) and found.get("run_id") == run_id else {}
