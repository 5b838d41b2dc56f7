"""Books calls that only their worker's memory knew: Redis forgot their batch, and it was never made again as it was.

Their rows are asked again in other batches; these calls are `late` in the ledger, each once, however often this is repeated.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from pipelines import beside, budgets, days, paths, wire
from pipelines.journal import fold, lost_call
from pipelines.money import Price, pusd_to_nusd_ceil
from pipelines.settle import Facts, Journal, tables
from pipelines.types import Entry, Intent, Late
from worker.context import Context, RunContext
from worker.settle.parts import by_day, is_money, ledger_names
from worker.store import Store

log = logging.getLogger("spillway.settle")


class Orphans:
    """The journals of batches that are not there."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def runs(self) -> set[str]:
        """Whose batches they are; the run itself may be gone."""
        names = await self._context.redis.hkeys(self._context.keys.orphans)
        return {name.decode(errors="replace").partition(".")[0] for name in names}

    async def book(self, run: RunContext, facts: Mapping[str, Facts], prices: Iterable[Price]) -> None:
        """Of a run that makes no batch any more: what its ledger does not have is added to it, the rest was settled."""
        redis, keys = self._context.redis, self._context.keys
        told = {
            name.decode(errors="replace"): value
            for name, value in (await redis.hgetall(keys.orphans)).items()
            if name.startswith(f"{run.id}.".encode())
        }
        journals, spent = [], set()
        for batch, value in told.items():
            entries = _late(wire.readable_entries(await redis.lrange(keys.journal(batch), 0, -1)))
            try:
                head = wire.unpack_head(value[1:])
            except wire.Unreadable as error:
                log.error("run %s: the journal of a batch that is gone is left out: %s", run.id, error)
                continue
            journals.append(Journal(head, run.client, tuple(entries)))
            spent |= {head.id} if value[:1] == b"1" else set()
        costs = await asyncio.to_thread(_write, self._context.store, run.id, journals, facts, list(prices))
        if costs.num_rows:
            log.warning("run %s: %d calls of batches that Redis forgot are in the ledger", run.id, costs.num_rows)
        await self._spend(run, costs, spent)
        if told:
            await redis.hdel(keys.orphans, *told)
            await redis.delete(*(keys.journal(batch) for batch in told))

    async def _spend(self, run: RunContext, costs: pa.Table, spent: set[str]) -> None:
        """In the budgets, where that was not done when they were said again."""
        settings, keys = self._context.settings, self._context.keys
        amounts: dict[str, int] = defaultdict(int)
        for call, usd, at in zip(
            *(costs[name].to_pylist() for name in ("call_id", "cost_usd", "started_at")), strict=True
        ):
            if call.partition(":")[0] not in spent:
                day = days.day(int(at.timestamp() * 1000), settings.spillway.timezone)
                for scope in budgets.scopes(settings, run.client, run.id, run.limit_nusd, day):
                    amounts[scope] += pusd_to_nusd_ceil(int(usd.scaleb(12)))
        pipe = self._context.redis.pipeline(transaction=True)
        for scope, nusd in amounts.items():
            if await self._context.redis.exists(keys.budget(scope)):  # a day that is forgotten needs no wall
                pipe.hincrby(keys.budget(scope), "spent", nusd)
        await pipe.execute()


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


def _write(
    store: Store, run_id: str, journals: list[Journal], facts: Mapping[str, Facts], prices: list[Price]
) -> pa.Table:
    """The ledger rows that were missing, now in files named after them. Blocking."""
    costs = tables([replace(each, ids=_ids(store, run_id, each)) for each in journals], facts)[1]
    if costs.num_rows:
        known = pa.array(sorted(_known(store, run_id)), pa.string())
        costs = costs.filter(pc.invert(pc.is_in(costs["call_id"], value_set=known)))
    for day, table in by_day(costs):
        calls = "\n".join(sorted(table["call_id"].to_pylist()))
        name = f"orphans-{hashlib.blake2b(calls.encode(), digest_size=8).hexdigest()}"
        store.write_table(paths.costs_part(day, run_id, name), beside.noted(table, prices))
    return costs


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
