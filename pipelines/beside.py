"""Prices as they stand beside the calls that were charged at them: one by one in Redis, together in a ledger file's metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from pipelines.money import Price

if TYPE_CHECKING:
    import pyarrow as pa

KEY = b"spillway.prices"
MOST_BYTES = 64 << 10
"""No price is longer."""

_decoder = msgspec.json.Decoder(Price)
_list = msgspec.json.Decoder(list[Price])


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
