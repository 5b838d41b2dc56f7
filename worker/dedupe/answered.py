"""The answered prompts of a client's small ended runs, a few files instead of thousands: written and read by the holder of
its index.

Whatever is in such a file was answered, so a row that is there twice, or a run that has gone on since, does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import paths, schemas
from worker.dedupe.ended import unmark
from worker.store import Store

Runs = dict[str, int]
"""Ended runs and when they ended, in milliseconds."""


def merge(store: Store, client: str, runs: Sequence[tuple[int, str]], answered: Callable[[str], np.ndarray]) -> str:
    """One file for the answered prompts of these runs, (when, run); then their own names go. Returns the file's name."""
    newest, oldest = max(runs), min(runs)
    name = paths.answered_part(client, newest[0], oldest[0], newest[1])
    columns = [field.name for field in schemas.ANSWERED][2:]
    with store.parquet_writer(name, schemas.ANSWERED) as out:
        for when_ms, run in runs:
            good = answered(run)
            for chunk in store.names(paths.chunks_dir(run)):
                table = store.sound_table(chunk, columns=columns)
                if table is None:
                    continue
                kept = np.isin(table["row"].to_numpy(), good) & np.asarray(table["key"].is_valid())
                table = table.filter(pa.array(kept))
                table = table.add_column(0, "when_ms", pa.array([when_ms] * table.num_rows, pa.int64()))
                table = table.add_column(0, "run_id", pa.array([run] * table.num_rows, pa.string()))
                out.write_table(table.select(schemas.ANSWERED.names).cast(schemas.ANSWERED))
    unmark(store, client, runs)
    return name


def merged_since(store: Store, client: str, since_ms: int) -> list[str]:
    """Files with answers younger than that, newest first; the others are deleted."""
    found = []
    for name in store.names(paths.ended_dir(client)):
        newest_ms = paths.of_answered_part(name)
        if newest_ms is None:
            continue
        if newest_ms > since_ms:
            found.append(name)
        else:
            store.delete(name)
    return sorted(found, reverse=True)


def runs_of(store: Store, name: str) -> Runs:
    """The runs in a file; one without an answer is not there, and in a broken file none is."""
    table = store.sound_table(name, columns=["run_id", "when_ms"])
    if table is None:
        return {}
    table = table.group_by("run_id").aggregate([("when_ms", "max")])
    return dict(zip(table["run_id"].to_pylist(), table["when_ms_max"].to_pylist(), strict=True))


def tables_of(store: Store, name: str, runs: Collection[str], columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """The answered prompts of some runs of a file, newest first."""
    table = store.sound_table(name, columns=["run_id", *columns])
    if table is None:
        return
    table = table.filter(pc.is_in(table["run_id"], value_set=pa.array(list(runs), pa.string())))
    for run in reversed(pc.unique(table["run_id"]).to_pylist()):
        yield run, table.filter(pc.equal(table["run_id"], run)).drop_columns(["run_id"])
