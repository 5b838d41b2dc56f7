"""The rows of an ended run that are to be asked again (retry, resume): read back from results, chunks and source."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc

from pipelines import paths, wire
from pipelines.types import Row
from worker.source import Cursor, Reader, rows_at
from worker.store import Store


class Redo:
    """Positions are chunk parts, in the order of the source."""

    def __init__(self, store: Store, run_id: str, generation: int, statuses: list[str]) -> None:
        self.generation = generation
        self._store = store
        self._chunks = store.names(paths.chunks_dir(run_id))
        table = store.read_table(paths.results(run_id), columns=["row", "status"])
        wanted = pc.is_in(table["status"].combine_chunks(), value_set=_strings(statuses))
        self._rows = np.sort(table["row"].to_numpy()[wanted.to_numpy(zero_copy_only=False)])

    def read(self, reader: Reader, position: int) -> tuple[list[Row], list[str], bool]:
        """Rows to ask again of one chunk, their routes, and whether it was the last chunk."""
        last = position + 1 >= len(self._chunks)
        if position >= len(self._chunks):
            return [], [], True
        name = self._chunks[position]
        table = self._store.read_table(name, columns=["row", "kind", "route"])
        rows = table["row"].to_numpy()
        asked = np.array([kind == "asked" for kind in table["kind"].to_pylist()], dtype=bool)
        wanted = set(rows[asked & np.isin(rows, self._rows)].tolist())
        if not wanted:
            return [], [], last
        header = self._store.open_parquet(name).schema_arrow.metadata
        start = Cursor(**wire.load(header[b"spillway.cursor"]))
        found = [row for row in rows_at(reader, start, wanted) if isinstance(row, Row)]
        routes = dict(zip(rows.tolist(), table["route"].to_pylist(), strict=True))
        return found, [routes[row.row] for row in found], last


def _strings(values: list[str]) -> object:
    import pyarrow as pa

    return pa.array(values, pa.string())
