"""A run's end: its parts become results.parquet in input order, its record is written, its end is told. Whether a run may end is
settle.py's matter."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from pipelines import hooks, paths, wire
from pipelines.hooks import Notice
from pipelines.money import pusd_to_usd_str
from worker.context import Context, RunContext
from worker.dedupe.ended import mark_ended
from worker.settle.audits import Audits
from worker.settle.compact import compact
from worker.settle.fence import Fence, fence
from worker.settle.parts import ledger_names
from worker.settle.totals import ledger_totals
from worker.store import Store

log = logging.getLogger("spillway.settle")

INBOX_KEPT_S = 6 * 3600
TOLD = ("status", "rows", "ok", "duplicate", "invalid", "failed", "refused", "unanswered", "cost_usd")


class End:
    """Of every run that this settler closes; each step may be repeated."""

    def __init__(self, context: Context, audits: Audits) -> None:
        self.context, self._audits = context, audits

    async def forget_parts(self, run_id: str) -> None:
        """Those that a Redis which was killed no longer knows: their batches have been settled again, in others."""
        named, generation = await self.context.redis.hmget(self.context.keys.run(run_id), "parts", "generation")
        ours = fence(self.context, run_id, generation)
        await asyncio.to_thread(_forget_parts_above, self.context.store, run_id, int(named or 0), ours)

    async def finish(self, run: RunContext, ending: str) -> None:
        """Parts become results.parquet in input order; the run ends."""
        keys, redis, run_id = self.context.keys, self.context.redis, run.id
        generation = await redis.hget(keys.run(run_id), "generation")
        await redis.hset(keys.run(run_id), "status", "finalizing")
        totals = await asyncio.to_thread(
            self._compact, run_id, run.client, ending, fence(self.context, run_id, generation)
        )
        await self._audits.conclude(run, await redis.hget(keys.run(run_id), "audit"))
        raw = await redis.hgetall(keys.run(run_id))
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        late = ending == "expired" and not totals["unanswered"]  # its last answers were there before the deadline
        status = "completed" if late else ending or "completed"
        now = self.context.clock.now_ms()
        summary = {
            "run_id": run_id, "status": status, "client": run.client, **totals,
            "seconds": round((now - int(fields.get("started_ms") or fields.get("created_ms") or now)) / 1000, 3),
            "results": self.context.store.path(paths.results(run_id)), "costs": self.context.store.path("costs"),
        }  # fmt: skip
        await asyncio.to_thread(self._record, run_id, fields, summary, status, now)
        ended = {
            "status": status, "summary": wire.dump(summary), "finished_ms": now, "redo": "", "blocked": "", "wanted": 0, "audit_wanted": 0,
        }  # fmt: skip
        names = [keys.run(run_id), keys.open_runs, keys.waiting(run_id), keys.drained(run_id), keys.parts(run_id)]
        told = [part for pair in ended.items() for part in pair]
        names += [keys.lease("settle"), keys.promoted(run_id)]
        args = [run_id, generation or "0", self.context.owner]
        if notice := self._notice(fields, summary, now):
            names += [keys.hooks, keys.hook(notice.id)]
            args += [notice.id, msgspec.json.encode(notice), hooks.KEPT_S]
        if not await self.context.scripts.finish(keys=names, args=[*args, *told]):
            log.warning("run %s: it went on while it was being closed", run_id)
            return
        await redis.expire(keys.budget(f"run:{run_id}"), 86_400)
        if fields.get("inbox"):
            await self._forget_inbox(run_id, again=totals["failed"] + totals["unanswered"])
        self.context.forget_run(run_id)
        log.info("run %s %s: %s", run_id, status, totals)

    async def _forget_inbox(self, run_id: str, again: int) -> None:
        """There may be one every half a minute: Redis keeps it for a while, the disk its segments where rows may be asked
        again."""
        redis, keys = self.context.redis, self.context.keys
        await redis.expire(keys.run(run_id), INBOX_KEPT_S)
        await redis.zrem(keys.all_runs, run_id)
        if not again:
            await asyncio.to_thread(self.context.store.delete_all, paths.inbox_dir(run_id))

    def _notice(self, fields: dict[str, str], summary: dict[str, Any], now_ms: int) -> Notice | None:
        """What the client's webhook is told; a run that is a batch's is told of by that batch."""
        client = self.context.settings.clients.get(summary["client"])
        if (
            client is None
            or client.webhook is None
            or fields.get("inbox")
            or fields.get("origin", "").startswith("batch ")
        ):
            return None
        data = {"id": summary["run_id"], **{name: summary[name] for name in TOLD}}
        subject = f"{summary['run_id']} {fields.get('generation') or 0}"
        return hooks.notice(summary["client"], f"run.{summary['status']}", subject, now_ms, data)

    def _compact(self, run_id: str, client: str, ending: str, ours: Fence) -> dict[str, Any]:
        totals = compact(self.context.store, run_id, client, ending, ours)
        calls = ledger_totals(self.context.store, run_id)
        return {**totals, **calls, "cost_usd": pusd_to_usd_str(calls["cost_pusd"]),
                "avoided_usd": pusd_to_usd_str(totals["avoided_pusd"])}  # fmt: skip

    def _record(self, run_id: str, fields: dict[str, str], summary: dict[str, Any], status: str, now_ms: int) -> None:
        """runs/<id>.json: what outlives Redis."""
        record = {
            "run_id": run_id, "client": fields.get("client"), "fingerprint": fields.get("fingerprint"),
            "created_ms": int(fields.get("created_ms") or 0), "finished_ms": now_ms, "status": status,
            "options": wire.load(fields.get("options") or "{}"), "sources": wire.load(fields.get("sources") or "[]"),
            "generation": int(fields.get("generation") or 0), "origin": fields.get("origin", ""), "summary": summary,
        }  # fmt: skip
        self.context.store.write_bytes(paths.run_record(run_id), wire.dump(record))
        mark_ended(self.context.store, fields.get("client") or "default", now_ms, run_id)


def _forget_parts_above(store: Store, run_id: str, named: int, ours: Fence) -> None:
    for name in (*store.names(paths.parts_dir(run_id)), *ledger_names(store, run_id)):
        number = name.rsplit("/", 1)[1].removeprefix(f"{run_id}.").removesuffix(".parquet")
        if number.isdigit() and int(number) > named:
            ours()
            store.delete(name)
