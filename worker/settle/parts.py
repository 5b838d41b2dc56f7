"""From the journals of some settled batches to their files: result part, audit part and ledger parts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Set
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import beside, paths, wire
from pipelines.journal import State, fold
from pipelines.money import Price
from pipelines.printable import one_line
from pipelines.settle import SET_ASIDE, Facts, Journal, reason_of, tables
from pipelines.types import Called, Done, Entry, Intent, Late
from worker.context import RunContext
from worker.fence import Fence, no_fence
from worker.memory import give_back
from worker.store import Store

log = logging.getLogger("spillway.settle")

MOST_PUSD = 10**18
"""A million dollars: no call costs that."""


class Written(NamedTuple):
    """What a part held: rows, payload bytes, rows that ended without an answer, batches of audit calls."""

    rows: int
    size: int
    lost: int
    audits: int


def write_part(
    store: Store,
    facts: Mapping[str, Facts],
    run: RunContext,
    part: str,
    replies: list[Any],
    ending: str,
    days: Set[str],
    prices: Iterable[Price],
    ours: Fence = no_fence,
) -> Written:
    """Writes the files of some batches; `replies` are head, payload and poison, then the journal, of each. Blocking.

    Raises LeaseLost, and leaves the files as they are, when this process slept so long that others write them: a Redis that
    forgot which batches a part has lets them give its name to more than we know of.

    `days` are the UTC dates since the run began: a part of this name that a Redis which was set back no longer knows may have
    had calls of any. `prices` are those that any of the calls may have been charged.
    """
    journals, group_of, rows, size = [], dict[int, str](), 0, 0
    for (head, payload, poison), blobs in zip(replies[::2], replies[1::2], strict=True):
        try:
            batch, items = wire.unpack_head(head), wire.unpack_items(payload or b"")
        except wire.Unreadable as error:  # compact.py gives its rows their end
            log.error("run %s: a batch is left out: %s", run.id, one_line(str(error)))
            continue
        entries: list[Entry] = _own(wire.readable_entries(blobs), {item.row for item in items})
        state = fold(entries)
        reason = poison.decode() if poison else ""
        entries += [_unanswered(item.row, state, ending, reason) for item in items if item.row not in state.done]
        ids = {item.row: item.custom_id or str(item.row) for item in items}
        journals.append(Journal(batch, run.client, tuple(entries), ids))
        group_of |= dict.fromkeys(ids, batch.group)
        rows, size = rows + batch.rows, size + len(payload)
    results, costs, audits = tables(journals, facts)
    rooms = {name: said.room for name, said in facts.items()}
    called = {day: beside.noted(beside.grouped(table, group_of), prices, rooms) for day, table in by_day(costs)}
    files = {paths.part(run.id, part): results}
    if audits.num_rows:
        files[paths.audit_part(run.id, part)] = audits
    files |= {paths.costs_part(day, run.id, part): table for day, table in called.items()}
    for name, table in files.items():
        store.write_table(name, table, ours)
    for day in days - called.keys():
        ours()
        store.delete(paths.costs_part(day, run.id, part))
    lost = results.num_rows - pc.sum(pc.equal(results["status"], "ok")).as_py() if results.num_rows else 0
    written = Written(rows, size, lost, sum(1 for journal in journals if journal.head.purpose == "audit"))
    del journals, results, costs, audits, files, called
    give_back()
    return written


def _own(entries: list[Entry], rows: set[int]) -> list[Entry]:
    """A journal without rows that are not its batch's, calls that nobody intended and money that is none."""
    intended = {
        entry.call
        for entry in entries
        if isinstance(entry, Intent) and entry.row in rows and is_money(entry.bound_pusd)
    }
    kept: list[Entry] = []
    for entry in entries:
        called = entry.called if isinstance(entry, Late) else entry
        if isinstance(called, Done):
            good = called.row in rows and (called.call is None or called.call in intended)
        elif isinstance(called, Called):
            good = called.call in intended and is_money(called.cost_pusd) and is_money(called.avoided_pusd)
        else:
            good = called.call in intended
        if good:
            kept.append(entry)
    return kept


def is_money(pusd: int) -> bool:
    return 0 <= pusd < MOST_PUSD


def _unanswered(row: int, state: State, ending: str, poison: str) -> Done:
    """The end of a prompt that nobody will ask any more."""
    attempts = state.attempts(row)
    status = "failed" if poison or ending == SET_ASIDE else ending or "cancelled"
    code, message = ("poison", poison) if poison else reason_of(ending)
    started = min((i.started_us for i in state.intents.values() if i.row == row), default=0)
    return Done(row, status, None, attempts, None, None, None, None, code, message, None, None, started, started)


def days_of(run: RunContext, today: date) -> set[str]:
    """UTC dates on which calls of a run may have started."""
    first = datetime.fromtimestamp(int(run.created_ms) / 1000, UTC).date() if run.created_ms else today
    return {(first + timedelta(days=number)).isoformat() for number in range((today - first).days + 1)}


def ledger_names(store: Store, run_id: str) -> list[str]:
    """The files of a run's ledger."""
    names = (name for day in store.folders("costs") for name in store.names(day))
    return [name for name in names if name.rsplit("/", 1)[1].startswith(f"{run_id}.")]


def by_day(costs: pa.Table) -> list[tuple[str, pa.Table]]:
    """Ledger rows by the UTC date on which their call started."""
    if costs.num_rows == 0:
        return []
    days = pc.cast(costs["started_at"], pa.date32())
    return [
        (day.isoformat(), costs.filter(pc.equal(days, pa.scalar(day, pa.date32()))))
        for day in sorted(set(days.to_pylist()))
    ]
