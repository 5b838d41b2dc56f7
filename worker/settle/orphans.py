"""Books the journals of batches that nobody settles: Redis forgot the batch and it was never made again as it was, or its run was
set aside (worker/aside.py).

The rows of a forgotten batch are asked again in other batches, so its calls are `late` in the ledger; those of a batch whose run
was set aside are its answers. Each step may be repeated: a journal is taken, its calls are counted in the budgets, each once,
then written, then forgotten.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping, Set
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from pipelines import beside, budgets, days, paths, wire
from pipelines.errors import LeaseLost
from pipelines.journal import fold, lost_call
from pipelines.money import Price, pusd_to_nusd_ceil
from pipelines.settle import SET_ASIDE, Facts, Journal, tables
from pipelines.types import BatchHead, Entry, Intent, Late
from worker.again import ORPHAN_S
from worker.aside import left
from worker.context import Context, RunContext
from worker.fence import Fence, fence
from worker.settle.parts import by_day, is_money, ledger_names, write_part
from worker.store import Store

log = logging.getLogger("spillway.settle")


class Orphans:
    """The journals of batches that nobody settles."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def runs(self) -> set[str]:
        """Whose they are; the run itself may be gone."""
        names = await self._context.redis.hkeys(self._context.keys.orphans)
        return {name.decode(errors="replace").partition(".")[0] for name in names}

    async def book(
        self, run: RunContext, facts: Mapping[str, Facts], prices: Iterable[Price], days_: Set[str] = frozenset()
    ) -> bool:
        """Of a run that makes no batch any more: what its ledger does not have is added to it, the rest was settled. False: of some
        batches that were set aside calls are out, look again.

        `days_` are the UTC dates since the run began. Raises LeaseLost when another settles by now.
        """
        context, keys = self._context, self._context.keys
        told = {
            name.decode(errors="replace"): value
            for name, value in (await context.redis.hgetall(keys.orphans)).items()
            if name.startswith(f"{run.id}.".encode()) and name != left(run.id).encode()
        }
        if not told:
            return True
        generation = await context.redis.hget(keys.run(run.id), "generation")
        ours = fence(context, "settle", run.id, {"generation": generation})
        known = await asyncio.to_thread(_known, context.store, run.id)
        prices, over, late = list(prices), True, 0
        for batch, said in told.items():
            names = [
                keys.lease("settle"),
                keys.orphans,
                keys.batch(batch),
                keys.journal(batch),
                f"{keys.journal(batch)}:taken",
            ]
            taken = await context.scripts.orphan_take(keys=names, args=[context.owner, batch, ORPHAN_S])
            if taken == 0:
                raise LeaseLost(f"run {run.id} is settled by another worker")
            over = over and taken != [0]
            if len(taken) < 3:
                continue
            entries, head, payload = taken
            if head:
                part = f"aside-{hashlib.blake2b(batch.encode(), digest_size=8).hexdigest()}"
                await asyncio.to_thread(
                    write_part, context.store, facts, run, part, [(head, payload, None), entries], SET_ASIDE, days_, prices, ours
                )  # fmt: skip
            else:
                late += await self._late(run, batch, said, entries, known, facts, prices, ours)
            await context.scripts.orphan_done(keys=names, args=[context.owner, batch, len(entries)])
        if late:
            log.warning("run %s: %d calls of batches that Redis forgot are in the ledger", run.id, late)
        return over

    async def forget(self, run_id: str) -> None:
        """A run that was set aside, all of which is booked."""
        redis, keys = self._context.redis, self._context.keys
        names = [name for name in await redis.hkeys(keys.orphans) if name.startswith(f"{run_id}.".encode())]
        if names:
            await redis.hdel(keys.orphans, *names)

    async def _late(
        self, run: RunContext, batch: str, said: bytes, blobs: list[bytes], known: set[str], facts: Mapping[str, Facts],
        prices: list[Price], ours: Fence,
    ) -> int:  # fmt: skip
        """A journal whose batch is gone; how many calls the ledger did not have."""
        try:
            head = wire.unpack_head(said)
        except wire.Unreadable as error:
            log.error("run %s: the journal of a batch that is gone is left out: %s", run.id, error)
            return 0
        costs = await asyncio.to_thread(_missing, self._context.store, run, head, blobs, known, facts)
        if costs.num_rows:
            await self._spend(run, costs)
            await asyncio.to_thread(_write, self._context.store, run.id, costs, prices, ours)
        return int(costs.num_rows)

    async def _spend(self, run: RunContext, costs: pa.Table) -> None:
        """In the budgets, where that was not done when they were said again."""
        context, keys = self._context, self._context.keys
        zone = context.settings.spillway.timezone
        calls: dict[str, list[Any]] = {}
        for call, usd, at in zip(
            *(costs[name].to_pylist() for name in ("call_id", "cost_usd", "started_at")), strict=True
        ):
            day = days.day(int(at.timestamp() * 1000), zone)
            calls.setdefault(day, []).extend((call, pusd_to_nusd_ceil(int(usd.scaleb(12)))))
        for day, spent in calls.items():
            scopes = budgets.scopes(context.settings, run.client, run.id, run.limit_nusd, day)
            names, args = [keys.counted, *(keys.budget(scope) for scope in scopes)], [ORPHAN_S, *spent]
            await context.scripts.orphan_spend(keys=names, args=args)
            context.again.remember_step("orphan_spend", names, args)


def _late(entries: list[Entry]) -> list[Entry]:
    """Only its calls, none of which has its answer published."""
    kept = [entry for entry in entries if not isinstance(entry, Intent) or is_money(entry.bound_pusd)]
    state = fold(kept)
    called = [state.called.get(call) or lost_call(intent) for call, intent in state.intents.items()]
    good = {one.call for one in called if is_money(one.cost_pusd)}
    return [
        *(intent for call, intent in state.intents.items() if call in good),
        *(Late(one) for one in called if one.call in good),
    ]


def _missing(
    store: Store, run: RunContext, head: BatchHead, blobs: list[bytes], known: set[str], facts: Mapping[str, Facts]
) -> pa.Table:
    """The rows of a journal that the ledger has not. Blocking."""
    journal = Journal(head, run.client, tuple(_late(wire.readable_entries(blobs))))
    costs = tables([replace(journal, ids=_ids(store, run.id, journal))], facts)[1]
    return costs.filter(pc.invert(pc.is_in(costs["call_id"], value_set=pa.array(sorted(known), pa.string()))))


def _write(store: Store, run_id: str, costs: pa.Table, prices: list[Price], ours: Fence) -> None:
    """Into files that are named after their calls. Blocking."""
    for day, table in by_day(costs):
        calls = "\n".join(sorted(table["call_id"].to_pylist()))
        name = f"orphans-{hashlib.blake2b(calls.encode(), digest_size=8).hexdigest()}"
        store.write_table(paths.costs_part(day, run_id, name), beside.noted(table, prices), ours)


def _ids(store: Store, run_id: str, journal: Journal) -> dict[int, str]:
    """What the callers call its rows."""
    rows = {entry.row for entry in journal.entries if isinstance(entry, Intent)}
    found = {row: str(row) for row in rows}
    for name in store.names(paths.chunks_dir(run_id)) if rows else []:
        if paths.first_row(name) <= max(rows):
            table = store.read_table(name, columns=["row", "custom_id"])
            pairs = zip(table["row"].to_pylist(), table["custom_id"].to_pylist(), strict=True)
            found |= {row: custom_id for row, custom_id in pairs if row in rows and custom_id is not None}
    return found


def _known(store: Store, run_id: str) -> set[str]:
    """Every call of the run that is in the ledger."""
    files = (store.read_table(name, columns=["call_id"]) for name in ledger_names(store, run_id))
    return {call for table in files for call in table["call_id"].to_pylist()}
