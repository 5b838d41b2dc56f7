"""Beside the settler: followers whose leader has no answer for them become work of their own, at once.

What stands in Redis (`promoted`) are only the rows that are wanted or being asked; everything else is read from the
chunk and result parts, so a settler that starts anew comes to the same rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipelines import wire
from pipelines.planning.patience import LAST_SHARE, needed_s, possible_s, presses
from worker.context import Context
from worker.queue import noted
from worker.settle.follow import ALL, Again, Following, Over
from worker.settle.pressing import lanes, rows_out

log = logging.getLogger("spillway.follow")

LOOK_S = 0.5
HDEL_ROWS = 1_000
"""Of one step of Redis."""
PATIENCE_S = 120.0
"""So long another run that is blocked, and has nothing with a provider, may go without one more answer before its followers are
asked themselves. A run that only waits for its turn, or for a provider's batch, may take hours."""
BUDGET_PATIENCE_S = 3.0
"""The same of one whose next call fits into no budget: until all that it had answered is settled."""
OWN_FIELDS = (
    "cursor", "generation", "redo", "deadline_ms", "deadline_s", "cancel", "open", "audit_open", "held_rows", "freed", "lent",
)  # fmt: skip
OTHER_FIELDS = ("status", "blocked", "out_rows", "ok", "settled", "rows")
"""Of another run; the last three are its progress."""


class _State(msgspec.Struct):
    following: Following
    next_s: float = 0.0
    busy: bool = False


class Followers:
    """For every open run that has links to other runs, or leaders that failed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._states: dict[str, _State] = {}
        self._moved: dict[str, tuple[tuple[Any, ...], float]] = {}

    async def hold(self, run_id: str, *, last: bool) -> bool:
        """Asks followers that are due; True while the run must not end yet. `last`: nothing else keeps it open."""
        state = self._states.setdefault(run_id, _State(Following(self._context.store, run_id)))
        now = asyncio.get_running_loop().time()
        if now < state.next_s and (state.busy or not last):
            return state.busy
        state.busy = await self._look(run_id, state.following)
        state.next_s = asyncio.get_running_loop().time() + max(LOOK_S, 5 * (asyncio.get_running_loop().time() - now))
        return state.busy

    def keep(self, run_ids: set[str]) -> None:
        """Forgets the runs that are not open any more."""
        self._states = {run: state for run, state in self._states.items() if run in run_ids}
        self._moved = {run: seen for run, seen in self._moved.items() if run in run_ids}

    async def _look(self, run_id: str, following: Following) -> bool:
        redis, keys = self._context.redis, self._context.keys
        asked_raw = await redis.hgetall(keys.promoted(run_id))
        raw = await redis.hmget(keys.run(run_id), *OWN_FIELDS)  # after it: whoever is being asked is in an open batch
        cursor, generation, redo, deadline_ms, deadline_s, cancel, open_, audits, held, *told = (
            (each or b"").decode() for each in raw
        )
        if cancel:
            return True  # the settler asked before it knew: at its next look the run ends as cancelled, or as expired
        rows_committed = int(wire.load(cursor)["row"]) if cursor else 0
        await asyncio.to_thread(following.prepared, rows_committed)
        over = await self._over(following.others)  # before their parts are read: an ended run has them all
        again = {run_id: _again(generation, redo), **await self._again(following.others)}
        await asyncio.to_thread(following.answered, again[run_id].generation)
        asked = {int(row): state for row, state in asked_raw.items()}
        if done := following.settled(asked, again[run_id].generation):
            names = [keys.run(run_id), keys.promoted(run_id)]
            for at in range(0, len(done), HDEL_ROWS):
                await self._context.scripts.unpromote(keys=names, args=[generation, *done[at : at + HDEL_ROWS]])
            asked = {row: asked[row] for row in asked.keys() - set(done)}
        rows, waiting = await asyncio.to_thread(following.due, asked, again, over)
        if len(waiting) and deadline_ms:
            left_s = (float(deadline_ms) - self._context.clock.now_ms()) / 1000
            if left_s < LAST_SHARE * float(deadline_s or 0):
                late: Over = dict.fromkeys(following.others, ALL)
            else:
                late = await self._late(following, waiting, left_s, float(deadline_s or 0), int(held or 0))
            if late:
                rows, waiting = await asyncio.to_thread(following.due, asked, again, {**late, **over})
        if rows:
            count = await self._context.scripts.promote(keys=[keys.run(run_id), keys.promoted(run_id)], args=rows)
            log.info("run %s: %d followers are asked themselves; their leaders have no answer", run_id, count)
        await self._tell(run_id, told, following.borrowed - len(waiting), following.lent)
        live = b"wa" if int(open_ or 0) > int(audits or 0) else b"w"  # a batch that could not be read settles nothing
        return bool(rows or len(waiting) or any(state in live for state in asked.values()))

    async def _tell(self, run_id: str, told: list[str], freed: int, lent: int) -> None:
        """How many duplicates of other runs' rows wait for them no more, and how many of these have an answer: for the display."""
        if told != [str(freed), str(lent)]:
            args = noted({"freed": str(freed), "lent": str(lent)})
            await self._context.scripts.note(keys=[self._context.keys.run(run_id)], args=args)

    async def _again(self, runs: Sequence[str]) -> dict[str, Again]:
        """What other runs are asking again."""
        pipe, keys = self._context.redis.pipeline(transaction=False), self._context.keys
        for run in runs:
            pipe.hmget(keys.run(run), "generation", "redo")
        found = await pipe.execute() if runs else []
        return {run: _again(*values) for run, values in zip(runs, found, strict=True)}

    async def _late(
        self, following: Following, waiting: NDArray[np.intp], left_s: float, whole_s: float, held_rows: int
    ) -> Over:
        """Other runs that nobody waits for any more because the lanes need the time that is left for who waits and for the run's own
        rows. What such a run has out is paid already: that is waited for until it alone needs the time. One that must end before
        this run is waited for all the same, and so is every one where the lanes could not do the work in the whole of the time."""
        context, routes = self._context, {n: route.targets for n, route in self._context.settings.routes.items()}
        rows, targets = await asyncio.to_thread(following.would_ask, waiting), await lanes(context)
        rows[max(rows, key=lambda route: rows[route])] += held_rows
        if possible_s(rows, routes, targets) > whole_s or not presses(left_s, needed_s(rows, routes, targets)):
            return {}
        others = await self._ending_later(following.others, left_s)
        out = {run: await rows_out(context, run) for run in others}
        alone = await asyncio.to_thread(following.would_ask, waiting, out)
        return dict.fromkeys(out, ALL) if presses(left_s, needed_s(alone, routes, targets)) else out

    async def _ending_later(self, runs: Sequence[str], left_s: float) -> list[str]:
        """Those of other runs that have no deadline within so many seconds."""
        pipe = self._context.redis.pipeline(transaction=False)
        for run in runs:
            pipe.hget(self._context.keys.run(run), "deadline_ms")
        found, latest_ms = await pipe.execute() if runs else [], self._context.clock.now_ms() + 1000 * left_s
        return [run for run, due_ms in zip(runs, found, strict=True) if not due_ms or float(due_ms) > latest_ms]

    async def _over(self, runs: Sequence[str]) -> Over:
        """Other runs for whose answers nobody waits any more: ended, out of money, or blocked and standing still."""
        redis, keys = self._context.redis, self._context.keys
        pipe = redis.pipeline(transaction=False)
        for run in runs:
            pipe.hmget(keys.run(run), *OTHER_FIELDS)
        found = await pipe.execute() if runs else []
        now = asyncio.get_running_loop().time()
        over = {}
        for run, values in zip(runs, found, strict=True):
            status, blocked, out_rows, *progress = ((value or b"").decode() for value in values)
            seen, since = self._moved.get(run, ((), now))
            if seen != tuple(progress) or not blocked or int(out_rows or 0):
                self._moved[run] = (tuple(progress), now)
                since = now
            patience_s = BUDGET_PATIENCE_S if blocked.startswith("budget") else PATIENCE_S
            if status not in wire.RUN_OPEN or now - since > patience_s:
                over[run] = ALL
        return over


def _again(generation: str | bytes | None, redo: str | bytes | None) -> Again:
    return Again(int(generation or 0), wire.load(redo) if redo else ())
