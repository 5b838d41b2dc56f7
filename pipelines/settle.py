"""Turns journals into the rows of results and ledger; values in, Arrow tables out.

A call that was sent and never heard of again is `lost`, at its upper bound. Nothing here decides what to call next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from pipelines import schemas
from pipelines.beside import Room
from pipelines.journal import State, fold, lost_call
from pipelines.types import BatchHead, Called, Entry, Intent


class Facts(msgspec.Struct, frozen=True):
    """What the ledger says about a target: lane, provider (its kind), configured model, the price of its bounds and its room."""

    lane: str
    provider: str
    model: str
    price_id: str = ""
    price_as_of: str = ""
    room: Room = Room()


class Journal(msgspec.Struct, frozen=True):
    """One batch and everything that happened to it."""

    head: BatchHead
    client: str
    entries: tuple[Entry, ...]
    ids: Mapping[int, str | None] = {}


def money(pusd: Sequence[int]) -> pa.Array:
    """Integers of pico-dollars as decimal128(38, 12) dollars: the same 128 bits, without a detour by Decimal."""
    low = np.array(pusd, dtype=np.int64)
    wide = np.empty((len(low), 2), dtype=np.int64)
    wide[:, 0] = low
    wide[:, 1] = low >> 63
    return pa.Array.from_buffers(schemas.MONEY, len(low), [None, pa.py_buffer(wide.tobytes())])


SET_ASIDE = "set_aside"
"""The ending of a run whose record in Redis could not be used."""


def reason_of(ending: str) -> tuple[str | None, str | None]:
    """Error code and message of a row that its run's ending left unanswered; most endings say it by their name."""
    if ending == SET_ASIDE:
        return SET_ASIDE, "its run could not be read in Redis; --fresh runs the source again"
    if ending != "failed":
        return None, None
    remedy = "restore the file and run again"
    return "source_failed", f"the run ended before it was asked: its source could not be read on; {remedy}"


def tables(journals: Sequence[Journal], targets: Mapping[str, Facts]) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The part (sorted by row), the ledger rows and the audits' answers of some settled batches."""
    part: dict[str, list[Any]] = {name: [] for name in schemas.PART.names}
    audits: dict[str, list[Any]] = {name: [] for name in schemas.PART.names}
    costs: dict[str, list[Any]] = {name: [] for name in schemas.COSTS.names}
    for journal in journals:
        state = fold(journal.entries)
        _add_costs(costs, journal, state, targets)
        _add_results(audits if journal.head.purpose == "audit" else part, journal, state, targets)
    return _table(part, schemas.PART).sort_by("row"), _table(costs, schemas.COSTS), _table(audits, schemas.PART)


def _table(columns: dict[str, list[Any]], schema: pa.Schema) -> pa.Table:
    arrays = [
        money(columns[field.name]) if field.type == schemas.MONEY else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _facts(targets: Mapping[str, Facts], name: str) -> Facts:
    return targets.get(name) or Facts("cloud", "unknown", "")


def _price_date(charged: str, now: str, started_us: int) -> date:
    """That of the price that was charged. A lost call's is today's if that is older than the call, as a stated price may be, else
    the call's own day: what is settled days later was bounded by the price of then."""
    if charged:
        return date.fromisoformat(charged)
    sent = datetime.fromtimestamp(started_us // 1_000_000, UTC).date()
    return min(date.fromisoformat(now), sent) if now else sent


def _numbered(state: State) -> tuple[dict[str, int], Counter[int]]:
    """Which attempt of its row each call was that counts, in the journal's order, and how many each row had: two workers that
    both believed they held a batch each numbered on their own."""
    numbers: dict[str, int] = {}
    counts = Counter[int]()
    for call, intent in state.intents.items():
        if call not in state.late:
            counts[intent.row] += 1
            numbers[call] = counts[intent.row]
    return numbers, counts


def _add_costs(costs: dict[str, list[Any]], journal: Journal, state: State, targets: Mapping[str, Facts]) -> None:
    head, numbers = journal.head, _numbered(state)[0]
    for call, intent in state.intents.items():
        called = state.called.get(call) or lost_call(intent)
        facts, usage = _facts(targets, intent.target), called.usage
        avoids = head.purpose == "answer" and call not in state.late
        values = (
            call,
            "late" if call in state.late else head.purpose,
            head.run,
            intent.row,
            journal.ids.get(intent.row),
            journal.client,
            numbers.get(call, intent.attempt),
            intent.lane or facts.lane,
            intent.target,
            facts.provider,
            called.model or facts.model,
            head.route,
            called.outcome,
            called.http_status,
            called.error_code,
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.cache_write_tokens,
            usage.output_tokens,
            usage.reasoning_tokens,
            called.price_id or facts.price_id,
            _price_date(called.price_as_of, facts.price_as_of, intent.started_us),
            called.cost_pusd,
            called.cost_basis,
            called.avoided_pusd if avoids else 0,
            called.avoided_cause if avoids else None,
            intent.started_us,
            called.finished_us,
        )
        for column, value in zip(costs.values(), values, strict=True):
            column.append(value)


def _worth(intent: Intent, called: Called) -> int:
    """What an equal prompt need not pay: one that had the time for a provider's batch would have been asked in one too."""
    return called.cost_pusd + (0 if intent.lane == "provider_batch" else called.avoided_pusd)


def _add_results(part: dict[str, list[Any]], journal: Journal, state: State, targets: Mapping[str, Facts]) -> None:
    spent: dict[int, int] = {}
    attempts = _numbered(state)[1]
    for call, intent in state.intents.items():
        if call not in state.late:
            cost = state.called[call].cost_pusd if call in state.called else intent.bound_pusd
            spent[intent.row] = spent.get(intent.row, 0) + cost
    for row, done in state.done.items():
        intent_of = state.intents.get(done.call) if done.call else None
        called = state.called.get(done.call) if done.call else None
        facts = _facts(targets, intent_of.target) if intent_of else None
        usage = called.usage if called else None
        values = (
            journal.head.generation,
            row,
            done.status,
            done.output,
            done.parsed,
            done.finish_reason,
            journal.head.route,
            (intent_of.lane or facts.lane) if intent_of and facts else None,
            intent_of.target if intent_of else None,
            facts.provider if facts else None,
            (called.model or facts.model) if called and facts else None,
            done.quality,
            usage.input_tokens if usage else None,
            usage.cached_input_tokens if usage else None,
            usage.cache_write_tokens if usage else None,
            usage.output_tokens if usage else None,
            usage.reasoning_tokens if usage else None,
            spent.get(row, 0),
            called.avoided_pusd if called and done.status == "ok" else 0,
            attempts[row],
            done.error_code,
            done.error_message,
            done.http_status,
            done.response.decode("utf-8", "replace") if done.response is not None else None,
            done.started_us,
            done.finished_us,
            _worth(intent_of, called) if intent_of and called and done.status == "ok" else 0,
        )
        for column, value in zip(part.values(), values, strict=True):
            column.append(value)
