"""Closes finished batches, several at a time: journals become result and cost parts; a run's end becomes its files.

What a part holds is recorded in Redis before it is written, so a crash repeats the same part and never another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from datetime import date
from itertools import accumulate
from typing import Any

from pipelines import beside, paths, wire
from pipelines.money import Price
from pipelines.settle import Facts
from worker import aside
from worker.aside import Strikes
from worker.context import Context, RunContext
from worker.fence import fence
from worker.learned import PrefillWeights
from worker.money.ledger import Ledger
from worker.queue import OPEN
from worker.settle.audits import Audits
from worker.settle.ending import End
from worker.settle.followers import Followers
from worker.settle.orphans import Orphans
from worker.settle.partial import Partial
from worker.settle.parts import days_of, write_part
from worker.settle.salvage import Salvage

log = logging.getLogger("spillway.settle")

PART_BATCHES = 64
PART_ROWS = 4096
PART_AGE_S = 3.0
PART_AGE_MOST_S = 60.0
REST_S = 0.15
COUNTS = ("open", "borrowed", "fallen", "proven", "audit_open", "audit_wanted")
FIELDS = (*COUNTS, "prepared", "cancel", "status", "audit", "audit_due", "blocked", "aside")
ENDING = {"1": "cancelled", "cancelled": "cancelled", "expired": "expired", "failed": "failed"}


class Settler:
    """Settles every open run of this Redis; one at a time holds the lease."""

    def __init__(self, context: Context, ledger: Ledger) -> None:
        self.context, self._ledger = context, ledger
        self._first_seen: dict[str, float] = {}
        self._strikes = Strikes(context, "settle")
        self._followers, self._audits = Followers(context), Audits(context)
        self._end, self._orphans = End(context, self._audits), Orphans(context)
        self._salvage, self._partial = Salvage(context, self._end), Partial(context)
        self._weights = PrefillWeights(context)
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
        self._partial.keep(set(ids))
        busy = False
        for run_id, at in zip(ids, range(0, len(replies), 3), strict=True):
            try:
                busy = await self._run(run_id, replies[at : at + 3]) or busy
                self._strikes.fine(run_id)
            except Exception as error:
                await self._strikes.strike(run_id, error)
        await self._late(ids)
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
            await self._unopen(run_id, now)
            return False
        for part in parts:
            await self._write_part(run_id, part.decode())
        ending = ENDING.get(now["cancel"], "")
        prepared, open_ = now["prepared"] == "1", int(now["open"] or 0)
        last = prepared and open_ == drained
        rest = prepared and open_ - drained == int(now["audit_open"] or 0)  # audits, which may wait for just that
        if now["blocked"] and not ending and await self._partial.look(run_id):
            return True
        if drained and self._is_due(run_id, drained, last or rest or bool(ending or now["blocked"])):
            await self._begin(run_id)
            return True
        held = not ending and await self._holds(run_id, now, prepared and not drained)
        if last and not drained and not parts and not held:
            await self._finish(run_id, ending)
        return bool(parts)

    async def _unopen(self, run_id: str, now: dict[str, str]) -> None:
        context, keys = self.context, self.context.keys
        if now["aside"] and now["status"] in wire.RUN_ENDED and paths.is_run_id(run_id):
            await aside.leave(context, run_id)  # who set it aside died on the way
        names = [keys.run(run_id), keys.open_runs]
        await context.scripts.unopen(keys=names, args=[run_id, OPEN])

    async def _finish(self, run_id: str, ending: str) -> None:
        run = await self.context.run(run_id)
        await self._end.forget_parts(run_id)
        if run_id in await self._orphans.runs():
            await self._book(run)
        await self._end.finish(run, ending)

    async def _book(self, run: RunContext) -> bool:
        days = self._days(run)
        return await self._orphans.book(run, await self._facts(), await self._prices(days), days)

    async def _late(self, open_runs: list[str]) -> None:
        """Calls that a worker told after their run had ended, since it had slept and Redis had forgotten them; and those of runs
        that were set aside."""
        for run_id in await self._orphans.runs() - set(open_runs):
            try:
                if paths.is_run_id(run_id):
                    await self._ended(run_id)
            except Exception as error:
                await self._strikes.strike(run_id, error)

    async def _ended(self, run_id: str) -> None:
        said = await self.context.redis.hmget(self.context.keys.run(run_id), "status", "aside", "summary")
        status, was_aside, summary = ((value or b"").decode(errors="replace") for value in said)
        if status not in wire.RUN_ENDED:
            return
        if not was_aside:
            await self._book(await self.context.run(run_id))
            self.context.forget_run(run_id)
            return
        try:
            await self._salvage_run(run_id, finished=bool(summary))
            self._strikes.fine(run_id)
        except Exception as error:
            if await self._strikes.is_last(run_id, error):
                log.error("run %s: what it holds cannot be booked: %s", run_id, aside.said(error))
                await self._orphans.forget(run_id)

    async def _salvage_run(self, run_id: str, *, finished: bool) -> None:
        run = await self._salvage.run(run_id)
        if not finished:
            await self._salvage.forget_named(run_id)
        if await self._book(run):
            if not finished:
                await self._salvage.finish(run)
            await self._orphans.forget(run_id)

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
            due, blocked = bool(now["audit_due"]), bool(now["blocked"])
            return await self._audits.wait(run_id, wanted, due=due, blocked=blocked)
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

    async def _facts(self) -> dict[str, Facts]:
        """Of each target, at today's prices; of one that the configuration has no more, what was said of it when it had."""
        found = {
            name: Facts(said["lane"], said["provider"], said["asked_for"])
            for name, said in self.context.targets.states.items()
            if said.keys() >= {"lane", "provider", "asked_for"}
        }
        weights = await self._weights.now()
        for name, target in self.context.settings.targets.items():
            price = self._ledger.price(name)
            charged = (price.price_id, price.as_of.isoformat()) if price else ("", "")
            room = beside.Room(self.context.targets.window(name), self.context.targets.cap(name), weights.get(name))
            found[name] = Facts(target.lane, target.provider or target.kind, target.model, *charged, room)
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
        part = await self.context.scripts.settle_begin(
            keys=[keys.run(run_id), keys.drained(run_id), keys.parts(run_id)], args=[OPEN, most]
        )
        if part:
            await self._write_part(run_id, part.decode())

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
        cancel, generation = await redis.hmget(keys.run(run_id), "cancel", "generation")
        batches = wire.load(record)
        pipe = redis.pipeline(transaction=False)
        for batch in batches:
            pipe.hmget(keys.batch(batch), "head", "payload", "poison")
            pipe.lrange(keys.journal(batch), 0, -1)
        replies = await pipe.execute()
        if any(head is None for head, _, _ in replies[::2]):
            return 0  # batches go only when their part exists: somebody else was faster
        ending = ENDING.get((cancel or b"").decode(), "")
        days = self._days(run)
        prices, facts = await self._prices(days), await self._facts()
        done = await asyncio.to_thread(
            write_part, self.context.store, facts, run, part, replies, ending, days, prices,
            fence(self.context, "settle", run_id, {"generation": generation}),
        )  # fmt: skip
        lengths = [len(journal) for journal in replies[1::2]]
        return int(await self.context.scripts.settle_done(
            keys=[keys.run(run_id), keys.parts(run_id), keys.wake],
            args=[part, record, keys.batch(""), keys.journal(""), *done, *lengths],
        ))  # fmt: skip

    def _days(self, run: RunContext) -> set[str]:
        return days_of(run, date.fromisoformat(self.context.clock.date("UTC")))

    async def _prices(self, days: set[str]) -> list[Price]:
        """What workers have charged on these days, and what we would now."""
        pipe = self.context.redis.pipeline(transaction=False)
        for day in sorted(days):
            pipe.hkeys(self.context.keys.prices(day))
        replies = await pipe.execute(raise_on_error=False)
        told = [raw for reply in replies if not isinstance(reply, Exception) for raw in reply]
        return [*self._ledger.prices(), *beside.unpack(told)]


def _rows_of(head: bytes | Exception) -> int:
    try:
        return wire.unpack_head(head).rows if isinstance(head, bytes) else 0
    except wire.Unreadable:
        return 0
