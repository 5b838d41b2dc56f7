"""A chunk part's file: what was decided of its rows, where it begins in the source, and how its batches were cut. It is written
before the chunk is committed, and may be there of a chunk that never was."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pyarrow as pa

from pipelines import schemas, wire
from worker.fence import Fence, no_fence
from worker.prepare.chunk import Chunk
from worker.sources.source import Cursor
from worker.store import Store

CURSOR, RATES = b"spillway.cursor", b"spillway.rates"


def write(
    store: Store, name: str, chunk: Chunk, at: Cursor, rates: Mapping[str, float], ours: Fence = no_fence
) -> None:
    """`rates` are the rows a second by route that sized the batches. Raises LeaseLost, and leaves the file as it is, when others
    have prepared this chunk, or are about to: theirs may be cut and linked otherwise."""
    arrays = [pa.array(chunk.columns[field.name], field.type) for field in schemas.CHUNK]
    table = pa.Table.from_arrays(arrays, schema=schemas.CHUNK)
    header = {**schemas.VERSION, CURSOR: wire.dump(msgspec.to_builtins(at)), RATES: wire.dump(rates)}
    store.write_table(name, table.replace_schema_metadata(header), ours)


def rates_of(store: Store, name: str) -> dict[str, float] | None:
    """How a chunk that is prepared once more was cut: by the same rates its batches are the same, and what lanes remember of
    them is not asked again. None when there is no such part."""
    if not store.exists(name):
        return None
    with store.open_parquet(name) as file:
        kept = wire.load_object((file.schema_arrow.metadata or {}).get(RATES, b"{}"))
    return {route: rate for route, rate in kept.items() if isinstance(rate, int | float)}
