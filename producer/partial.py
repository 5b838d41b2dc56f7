"""The rows of a run that have ended so far, from its settled parts: for those who cannot wait for results.parquet.

Duplicates are not among them: which answer serves them is settled at the run's end. Blocking.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pipelines import paths
from producer.store import Store

BLOCK_ROWS = 512
CHUNKS_HELD = 4

Row = dict[str, Any]


def rows_so_far(store: Store, run_id: str) -> Iterator[Row]:
    """Each row once, with what came last of it, and its `run_id` and `custom_id`; in no order."""
    import pyarrow.parquet as pq

    folder = paths.parts_dir(run_id)
    names = [f"{folder}/{name}" for name in store.names(folder)]
    last = _last_generations(store, names)
    ids = _Ids(store, run_id)
    for name in names:
        with store.open(name) as stream:
            for block in pq.ParquetFile(stream).iter_batches(BLOCK_ROWS, use_threads=False):
                for row in block.to_pylist():
                    if last.get(row["row"]) == row["generation"]:
                        del last[row["row"]]
                        yield {**row, "run_id": run_id, "custom_id": ids.of(row["row"])}


def _last_generations(store: Store, names: list[str]) -> dict[int, int]:
    """Row -> the last generation that answered it: a retried row is in several parts."""
    import pyarrow.parquet as pq

    last: dict[int, int] = {}
    for name in names:
        with store.open(name) as stream:
            table = pq.ParquetFile(stream).read(["row", "generation"])
        for row, generation in zip(table["row"].to_pylist(), table["generation"].to_pylist(), strict=True):
            last[row] = max(generation, last.get(row, generation))
    return last


class _Ids:
    """The callers' own ids of rows, from the chunk parts that hold them."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._folder = store, paths.chunks_dir(run_id)
        self._names = store.names(self._folder)
        self._firsts = [paths.first_row(name) for name in self._names]
        self._chunk = lru_cache(CHUNKS_HELD)(self._read)

    def of(self, row: int) -> str | None:
        at = bisect_right(self._firsts, row) - 1
        return self._chunk(self._names[at]).get(row) if at >= 0 else None

    def _read(self, name: str) -> dict[int, str | None]:
        import pyarrow.parquet as pq

        with self._store.open(f"{self._folder}/{name}") as stream:
            table = pq.ParquetFile(stream).read(["row", "custom_id"])
        return dict(zip(table["row"].to_pylist(), table["custom_id"].to_pylist(), strict=True))
