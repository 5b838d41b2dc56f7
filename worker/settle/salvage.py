"""A run that was set aside (worker/aside.py), as far as it came: what its batches were paid for is in the ledger, and its answers in
results.parquet. Its record in Redis cannot be used, so that under the data root says whose it is.

Nothing of it is asked any more. Each step may be repeated; the names of its batches stay in Redis until all of it is done.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from pipelines import paths, wire
from pipelines.settle import SET_ASIDE
from worker.context import Context, RunContext
from worker.fence import Fence, fence
from worker.queue import noted
from worker.settle.ending import End
from worker.settle.parts import ledger_names
from worker.store import Store

log = logging.getLogger("spillway.settle")


class Salvage:
    """Of every run that was set aside."""

    def __init__(self, context: Context, end: End) -> None:
        self._context, self._end = context, end

    async def run(self, run_id: str) -> RunContext:
        """Whose it is and when it was made."""
        record = await asyncio.to_thread(_record, self._context.store, run_id)
        known = {name: str(record[name]) for name in ("client", "created_ms") if record.get(name)}
        return RunContext(run_id, known, self._context.settings)

    async def forget_named(self, run_id: str) -> None:
        """Parts that were named and not finished: their batches are still there, and are booked one by one."""
        redis, keys = self._context.redis, self._context.keys
        names = [name.decode(errors="replace") for name in await redis.hkeys(keys.parts(run_id))]
        if names:
            ours = await self._ours(run_id)
            await asyncio.to_thread(_forget, self._context.store, run_id, {n for n in names if n.isdigit()}, ours)
            await redis.hdel(keys.parts(run_id), *names)

    async def finish(self, run: RunContext) -> None:
        """Its results and its record, once all of it is in the ledger."""
        context, ours = self._context, await self._ours(run.id)
        totals = await asyncio.to_thread(self._end.compact, run.id, run.client, SET_ASIDE, ours)
        now = context.clock.now_ms()
        summary = self._end.summary(run, totals, "failed", now - int(run.created_ms or now))
        await asyncio.to_thread(_close, context.store, run.id, summary, now, ours)
        said = {"summary": wire.dump(summary), "finished_ms": now}
        args = noted(said, seen={"aside": "1"}, statuses=" failed ")
        await context.scripts.note(keys=[context.keys.run(run.id)], args=args)
        log.info("run %s was set aside: its answers are in its results, its calls in the ledger", run.id)

    async def _ours(self, run_id: str) -> Fence:
        context = self._context
        generation = await context.redis.hget(context.keys.run(run_id), "generation")
        return fence(context, "settle", run_id, {"generation": generation})


def _close(store: Store, run_id: str, summary: dict[str, Any], now_ms: int, ours: Fence) -> None:
    if record := _record(store, run_id):
        ended = {**record, "status": "failed", "finished_ms": now_ms, "summary": summary}
        store.write_bytes(paths.run_record(run_id), wire.dump(ended), ours)


def _record(store: Store, run_id: str) -> dict[str, Any]:
    """Empty where there is none, or what is there is none of ours."""
    try:
        return wire.load_object(store.read_bytes(paths.run_record(run_id)))
    except OSError:
        return {}


def _forget(store: Store, run_id: str, parts: set[str], ours: Fence) -> None:
    named = {f"{run_id}.{part}.parquet" for part in parts}
    files = [name for name in ledger_names(store, run_id) if name.rsplit("/", 1)[1] in named]
    for name in [*files, *(of(run_id, part) for part in parts for of in (paths.part, paths.audit_part))]:
        ours()
        store.delete(name)
