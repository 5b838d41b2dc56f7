"""How the rows of a run ended, read from its settled parts as they appear: three bytes a row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines import paths
from pipelines.follow import NONE, OK, ended
from worker.store import Store

COLUMNS = ["generation", "row", "status", "error_code", "http_status", "attempts"]


class Answers:
    """Blocking: `read` belongs into a thread. Of another run's parts broken ones are left out: its followers are asked."""

    def __init__(self, store: Store, run_id: str, *, ours: bool = True) -> None:
        self._store, self._run, self._ours = store, run_id, ours
        self._parts: set[str] = set()
        self._status = np.zeros(0, np.uint8)
        self._generation = np.zeros(0, np.uint16)

    def read(self) -> bool:
        """Takes what was settled since the last look; whether there was anything."""
        new = [name for name in self._store.names(paths.parts_dir(self._run)) if name not in self._parts]
        read = self._store.read_table if self._ours else self._store.sound_table
        for name in new:
            table = read(name, COLUMNS)
            if table is not None:
                self._take(table)
            self._parts.add(name)
        return bool(new)

    def status(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """How each of these rows ended itself (pipelines.follow)."""
        known = (rows >= 0) & (rows < len(self._status))
        found = np.full(len(rows), NONE, np.uint8)
        found[known] = self._status[rows[known]]
        return found

    def since(self, rows: NDArray[np.int64], generation: int) -> NDArray[np.bool_]:
        """Whether each of these rows ended in this generation."""
        known = (rows >= 0) & (rows < len(self._status))
        found = np.zeros(len(rows), bool)
        found[known] = (self._status[rows[known]] != NONE) & (self._generation[rows[known]] >= generation)
        return found

    def _take(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        rows = table["row"].to_numpy()
        self._grow(int(rows.max()) + 1)
        columns = [table[name].to_pylist() for name in COLUMNS[2:]]
        status = np.fromiter((ended(*each) for each in zip(*columns, strict=True)), np.uint8, len(rows))
        stays = self._status[rows] == OK
        self._status[rows[~stays]] = status[~stays]
        self._generation[rows] = np.maximum(self._generation[rows], table["generation"].to_numpy().astype(np.uint16))

    def _grow(self, rows: int) -> None:
        if rows > len(self._status):
            more = max(rows, len(self._status) * 3 // 2) - len(self._status)
            self._status = np.pad(self._status, (0, more))
            self._generation = np.pad(self._generation, (0, more))
