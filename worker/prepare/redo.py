"""The rows of an ended run that are to be asked again (retry, resume): read back from results, chunks and source. Its followers are
the settler's matter."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import paths, wire
from pipelines.types import Row
from worker.chunks import in_order
from worker.prepare.part import CURSOR
from worker.sources.source import Cursor, Reader, rows_at
from worker.store import Store


class Redo:
    """Positions are chunk parts, in the order of the source."""

    def __init__(self, store: Store, run_id: str, generation: int, statuses: list[str]) -> None:
        self.generation = generation
        self._store = store
        self._chunks = [part.name for part in in_order(store, run_id)]
        table = store.read_table(paths.results(run_id), columns=["row", "status", "attempts"])
        wanted = pc.is_in(table["status"].combine_chunks(), value_set=pa.array(statuses, pa.string()))
        self._rows = np.sort(table["row"].to_numpy()[wanted.to_numpy(zero_copy_only=False)])
        self._asked = np.sort(table["row"].to_numpy()[table["attempts"].to_numpy() > 0])

    def read(self, reader: Reader, position: int) -> tuple[list[Row], list[str], bool, int]:
        """Rows to ask again of one chunk, their routes, and whether it was the last chunk; and how many followers in it that were
        asked themselves follow again: like all others they are asked only where their leader has no answer for them
        (settle/follow.py).
        """
        last = position + 1 >= len(self._chunks)
        if position >= len(self._chunks):
            return [], [], True, 0
        table = self._store.read_table(self._chunks[position], columns=["row", "kind"])
        rows, leads = table["row"].to_numpy(), np.asarray(pc.equal(table["kind"], "asked"))
        again = np.isin(rows, self._rows)
        wanted = set(rows[again & leads].tolist())
        follow = int((again & ~leads & np.isin(rows, self._asked)).sum())
        return (*rows_of(self._store, reader, self._chunks[position], wanted), last, follow)


def rows_of(store: Store, reader: Reader, name: str, wanted: AbstractSet[int]) -> tuple[list[Row], list[str]]:
    """Rows of a chunk part, read again from the source, and their routes."""
    if not wanted:
        return [], []
    table = store.read_table(name, columns=["row", "route"])
    start = Cursor(**wire.load(store.open_parquet(name).schema_arrow.metadata[CURSOR]))
    found = [row for row in rows_at(reader, start, wanted) if isinstance(row, Row)]
    routes = dict(zip(table["row"].to_pylist(), table["route"].to_pylist(), strict=True))
    return found, [routes[row.row] for row in found]
