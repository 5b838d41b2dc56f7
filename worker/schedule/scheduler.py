"""Every tick: take a snapshot, ask plan() for moves, apply them; heal what ARQ or a dead worker forgot; end runs.

Only the holder of the scheduler lease runs this. Policy is pipelines/plan.py's matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from arq.connections import ArqRedis

from pipelines import paths, wire
from pipelines.plan import plan
from pipelines.planning.capacity import waiting_rows
from pipelines.planning.fair import standings
from pipelines.planning.snapshot import BatchView, Move, Recall, Ring, RunView, Snapshot, TargetView
from worker import leased
from worker.aside import Strikes
from worker.beat import alive
from worker.context import Context, RunContext
from worker.money import budget
from worker.queue import NoScriptError, noted
from worker.schedule.audits import let_go
from worker.schedule.away import Away
from worker.schedule.batches import Batches, Rung
from worker.schedule.estimates import Estimates
from worker.schedule.heal import Healer
from worker.schedule.seen import unprepared_rows, work_at
from worker.schedule.sent import Sent, by_order
from worker.schedule.shares import Shares
from worker.schedule.telling import Telling

TICK_S = 0.25
RECONCILE_S = 2.0


class Scheduler:
    """Snapshots and moves."""

    def __init__(self, context: Context, bells: ArqRedis) -> None:
        self.context, self._bells = context, bells
        self._batches = Batches(context)
        self._clouds = {name for name, target in context.settings.targets.items() if target.lane == "cloud"}
        self._homes = {name for name, route in context.settings.routes.items() if set(route.targets) - self._clouds}
        self._estimates = Estimates(context)
        self._shares = Shares()
        self._away = Away(context)
        self._next_reconcile = 0.0
        self._strikes = Strikes(context, "schedule")
        self._healer = Healer(context)
        self._sent = Sent(context)
        self._telling = Telling(
            context, self._sent, lambda batch: self._estimates.weigh(self._batches.heads[batch].head).pusd
        )
        self._busy = False

    async def rest(self) -> None:
        """No run is open any more, or this process is to stop."""
        self._busy = False
        await self._estimates.keep(await alive(self.context))

    async def step(self) -> None:
        """Waits for the bell (or a tick), then does one round."""
        with contextlib.suppress(asyncio.TimeoutError):
            await self.context.redis.blpop([self.context.keys.wake], timeout=TICK_S)
        pipe = self.context.redis.pipeline(transaction=False)
        pipe.delete(self.context.keys.wake)  # bells that rang until now are answered by this look
        pipe.smembers(self.context.keys.open_runs)
        ids = sorted(run.decode(errors="replace") for run in (await pipe.execute())[1])
        beats = await alive(self.context)
        if asyncio.get_running_loop().time() >= self._next_reconcile:
            self._next_reconcile = asyncio.get_running_loop().time() + RECONCILE_S
            await self._healer.look(beats)
        if not ids:
            if self._busy:
                await self.rest()
            return
        self._busy = True
        self._away.look()
        await self._estimates.look(beats)
        rung = await self._batches.rung(beats)
        await self._sent.look()
        out = [each.id for each in self._sent.out]
        await self._batches.learn_given(out)
        self._sent.know({batch: seen for batch in out if (seen := self._batches.heads.get(batch))})
        runs = await self._runs(ids, rung)
        views = [run for run, _ in runs]
        snapshot = self._snapshot(views, rung)
        moves = plan(snapshot)
        await self._apply(moves, {run.id: run for run in views}, snapshot)
        await self._telling.say(runs, snapshot, moves, [each.head for each in rung.values()])
        known = {batch.id for run in views for batch in run.waiting} | rung.keys() | set(out)
        self._batches.keep(known, {move.batch for move in moves})
        self._shares.keep(known)

    # -- what is -----------------------------------------------------------------------------------------------

    async def _runs(self, ids: list[str], rung: Mapping[str, Rung]) -> list[tuple[RunView, dict[str, str]]]:
        redis, keys = self.context.redis, self.context.keys
        pipe = redis.pipeline(transaction=False)
        for run_id in ids:
            pipe.hgetall(keys.run(run_id))
            pipe.zrevrange(keys.waiting(run_id), 0, -1)
        replies = await pipe.execute(raise_on_error=False)
        found = []
        for run_id, raw, waiting in zip(ids, replies[::2], replies[1::2], strict=True):
            try:
                if seen := await self._run(run_id, raw, waiting, rung):
                    found.append(seen)
                self._strikes.fine(run_id)
            except Exception as error:
                await self._strikes.strike(run_id, error)
        return found

    async def _run(
        self, run_id: str, raw: Any, waiting: Any, rung: Mapping[str, Rung]
    ) -> tuple[RunView, dict[str, str]] | None:
        for reply in (raw, waiting):
            if isinstance(reply, Exception):
                raise reply
        fields = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in raw.items()}
        if not paths.is_run_id(run_id) or fields.get("status") not in wire.RUN_OPEN:
            return None
        batches = [batch.decode(errors="replace") for batch in waiting]
        for batch in self._batches.came_back(batches):
            self._shares.came_back(batch)
            self._away.came_back(batch)
        await self._batches.learn(batches)
        return await self._view(run_id, fields, batches, rung), fields

    async def _view(self, run_id: str, fields: dict[str, str], waiting: list[str], rung: Mapping[str, Rung]) -> RunView:
        run = await self.context.run(run_id, fields.get("started_ms", ""))
        limit_nusd = int(fields["budget_nusd"]) if fields.get("budget_nusd") else None
        if limit_nusd != run.limit_nusd:
            run.limit_nusd = limit_nusd
            await budget.ensure(self.context.redis, self.context.keys, {f"run:{run_id}": limit_nusd})
        deadline = int(float(fields["deadline_ms"])) if fields.get("deadline_ms") else None
        await self._end_if_due(run, fields, deadline)
        weigh = self._estimates.weigh
        local = [each for each in rung.values() if each.head.run == run_id and each.target not in self._clouds]
        at = work_at(local, lambda head: weigh(head).work)
        ahead = sum(at.values())
        if waiting and (more := unprepared_rows(fields)):
            heads = [self._batches.heads[batch].head for batch in waiting]
            mine = [head for head in heads if head.route in self._homes] or heads
            ahead += more * sum(weigh(head).work for head in mine) / max(1, sum(head.rows for head in heads))
        waiting = await let_go(self.context, run, fields, waiting, self._batches.heads)
        ordered = [] if run.stopped else self._ordered(waiting, rung)
        tight = any(self._batches.heads[batch].refused_nusd for batch in ordered)  # some call did not fit
        room_nusd = await self._telling.room_nusd(run) if tight else math.inf
        views = tuple(self._batch_view(batch, run.started_ms, room_nusd) for batch in ordered)
        sent = self._sent.of(run_id, lambda head: weigh(head).work)
        return RunView(
            run_id, run.client, int(fields.get("created_ms") or 0), deadline, views, ahead,
            not views or any(not view.held for view in views), bool(fields.get("tell")), sent,
            frozenset(head.group for head, _, _ in local), at,
        )  # fmt: skip

    def _ordered(self, waiting: list[str], rung: Mapping[str, Rung]) -> list[str]:
        """What saves most for its local time first, by what is known now; equals as they are in Redis."""
        weigh, heads = self._estimates.weigh, self._batches.heads
        return sorted(self._batches.may_run(waiting, rung), key=lambda batch: -weigh(heads[batch].head).saved)

    def _batch_view(self, batch: str, started_ms: str, room_nusd: float) -> BatchView:
        """A batch that one lane failed may use the other, unless that is gone: then it ends where it failed. A command
        that resumes the run gives it all lanes again. One whose next call fits into no budget holds up no other."""
        mine = self._batches.heads[batch]
        lanes, last = mine.lanes, False
        if lanes == "none" or mine.released_ms < int(started_ms or 0) - 1000:
            lanes = "any"
        if lanes != "any" and self._away.is_gone(mine.head.route, lanes):
            lanes, last = ("cloud" if lanes == "local" else "local"), True
        head, now = mine.head, self._estimates.weigh(mine.head)
        return BatchView(
            batch, head.route, head.rows, now.work, lanes, last, real_time=mine.real_time or head.purpose == "audit",
            read=now.read, held=mine.held(room_nusd), group=head.group, guessed=now.guessed,
            cloud_s=self._estimates.cloud_s(head),
        )  # fmt: skip

    def _snapshot(self, runs: list[RunView], rung: Mapping[str, Rung]) -> Snapshot:
        settings = self.context.settings
        rows, slots = Counter[str](), {name: self.context.targets.cap(name) for name in settings.targets}
        work, read, queued = (defaultdict[str, float](float) for _ in range(3))
        for head, target, left in rung.values():  # in the order in which they were rung
            weight, share = self._estimates.weigh(head), left / max(1, head.rows)
            rows[target] += left
            queued[target] += weight.work * waiting_rows(slots.get(target, 0), left, rows[target]) / max(1, head.rows)
            self._shares.seen(head.id, share)
            work[target] += weight.work * share
            read[target] += weight.read * share
        now = self.context.clock.now_ms()
        heads = [self._batches.heads[b.id].head for run in runs for b in run.waiting]
        targets = {}
        for name, configured in settings.targets.items():
            speed = self._estimates.speeds[name]
            targets[name] = TargetView(
                name, configured.lane, self.context.targets.is_up(name), slots[name], rows[name],
                speed.rate, speed.rows_per_s, speed.latency_s or 1.0, work[name], self._estimates.limit(name, heads),
                self._away.seconds(name), speed.spans, read[name], queued[name], self._estimates.climbing(name),
                self._away.is_steady(name), self.context.targets.calls_per_s(name), self.context.targets.is_throttled(name),
            )  # fmt: skip
        weights, ranks = standings(settings.clients)
        self._shares.measured(self._estimates.longer(heads))
        routes = {name: route.targets for name, route in settings.routes.items()}
        seen = Snapshot(
            now, targets, routes, tuple(runs), weights, {}, self._sent.targets(), ranks, ordered=self._away.ordered()
        )
        return self._shares.told(seen)

    # -- moves -------------------------------------------------------------------------------------------------

    async def _apply(self, moves: list[Move], runs: dict[str, RunView], snapshot: Snapshot) -> None:
        keys, pipe = self.context.keys, self.context.redis.pipeline(transaction=False)
        views = {batch.id: batch for run in runs.values() for batch in run.waiting}
        await self._sent.recall(move for move in moves if isinstance(move, Recall))
        rings = [move for move in moves if isinstance(move, Ring)]
        for move in rings:
            names = [keys.batch(move.batch), keys.waiting(move.run), keys.given if by_order(move) else keys.rung]
            lanes = "none" if views[move.batch].last else views[move.batch].lanes
            self.context.scripts.queue(pipe, "ring", names, [move.batch, move.lane, move.target, lanes])
        try:
            epochs = await pipe.execute() if rings else []
        except NoScriptError:  # Redis was started again; none of the moves was made
            await self.context.scripts.load()
            return
        for move, epoch in zip(rings, epochs, strict=True):
            if int(epoch):
                self._batches.went(move)
                client, work = runs[move.run].client, views[move.batch].work
                self._shares.rung(move.batch, move.lane, client, work, snapshot.weights.get(client, 1.0))
                if by_order(move) and runs[move.run].deadline_ms is None:
                    self._away.gave(move.batch, views[move.batch].route, client, work)
            if int(epoch) and not by_order(move):
                await leased.ring(self._bells, keys, move.lane, move.batch, int(epoch))

    async def _end_if_due(self, run: RunContext, fields: dict[str, str], deadline: int | None) -> None:
        """Deadline and cancel close the run: waiting batches go to settle as they are."""
        keys = self.context.keys
        if deadline is not None and self.context.clock.now_ms() > deadline and not fields.get("cancel"):
            # it may have ended, or have been resumed, since
            seen = {"cancel": "", "deadline_ms": fields["deadline_ms"]}
            due = noted({"cancel": "expired", "status": "finalizing"}, seen=seen)
            if await self.context.scripts.note(keys=[keys.run(run.id)], args=due):
                fields["cancel"] = "expired"
        run.stopped = fields.get("cancel", "") not in ("", "0")
        if run.stopped:
            names = [keys.waiting(run.id), keys.drained(run.id), keys.run(run.id)]
            await self.context.scripts.close(keys=names, args=[keys.batch("")])
