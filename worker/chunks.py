"""Which chunk parts of a run say who its rows are: a part that was left over of a chunk that was then prepared once more says it
twice. Who prepares deletes such before the commit (prepare/part.py); here they are passed over, should any be there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pipelines import paths, schemas
from worker.store import Store


class Part(NamedTuple):
    """A chunk part: its first row, its name, how many rows it has and how many of them have no id."""

    first: int
    name: str
    rows: int
    unnamed: int


def in_order(store: Store, run_id: str, known: Sequence[Part] = (), rows: float = math.inf) -> list[Part]:
    """The parts that each begin where the one before ends, or later; of so many rows. Reads the footers of those that are not known;
    blocking."""
    found: list[Part] = []
    seen = {part.name: part for part in known}
    end = 0
    names = sorted((paths.first_row(name), name) for name in store.names(paths.chunks_dir(run_id)))
    for first, name in names:
        if first >= rows:
            break
        if first < end and found[-1].name in seen:  # known from before it was prepared once more, with fewer rows
            del seen[found[-1].name]
            found[-1] = _read(store, found[-1].first, found[-1].name)
            end = found[-1].first + found[-1].rows
        if first >= end:
            found.append(seen.get(name) or _read(store, first, name))
            end = first + found[-1].rows
    return found


class Layout:
    """The same for who asks again and again: reads what is new, and the last part, which may be prepared once more. Blocking."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run = store, run_id
        self._known: list[Part] = []

    def parts(self, rows: float = math.inf) -> list[Part]:
        """Those of so many rows: parts beyond what is committed may go at any moment."""
        found = in_order(self._store, self._run, self._known[:-1], rows)
        self._known = found  # at once: another thread may be here too
        return found


def _read(store: Store, first: int, name: str) -> Part:
    meta = store.open_parquet(name).metadata
    at = schemas.CHUNK.get_field_index("custom_id")
    unnamed = sum(meta.row_group(each).column(at).statistics.null_count for each in range(meta.num_row_groups))
    return Part(first, name, meta.num_rows, unnamed)
