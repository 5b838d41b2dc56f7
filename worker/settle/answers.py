"""How the rows of a run ended, read from its settled parts as they appear: four bytes a row."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines import paths
from pipelines.follow import NONE, OK, ended
from worker.store import Store

COLUMNS = ["generation", "row", "status", "error_code", "http_status", "attempts"]
ENDS = ("", "failed", "expired", "cancelled")
"""After which a row may be asked again; the first is every other one."""


class Answers:
    """Blocking: `read` belongs into a thread. Of another run's parts broken ones are left out: its followers are asked."""

    def __init__(self, store: Store, run_id: str, *, ours: bool = True, whole: bool = False) -> None:
        """`whole`: a part counts as broken whatever is broken in it, not only what is read here."""
        self._store, self._run, self._ours = store, run_id, ours
        self._columns = None if whole else COLUMNS
        self._parts: set[str] = set()
        self._status = np.zeros(0, np.uint8)
        self._end = np.zeros(0, np.uint8)
        self._generation = np.zeros(0, np.uint16)

    def read(self) -> bool:
        """Takes what was settled since the last look; whether there was anything."""
        new = [name for name in self._store.names(paths.parts_dir(self._run)) if name not in self._parts]
        read = self._store.read_table if self._ours else self._store.sound_table
        for name in new:
            table = read(name, self._columns)
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

    def again(self, rows: NDArray[np.int64], generation: int, statuses: Collection[str]) -> NDArray[np.bool_]:
        """Whether each of these rows ended in one of these statuses before this generation, and not in it yet."""
        known = (rows >= 0) & (rows < len(self._end))
        found = np.zeros(len(rows), bool)
        ends = [number for number, end in enumerate(ENDS) if end in statuses]
        found[known] = np.isin(self._end[rows[known]], ends) & (self._generation[rows[known]] < generation)
        return found

    def _take(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        rows = table["row"].to_numpy()
        self._grow(int(rows.max()) + 1)
        columns = [table[name].to_pylist() for name in COLUMNS[2:]]
        status = np.fromiter((ended(*each) for each in zip(*columns, strict=True)), np.uint8, len(rows))
        end = pc.fill_null(pc.index_in(table["status"], pa.array(ENDS)), 0).to_numpy().astype(np.uint8)
        stays = self._status[rows] == OK
        self._status[rows[~stays]], self._end[rows[~stays]] = status[~stays], end[~stays]
        self._generation[rows] = np.maximum(self._generation[rows], table["generation"].to_numpy().astype(np.uint16))

    def _grow(self, rows: int) -> None:
        if rows > len(self._status):
            more = max(rows, len(self._status) * 3 // 2) - len(self._status)
            self._status, self._end = np.pad(self._status, (0, more)), np.pad(self._end, (0, more))
            self._generation = np.pad(self._generation, (0, more))
