"""What people see of the schedule: why a run does not move, what it lacks, and each lane's figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pipelines import wire
from pipelines.planning.snapshot import Move, RunView, Snapshot
from pipelines.types import BatchHead
from worker.context import Context, RunContext
from worker.queue import NoScriptError, noted
from worker.schedule.audits import left_nusd
from worker.schedule.lacks import Lacks
from worker.schedule.sent import Sent
from worker.schedule.why import Why

KEEP_S = 86_400
"""Of lanes' figures, after the last scheduler has gone."""


class Telling:
    """Publishes it with every look."""

    def __init__(self, context: Context, sent: Sent, price_pusd: Callable[[str], float]) -> None:
        """`price_pusd`: what a batch costs in the cloud."""
        self._context, self._sent = context, sent
        self._why, self._lacks = Why(context.targets), Lacks(price_pusd)
        self._refused_by: dict[str, str] = {}

    async def room_nusd(self, run: RunContext) -> float:
        """What the tightest of a run's budgets has room for; it is named when none of its calls fits."""
        left = await left_nusd(self._context, run)
        room, tight = min(((room, name) for name, room in left.items() if room is not None), default=(math.inf, ""))
        self._refused_by[run.id] = tight
        self._lacks.room_nusd[run.id] = int(room) if tight else 0
        return room

    async def say(
        self, runs: list[tuple[RunView, dict[str, str]]], snapshot: Snapshot, moves: list[Move], rung: Sequence[BatchHead]
    ) -> None:  # fmt: skip
        """In each run's hash, with what it held before, and in that of the lanes."""
        keys, pipe = self._context.keys, self._context.redis.pipeline(transaction=False)
        moving = {move.run for move in moves} | {head.run for head in rung}
        lacks = self._lacks.look(snapshot)
        for view, fields in runs:
            idle, refused_by = view.waiting and view.id not in moving, self._refused_by.get(view.id, "")
            reason = self._why.stuck(view, snapshot, refused_by) if idle else ""
            reason = reason or self._why.silent(view, snapshot, rung)
            said = {"lacks": lacks.get(view.id, ""), "blocked": reason, **self._sent.held(view.id)}
            if news := {name: value for name, value in said.items() if value != fields.get(name, "")}:
                self._context.scripts.queue(pipe, "note", [keys.run(view.id)], noted(news))
        for name, target in snapshot.targets.items():
            state = self._context.targets.states.get(name, {})
            figures = {
                "lane": target.lane, "up": target.up, "reason": state.get("reason", ""), "slots": target.slots,
                "rung_rows": target.rung_rows, "rows_per_s": float(f"{target.rows_per_s:.4g}"), "latency_s": target.latency_s,
                "spans": target.spans, "throttled": target.throttled, "limit_rows_per_s": target.limit_rows_per_s,
            }  # fmt: skip
            pipe.hset(keys.lanes, name, wire.dump(figures))
        self._sent.say(pipe)
        pipe.expire(keys.lanes, KEEP_S)
        try:
            await pipe.execute()
        except NoScriptError:  # Redis was started again; all of it is said at the next look
            await self._context.scripts.load()
