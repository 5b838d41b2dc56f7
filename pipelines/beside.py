"""What stands beside calls: the prices that they were charged at, one by one in Redis and together in a ledger file's metadata; there
also the group of each call's prompt, and what their targets had room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from pipelines.money import Price

if TYPE_CHECKING:
    import pyarrow as pa

KEY, GROUPS, ROOMS = b"spillway.prices", b"spillway.groups", b"spillway.rooms"
MOST_BYTES = 64 << 10
"""No price is longer."""


class Room(msgspec.Struct, frozen=True):
    """Of a target, when a file was written, where known: tokens of a prompt with its answer, calls at once, and what an input token
    weighs beside an output token."""

    window_tokens: int | None = None
    slots: int = 0
    prefill: float | None = None


_decoder = msgspec.json.Decoder(Price)
_list = msgspec.json.Decoder(list[Price])
_rooms = msgspec.json.Decoder(dict[str, Room])
_runs = msgspec.json.Decoder(list[tuple[str, int]])


def pack(price: Price) -> bytes:
    return msgspec.json.encode(price, order="deterministic")


def unpack(raw: Iterable[bytes]) -> list[Price]:
    """Without what is no price."""
    found = []
    for each in raw:
        try:
            found.append(_decoder.decode(each[: MOST_BYTES + 1]))
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            continue
    return found


def noted(costs: pa.Table, prices: Iterable[Price], rooms: Mapping[str, Room] | None = None) -> pa.Table:
    """Ledger rows with the prices of their time in the metadata, and their targets' rooms if any are given; a price may have had
    several rates on one day."""
    each = {pack(price) for price in prices}
    kept = {KEY: b"[" + b",".join(sorted(each)) + b"]"}
    if rooms is not None:
        mine = {name: rooms[name] for name in sorted(rooms.keys() & set(costs["target"].to_pylist()))}
        kept[ROOMS] = msgspec.json.encode(mine)
    return costs.replace_schema_metadata({**(costs.schema.metadata or {}), **kept})


def read(metadata: dict[bytes, bytes] | None) -> list[Price]:
    """What a file's metadata says; nothing where it says none."""
    try:
        return _list.decode((metadata or {}).get(KEY, b"[]"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []


def rooms(metadata: dict[bytes, bytes] | None) -> dict[str, Room]:
    """By target, what a file's metadata says; nothing where it says none."""
    try:
        return _rooms.decode((metadata or {}).get(ROOMS, b"{}"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}


def grouped(costs: pa.Table, group_of: Mapping[int, str]) -> pa.Table:
    """Ledger rows with their prompts' groups (pipelines/batch.py) in the metadata, as a name and for how many calls on end it holds:
    a batch has one."""
    each = groupby(group_of.get(row, "") for row in costs["row"].to_pylist())
    kept = msgspec.json.encode([(group, sum(1 for _ in calls)) for group, calls in each])
    return costs.replace_schema_metadata({**(costs.schema.metadata or {}), GROUPS: kept})


def groups(costs: pa.Table) -> list[str]:
    """The group of each row of a ledger file, as its metadata says it; "" where it says none."""
    try:
        told = _runs.decode((costs.schema.metadata or {}).get(GROUPS, b"[]"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        told = []
    if min((calls for _, calls in told), default=0) < 0 or sum(calls for _, calls in told) != costs.num_rows:
        return [""] * costs.num_rows
    return [group for group, calls in told for _ in range(calls)]
