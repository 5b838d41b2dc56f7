"""Beside the settler: which reuses of a run are really asked, what their answers say, and which routes that pauses.

The plan stands in the run's hash, made once; its calls travel as ordinary batches whose head says `audit`. What they say
is written when the run ends, from parts alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import audit, paths, schemas, wire
from pipelines.audit import Reuse
from pipelines.budgets import Event, Scope
from worker.context import Context, RunContext
from worker.fence import Fence
from worker.hooks import announce_alert
from worker.queue import OPEN
from worker.store import Store
from worker.tell import Teller

log = logging.getLogger("spillway.audit")

MOST = 500
"""Reuses of one run and route that are audited; each is two calls."""
PATIENCE_S = 60.0
"""A run whose rows have all ended waits no longer for its audits."""
WINDOW_DAYS = 7
"""What a route is judged by, and how long it is paused."""
DAY_KEPT_S = 3 * 86_400
PROVEN = ("edit", "semantic")
COLUMNS = ["row", "leader_row", "leader_run", "route", "link_kind", "guard"]


Tally = tuple[int, int, int, int]
"""Reuses that disagree, reuses audited, leaders that disagree with themselves, leaders asked twice."""


class Audits:
    """For every open run that has proven reuses."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._since: dict[str, float] = {}
        self._teller = Teller(context)

    async def plan(self, run_id: str) -> None:
        """Chooses once which reuses are asked; counts them for their routes' day."""
        context, keys = self._context, self._context.keys
        found = await asyncio.to_thread(reuses, context.store, run_id)
        day = context.clock.date(context.settings.spillway.timezone)
        today = {n.decode(): int(v) for n, v in (await context.redis.hgetall(keys.audits(day))).items()}
        plan: list[Reuse] = []
        counts: dict[str, int] = {}
        for name, count in sorted(Counter(each.route for each in found).items()):
            route = context.settings.routes.get(name)
            share = route.audit_share if route else 0.0
            total, done = today.get(f"{name} reuses", 0) + count, today.get(f"{name} audited", 0)
            wanted = min(MOST, audit.due(total, done, share, audit.LEAST_AUDITED))
            chosen = audit.chosen(run_id, (each for each in found if each.route == name), wanted)
            plan += chosen
            counts |= {f"{name} reuses": count, f"{name} audited": len(chosen)}
        args = [OPEN, wire.dump(plan), len(plan), DAY_KEPT_S, *(part for pair in counts.items() for part in pair)]
        planned = await context.scripts.audit_plan(keys=[keys.run(run_id), keys.audits(day)], args=args)
        if planned and plan:
            log.info("run %s: %d of %d proven reuses are asked to see whether they hold", run_id, len(plan), len(found))

    async def wait(self, run_id: str, wanted: int, *, blocked: bool) -> bool:
        """Whether a run whose rows have all ended still waits for its audits; at last gives up what is not sent."""
        now = asyncio.get_running_loop().time()
        since = self._since.setdefault(run_id, now)
        if not blocked and now - since < PATIENCE_S:
            return True
        keys = self._context.keys
        names = [keys.waiting(run_id), keys.drained(run_id), keys.run(run_id)]
        await self._context.scripts.close(keys=names, args=[keys.batch(""), "audits"])
        return bool(wanted)

    async def conclude(self, run: RunContext, plan: bytes | None, ours: Fence) -> None:
        """Writes what the run's audits said, and pauses routes that reuse too much that is wrong. Safe to repeat; raises LeaseLost
        when the run went on meanwhile."""
        self._since.pop(run.id, None)
        reused = [Reuse(*each) for each in wire.load(plan)] if plan else []
        if not reused:
            return
        now = datetime.fromtimestamp(self._context.clock.now_us() / 1e6, UTC)
        store = self._context.store
        await asyncio.to_thread(_write, store, run, reused, ours)
        days = [f"audits/day={(now - timedelta(days=back)).date().isoformat()}" for back in range(WINDOW_DAYS + 1)]
        told = await asyncio.to_thread(tallies, store, days, {each.route for each in reused})
        for name, tally in told.items():
            await self._judge(name, tally, now)

    async def _judge(self, name: str, tally: Tally, now: datetime) -> None:
        route = self._context.settings.routes.get(name)
        if route is None or not audit.condemned(*tally, route.max_false_reuse):
            return
        found = audit.excess(*tally)
        message = (
            f"route {name}: reuse by proof is paused for {WINDOW_DAYS} days: {tally[0]} of {tally[1]} audited reuses "
            f"disagree, {tally[2]} of {tally[3]} leaders with themselves; the excess is {found.low:.1%} to {found.high:.1%}, "
            f"allowed is {route.max_false_reuse:.1%} (max_false_reuse)"
        )
        until_ms = int((now + timedelta(days=WINDOW_DAYS)).timestamp() * 1000)
        keys, redis = self._context.keys, self._context.redis
        scope = Scope(f"route:{name}", None)
        event = Event("dedupe_paused", now.date().isoformat(), scope, int(now.timestamp() * 1e6), message)
        known = await redis.hget(keys.paused, name)
        if known is None:
            await announce_alert(self._context, event)  # before it is written down: who dies in between tells it again
        pipe = redis.pipeline(transaction=True)
        pipe.hset(keys.paused, name, wire.dump({"until_ms": until_ms, "excess_low": found.low, "message": message}))
        pipe.pexpireat(keys.paused, until_ms)
        await pipe.execute()
        if known is None:
            self._teller.tell(event)


def reuses(store: Store, run_id: str) -> list[Reuse]:
    """The run's reuses that rest on a proof."""
    found: list[Reuse] = []
    for name in store.names(paths.chunks_dir(run_id)):
        table = store.read_table(name, columns=COLUMNS)
        table = table.filter(pc.is_in(table["link_kind"], value_set=pa.array(PROVEN)))
        found += (Reuse(*each) for each in zip(*(table[column].to_pylist() for column in COLUMNS), strict=True))
    return found


def tallies(store: Store, days: Sequence[str], routes: set[str]) -> dict[str, Tally]:
    """What the audits of these days say of each route."""
    counts: dict[str, Counter[tuple[str, bool]]] = {name: Counter() for name in routes}
    for name in (name for day in days for name in store.names(day)):
        table = store.sound_table(name, columns=["route", "part", "agrees"])
        if table is None:
            continue
        for route, part, agrees in zip(*(table[column].to_pylist() for column in table.column_names), strict=True):
            if route in counts:
                counts[route][part, agrees] += 1
    return {
        name: (
            c["reuse", False], c["reuse", False] + c["reuse", True],
            c["baseline", False], c["baseline", False] + c["baseline", True],
        )
        for name, c in counts.items()
    }  # fmt: skip


def _write(store: Store, run: RunContext, reused: Sequence[Reuse], ours: Fence) -> None:
    """Compares the audits' answers with what was published; rows that have none, or are no reuse any more, are left out."""
    asked = _asked(store, run.id)
    published = _published(store, run.id, sorted(asked))
    rows: list[dict[str, Any]] = []
    for each in reused:
        for row, part, status in ((each.row, "reuse", "duplicate"), (each.leader_row, "baseline", "ok")):
            first, again = published.get(row), asked.get(row)
            if part == "baseline" and each.leader_run is not None:
                continue
            if first is None or again is None or first["status"] != status:
                continue
            said = (first["output"] or "", again["output"] or "")
            found = audit.agreement(*said, first["parsed"], again["parsed"], labels=run.labels is not None)
            rows.append({
                "run_id": run.id, "client": run.client, "route": each.route, "row": row, "part": part,
                "link_kind": each.kind, "guard": each.guard, "leader_row": each.leader_row,
                "leader_run": each.leader_run, **found._asdict(), "published": said[0], "asked": said[1],
                "at": again["finished_at"],
            })  # fmt: skip
    unique = {(row["row"], row["part"]): row for row in rows}
    table = pa.Table.from_pylist(list(unique.values()), schema=schemas.AUDITS)
    made = datetime.fromtimestamp(int(run.created_ms or 0) / 1000, UTC).date()
    store.write_table(paths.audits(made.isoformat(), run.id), table, ours)


def _asked(store: Store, run_id: str) -> Mapping[int, Mapping[str, Any]]:
    found: dict[int, Mapping[str, Any]] = {}
    for name in store.names(paths.audit_parts_dir(run_id)):
        table = store.read_table(name, columns=["row", "status", "output", "parsed", "finished_at"])
        found |= {each["row"]: each for each in table.filter(pc.equal(table["status"], "ok")).to_pylist()}
    return found


def _published(store: Store, run_id: str, rows: Sequence[int]) -> Mapping[int, Mapping[str, Any]]:
    found: dict[int, Mapping[str, Any]] = {}
    wanted = np.array(rows, np.int64)
    for block in store.open_parquet(paths.results(run_id)).iter_batches(
        4096, columns=["row", "status", "output", "parsed"]
    ):
        picked = block.filter(pa.array(np.isin(block["row"].to_numpy(), wanted)))
        found |= {each["row"]: each for each in picked.to_pylist()}
    return found
