"""A chunk part's file: what was decided of its rows, where it begins in the source, and how its batches were cut. It is written
before the chunk is committed, and may be there of a chunk that never was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import pyarrow as pa

from pipelines import paths, schemas, wire
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


def from_row(store: Store, run_id: str, row: int) -> list[str]:
    """The parts that begin there or beyond. Blocking."""
    return [name for name in store.names(paths.chunks_dir(run_id)) if paths.first_row(name) >= row]


def forget(store: Store, names: Sequence[str], first: int, end: int, ours: Fence = no_fence) -> None:
    """Deletes those parts whose beginning is inside the one that was written of rows `first` to `end`: a chunk that is prepared
    once more may have more rows, and none may be in two parts. Raises LeaseLost as above. Blocking."""
    for name in names:
        if first < paths.first_row(name) < end:
            ours()
            store.delete(name)


def rates_of(store: Store, name: str) -> dict[str, float]:
    """How a chunk that is prepared once more was cut: by the same rates its batches are the same, and what lanes remember of
    them is not asked again."""
    with store.open_parquet(name) as file:
        kept = wire.load_object((file.schema_arrow.metadata or {}).get(RATES, b"{}"))
    return {route: rate for route, rate in kept.items() if isinstance(rate, int | float)}
