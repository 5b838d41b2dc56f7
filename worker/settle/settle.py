"""Closes finished batches, several at a time: journals become result and cost parts; a run's end becomes its files.

What a part holds is recorded in Redis before it is written, so a crash repeats the same part and never another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from itertools import accumulate
from typing import Any

import msgspec

from pipelines import hooks, paths, wire
from pipelines.hooks import Notice
from pipelines.money import pusd_to_usd_str
from pipelines.settle import Facts
from worker.aside import Strikes
from worker.context import Context
from worker.dedupe.ended import mark_ended
from worker.money.ledger import Ledger
from worker.settle.audits import Audits
from worker.settle.compact import compact
from worker.settle.followers import Followers
from worker.settle.parts import write_part
from worker.settle.totals import ledger_totals
from worker.store import Store

log = logging.getLogger("spillway.settle")

PART_BATCHES = 64
PART_ROWS = 4096
PART_AGE_S = 3.0
PART_AGE_MOST_S = 60.0
REST_S = 0.15
INBOX_KEPT_S = 6 * 3600
COUNTS = ("open", "borrowed", "fallen", "proven", "audit_open", "audit_wanted")
FIELDS = (*COUNTS, "prepared", "cancel", "status", "audit", "blocked")
TOLD = ("status", "rows", "ok", "duplicate", "invalid", "failed", "refused", "unanswered", "cost_usd")
ENDING = {"1": "cancelled", "cancelled": "cancelled", "expired": "expired", "failed": "failed"}


class Settler:
    """Settles every open run of this Redis; one at a time holds the lease."""

    def __init__(self, context: Context, ledger: Ledger) -> None:
        self.context, self._ledger = context, ledger
        self._first_seen: dict[str, float] = {}
        self._strikes = Strikes(context, "settle")
        self._followers, self._audits = Followers(context), Audits(context)
        self._parts_written: dict[str, int] = defaultdict(int)

    async def step(self) -> None:
        """One look at every open run."""
        redis, keys = self.context.redis, self.context.keys
        ids = sorted(run.decode(errors="replace") for run in await redis.smembers(keys.open_runs))
        pipe = redis.pipeline(transaction=False)
        for run_id in ids:
            pipe.hmget(keys.run(run_id), *FIELDS)
            pipe.llen(keys.drained(run_id))
            pipe.hkeys(keys.parts(run_id))
        replies = await pipe.execute(raise_on_error=False) if ids else []
        self._followers.keep(set(ids))
        busy = False
        for run_id, at in zip(ids, range(0, len(replies), 3), strict=True):
            try:
                busy = await self._run(run_id, replies[at : at + 3]) or busy
                self._strikes.fine(run_id)
            except Exception as error:
                await self._strikes.strike(run_id, error)
        if not busy:
            await asyncio.sleep(REST_S)

    async def _run(self, run_id: str, replies: list[Any]) -> bool:
        """What is due for one run; False when nothing was."""
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        values, drained, parts = replies
        now = {name: (value or b"").decode(errors="replace") for name, value in zip(FIELDS, values, strict=True)}
        if not paths.is_run_id(run_id) or now["status"] not in wire.RUN_OPEN:
            await self.context.redis.srem(self.context.keys.open_runs, run_id)
            return False
        for part in parts:
            await self._write_part(run_id, part.decode())
        ending = ENDING.get(now["cancel"], "")
        prepared, open_ = now["prepared"] == "1", int(now["open"] or 0)
        last = prepared and open_ == drained
        if drained and self._is_due(run_id, drained, last or bool(ending)):
            await self._begin(run_id)
            return True
        held = not ending and await self._holds(run_id, now, prepared and not drained)
        if last and not drained and not parts and not held:
            await self._finish(run_id, ending)
        return bool(parts)

    async def _holds(self, run_id: str, now: dict[str, str], quiet: bool) -> bool:
        """Whether followers or audits keep a run from ending; what is due for them is begun here. `quiet`: nothing else
        is left to settle."""
        count = {name: int(now[name] or 0) for name in COUNTS}
        open_, audits, wanted = count["open"], count["audit_open"], count["audit_wanted"]
        follows = count["borrowed"] or count["fallen"]
        if follows and await self._followers.hold(run_id, last=quiet and open_ == audits):
            return True
        if now["prepared"] == "1" and count["proven"] and not now["audit"]:
            await self._audits.plan(run_id)
            return True
        if quiet and open_ == audits and (audits or wanted):
            return await self._audits.wait(run_id, wanted, blocked=bool(now["blocked"]))
        return False

    def _is_due(self, run_id: str, drained: int, last: bool) -> bool:
        """Large parts, or old ones; the longer a run has been going, the longer small parts wait."""
        now = asyncio.get_running_loop().time()
        since = self._first_seen.setdefault(run_id, now)
        age_s = min(PART_AGE_S + self._parts_written[run_id] / 10, PART_AGE_MOST_S)
        if last or drained >= PART_BATCHES or drained * 64 >= PART_ROWS or now - since >= age_s:
            self._first_seen.pop(run_id, None)
            return True
        return False

    def _facts(self) -> dict[str, Facts]:
        """Of each target, at today's prices."""
        found = {}
        for name, target in self.context.settings.targets.items():
            price = self._ledger.price(name)
            priced = (price.price_id, price.as_of.isoformat()) if price else ("", "")
            found[name] = Facts(target.lane, target.provider or target.kind, target.model, *priced)
        return found

    # -- a part ------------------------------------------------------------------------------------------------

    async def _begin(self, run_id: str) -> None:
        """Names the part, then writes it."""
        keys = self.context.keys
        redis = self.context.redis
        ids = await redis.lrange(keys.drained(run_id), 0, PART_BATCHES - 1)
        pipe = redis.pipeline(transaction=False)
        for batch in ids:
            pipe.hget(keys.batch(batch.decode()), "head")
        heads = await pipe.execute(raise_on_error=False)
        rows = accumulate(_rows_of(head) for head in heads if head)
        most = max(1, sum(1 for total in rows if total <= PART_ROWS))
        number = await redis.hincrby(keys.run(run_id), "parts", 1)
        part = f"{number:08d}"
        count = await self.context.scripts.settle_begin(
            keys=[keys.drained(run_id), keys.parts(run_id)], args=[part, most]
        )
        if count:
            await self._write_part(run_id, part)

    async def _write_part(self, run_id: str, part: str) -> None:
        """Writes what the record names; writing it again is harmless, and needed when there is news meanwhile."""
        while await self._write_once(run_id, part) < 0:
            log.info("run %s: news for part %s while it was written", run_id, part)
        self._parts_written[run_id] += 1

    async def _write_once(self, run_id: str, part: str) -> int:
        keys, redis = self.context.keys, self.context.redis
        record = await redis.hget(keys.parts(run_id), part)
        if record is None:
            return 0
        run = await self.context.run(run_id)
        cancel = await redis.hget(keys.run(run_id), "cancel")
        batches = wire.load(record)
        pipe = redis.pipeline(transaction=False)
        for batch in batches:
            pipe.hmget(keys.batch(batch), "head", "payload", "poison")
            pipe.lrange(keys.journal(batch), 0, -1)
        replies = await pipe.execute()
        if any(head is None for head, _, _ in replies[::2]):
            return 0  # batches go only when their part exists: somebody else was faster
        ending = ENDING.get((cancel or b"").decode(), "")
        today = date.fromisoformat(self.context.clock.date("UTC"))
        done = await asyncio.to_thread(write_part, self.context.store, self._facts(), run, part, replies, ending, today)
        lengths = [len(journal) for journal in replies[1::2]]
        return int(await self.context.scripts.settle_done(
            keys=[keys.run(run_id), keys.parts(run_id), keys.wake],
            args=[part, keys.batch(""), keys.journal(""), *done, *lengths],
        ))  # fmt: skip

    # -- a run's end -------------------------------------------------------------------------------------------

    async def _finish(self, run_id: str, ending: str) -> None:
        """Parts become results.parquet in input order; the run ends."""
        keys, redis = self.context.keys, self.context.redis
        run = await self.context.run(run_id)
        generation = await redis.hget(keys.run(run_id), "generation")
        await redis.hset(keys.run(run_id), "status", "finalizing")
        loop = asyncio.get_running_loop()

        def still_ours() -> bool:
            return asyncio.run_coroutine_threadsafe(self._is_ours(run_id, generation), loop).result()

        named = int(await redis.hget(keys.run(run_id), "parts") or 0)
        await asyncio.to_thread(_forget_parts_above, self.context.store, run_id, named)
        totals = await asyncio.to_thread(self._compact, run_id, run.client, ending, still_ours)
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

    async def _is_ours(self, run_id: str, generation: bytes | None) -> bool:
        redis, keys = self.context.redis, self.context.keys
        owner = await redis.get(keys.lease("settle"))
        now = await redis.hget(keys.run(run_id), "generation")
        return bool(owner == self.context.owner.encode() and now == generation)

    def _compact(self, run_id: str, client: str, ending: str, still_ours: Callable[[], bool]) -> dict[str, Any]:
        totals = compact(self.context.store, run_id, client, ending, still_ours)
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


def _forget_parts_above(store: Store, run_id: str, named: int) -> None:
    """Parts that a Redis which was killed no longer knows: their batches have been settled again, in others."""
    for folder, head in [(paths.parts_dir(run_id), ""), *((day, f"{run_id}.") for day in store.folders("costs"))]:
        for name in store.names(folder):
            number = name.rsplit("/", 1)[1].removeprefix(head).removesuffix(".parquet")
            if number.isdigit() and int(number) > named:
                store.delete(name)


def _rows_of(head: bytes | Exception) -> int:
    try:
        return wire.unpack_head(head).rows if isinstance(head, bytes) else 0
    except wire.Unreadable:
        return 0
