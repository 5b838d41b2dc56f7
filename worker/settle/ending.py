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
from worker.fence import Fence, fence, no_fence
from worker.queue import noted
from worker.settle.audits import Audits
from worker.settle.compact import compact
from worker.settle.parts import ledger_names
from worker.settle.totals import ledger_totals
from worker.store import Store

log = logging.getLogger("spillway.settle")

INBOX_KEPT_S = 6 * 3600
"""Redis keeps an inbox run so long."""
BUDGET_KEPT_S = 86_400
TOLD = ("status", "rows", "ok", "duplicate", "invalid", "failed", "refused", "unanswered", "cost_usd")


class End:
    """Of every run that this settler closes; each step may be repeated."""

    def __init__(self, context: Context, audits: Audits) -> None:
        self.context, self._audits = context, audits

    async def forget_parts(self, run_id: str) -> None:
        """Those that a Redis which was killed no longer knows: their batches have been settled again, in others."""
        named, generation = await self.context.redis.hmget(self.context.keys.run(run_id), "parts", "generation")
        ours = fence(self.context, "settle", run_id, {"generation": generation})
        await asyncio.to_thread(_forget_parts_above, self.context.store, run_id, int(named or 0), ours)

    async def finish(self, run: RunContext, ending: str) -> None:
        """Parts become results.parquet in input order; the run ends, unless it went on meanwhile."""
        keys, redis, run_id = self.context.keys, self.context.redis, run.id
        generation, started = await redis.hmget(keys.run(run_id), "generation", "started_ms")
        seen = {"generation": generation, "started_ms": started}
        ours = fence(self.context, "settle", run_id, seen)
        begun = noted({"status": "finalizing"}, seen={name: value or b"" for name, value in seen.items()})
        if not await self.context.scripts.note(keys=[keys.run(run_id)], args=begun):
            return
        totals = await asyncio.to_thread(self.compact, run_id, run.client, ending, ours)
        await self._audits.conclude(run, await redis.hget(keys.run(run_id), "audit"), ours)
        raw = await redis.hgetall(keys.run(run_id))
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        late = ending == "expired" and not totals["unanswered"]  # its last answers were there before the deadline
        status = "completed" if late else ending or "completed"
        now = self.context.clock.now_ms()
        started_ms = int(fields.get("started_ms") or fields.get("created_ms") or now)
        summary = self.summary(run, totals, status, now - started_ms)
        await asyncio.to_thread(self._record, run_id, fields, summary, status, now, ours)
        ended = {
            "status": status, "summary": wire.dump(summary), "finished_ms": now, "redo": "", "blocked": "", "wanted": 0, "audit_wanted": 0,
        }  # fmt: skip
        names = [keys.run(run_id), keys.open_runs, keys.waiting(run_id), keys.drained(run_id), keys.parts(run_id)]
        names += [keys.lease("settle"), keys.promoted(run_id), keys.all_runs, keys.budget(f"run:{run_id}")]
        args = [run_id, generation or "0", started or "", self.context.owner, INBOX_KEPT_S, BUDGET_KEPT_S]
        if notice := self._notice(fields, summary, now):
            names += [keys.hooks, keys.hook(notice.id)]
            args += [notice.id, msgspec.json.encode(notice), hooks.KEPT_S]
        told = [part for pair in ended.items() for part in pair]
        if not await self.context.scripts.finish(keys=names, args=[*args, *told]):
            log.warning("run %s: it went on while it was being closed", run_id)
            return
        if fields.get("inbox") and not totals["failed"] + totals["unanswered"]:  # else its rows may be asked again
            await asyncio.to_thread(self.context.store.delete_all, paths.inbox_dir(run_id))
        self.context.forget_run(run_id)
        log.info("run %s %s: %s", run_id, status, totals)

    def summary(self, run: RunContext, totals: dict[str, Any], status: str, took_ms: int) -> dict[str, Any]:
        """What people are told of a run that has ended."""
        return {
            "run_id": run.id, "status": status, "client": run.client, **totals, "seconds": round(took_ms / 1000, 3),
            "results": self.context.store.path(paths.results(run.id)), "costs": self.context.store.path("costs"),
        }  # fmt: skip

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

    def compact(self, run_id: str, client: str, ending: str, ours: Fence) -> dict[str, Any]:
        """Writes results.parquet; the figures of rows and calls. Blocking."""
        totals = compact(self.context.store, run_id, client, ending, ours)
        calls = ledger_totals(self.context.store, run_id)
        return {**totals, **calls, "cost_usd": pusd_to_usd_str(calls["cost_pusd"]),
                "avoided_usd": pusd_to_usd_str(totals["avoided_pusd"])}  # fmt: skip

    def _record(
        self, run_id: str, fields: dict[str, str], summary: dict[str, Any], status: str, now_ms: int, ours: Fence = no_fence
    ) -> None:  # fmt: skip
        """runs/<id>.json: what outlives Redis. Raises LeaseLost, and leaves it as it is, when the run went on meanwhile."""
        record = {
            "run_id": run_id, "client": fields.get("client"), "fingerprint": fields.get("fingerprint"),
            "created_ms": int(fields.get("created_ms") or 0), "finished_ms": now_ms, "status": status,
            "options": wire.load(fields.get("options") or "{}"), "sources": wire.load(fields.get("sources") or "[]"),
            "generation": int(fields.get("generation") or 0), "origin": fields.get("origin", ""), "summary": summary,
        }  # fmt: skip
        self.context.store.write_bytes(paths.run_record(run_id), wire.dump(record), ours)
        mark_ended(self.context.store, fields.get("client") or "default", now_ms, run_id)


def _forget_parts_above(store: Store, run_id: str, named: int, ours: Fence) -> None:
    for name in (*store.names(paths.parts_dir(run_id)), *ledger_names(store, run_id)):
        number = name.rsplit("/", 1)[1].removeprefix(f"{run_id}.").removesuffix(".parquet")
        if number.isdigit() and int(number) > named:
            ours()
            store.delete(name)
