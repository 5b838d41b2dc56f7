"""Which chunk parts of a run say who its rows are: a part that was left over of a chunk that was then prepared once more says it
twice. Who prepares deletes such before the commit (prepare/part.py); here they are passed over, should any be there."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow.parquet as pq

from pipelines import paths
from worker.store import Store


class Part(NamedTuple):
    """A chunk part: its first row, its name, and what its footer says."""

    first: int
    name: str
    meta: pq.FileMetaData


def in_order(store: Store, run_id: str) -> list[Part]:
    """The parts that each begin where the one before ends, or later. Reads their footers; blocking."""
    found: list[Part] = []
    end = 0
    for first, name in sorted((paths.first_row(name), name) for name in store.names(paths.chunks_dir(run_id))):
        if first >= end:
            found.append(Part(first, name, store.open_parquet(name).metadata))
            end = first + found[-1].meta.num_rows
    return found
