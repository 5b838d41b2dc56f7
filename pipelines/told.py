"""What an inbox run says to the server at which its submitters wait: answers as the journal gets them, and rows that nobody asks.

An answer is a row as in results.parquet, with the columns that an answer needs. The messages go by a channel of Redis; one
that is lost is found in the journal and the Parquet files (producer/finding.py), so nothing here is the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from pipelines.money import pusd_to_usd_str
from pipelines.types import Called, Done, Entry
from pipelines.wire import Unreadable, unpack_entries

COLUMNS = (
    "run_id", "row", "custom_id", "status", "output", "finish_reason", "lane", "model", "duplicate_of", "duplicate_run",
    "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "cost_usd", "error_code",
    "error_message", "http_status", "response", "finished_at",
)  # fmt: skip
FREE = pusd_to_usd_str(0)
ANSWERS, SORTED = b"a", b"s"
"""The first byte of a message: scripts/append.lua writes `a<run> <lane>`, a line feed and the journal's entries."""

Row = dict[str, Any]
Key = tuple[str, int]
"""A run and a row of it."""


class Unasked(msgspec.Struct, frozen=True, array_like=True):
    """A row that is not asked: invalid, with `code`; or one that follows the answer of another row, of this run or of
    `leader_run`."""

    row: int
    code: str | None = None
    message: str | None = None
    leader_row: int | None = None
    leader_run: str | None = None


class Sorted(msgspec.Struct, frozen=True, array_like=True):
    """The rows of one chunk that are not asked."""

    run_id: str
    rows: list[Unasked]


_sorted = msgspec.msgpack.Decoder(Sorted)
_encode = msgspec.msgpack.Encoder().encode


def sorted_out(run_id: str, columns: Mapping[str, Sequence[Any]]) -> bytes:
    """The message of a chunk, from the columns of its part; empty when every row of it is asked."""
    rows = unasked(columns)
    return SORTED + _encode(Sorted(run_id, rows)) if rows else b""


def unasked(columns: Mapping[str, Sequence[Any]]) -> list[Unasked]:
    """The rows of a chunk part that nobody asks."""
    names = ("row", "kind", "error_code", "error_message", "leader_row", "leader_run")
    rows = zip(*(columns.get(name, ()) for name in names), strict=True)
    return [Unasked(row, code, said, at, run) for row, kind, code, said, at, run in rows if kind in ("invalid", "link")]


def read(message: bytes) -> list[Row] | Sorted:
    """Answers, or rows that are not asked; nothing for what no worker wrote."""
    try:
        if message[:1] == SORTED:
            return _sorted.decode(message[1:])
        head, _, entries = message[1:].partition(b"\n")
        run_id, _, lane = head.decode().partition(" ")
        return answers(run_id, lane, unpack_entries(entries)) if message[:1] == ANSWERS else []
    except (msgspec.MsgspecError, Unreadable, UnicodeDecodeError, RecursionError):
        return []


def answers(run_id: str, lane: str, entries: Iterable[Entry]) -> list[Row]:
    """The rows of a journal, or of a piece of one, that have ended; `cost_usd` is that of the call which answered."""
    called: dict[str, Called] = {}
    done: dict[int, Done] = {}
    for entry in entries:
        if isinstance(entry, Called):
            called.setdefault(entry.call, entry)
        elif isinstance(entry, Done):
            done.setdefault(entry.row, entry)
    return [_row(run_id, lane, each, called.get(each.call or "")) for each in done.values()]


def _row(run_id: str, lane: str, done: Done, call: Called | None) -> Row:
    usage = call.usage if call else None
    response = done.response.decode("utf-8", "replace") if done.response is not None else None
    return {
        **dict.fromkeys(COLUMNS),
        "run_id": run_id, "row": done.row, "status": done.status, "output": done.output, "response": response,
        "finish_reason": done.finish_reason, "lane": lane or None, "model": call.model if call else None,
        "input_tokens": usage.input_tokens if usage else None,
        "cached_input_tokens": usage.cached_input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "reasoning_tokens": usage.reasoning_tokens if usage else None,
        "cost_usd": pusd_to_usd_str(call.cost_pusd if call else 0),
        "error_code": done.error_code, "error_message": done.error_message, "http_status": done.http_status,
        "finished_at": datetime.fromtimestamp(done.finished_us / 1e6, UTC),
    }  # fmt: skip


def invalid(key: Key, why: Unasked) -> Row:
    """The answer to a row that cannot be asked."""
    named = {"run_id": key[0], "row": key[1], "status": "invalid", "cost_usd": FREE}
    return {**dict.fromkeys(COLUMNS), **named, "error_code": why.code, "error_message": why.message}


def copied(key: Key, leader: Row) -> Row:
    """The answer to a row that another one's answer serves; it costs nothing."""
    run_id, row = key
    elsewhere = leader["run_id"] if leader["run_id"] != run_id else None
    return {
        **leader, "run_id": run_id, "row": row, "custom_id": None, "status": "duplicate", "cost_usd": FREE,
        "duplicate_of": leader["row"], "duplicate_run": elsewhere,
    }  # fmt: skip
