"""What stands beside calls: the prices that they were charged at, one by one in Redis and together in a ledger file's metadata, and
there the group of each call's prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from pipelines.money import Price

if TYPE_CHECKING:
    import pyarrow as pa

KEY, GROUPS = b"spillway.prices", b"spillway.groups"
MOST_BYTES = 64 << 10
"""No price is longer."""

_decoder = msgspec.json.Decoder(Price)
_list = msgspec.json.Decoder(list[Price])
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


def noted(costs: pa.Table, prices: Iterable[Price]) -> pa.Table:
    """Ledger rows with the prices of their time in the metadata; a price may have had several rates on one day."""
    each = {pack(price) for price in prices}
    kept = b"[" + b",".join(sorted(each)) + b"]"
    return costs.replace_schema_metadata({**(costs.schema.metadata or {}), KEY: kept})


def read(metadata: dict[bytes, bytes] | None) -> list[Price]:
    """What a file's metadata says; nothing where it says none."""
    try:
        return _list.decode((metadata or {}).get(KEY, b"[]"))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []


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
