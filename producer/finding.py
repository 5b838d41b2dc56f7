"""Finds how rows of a run ended, wherever that is written by now: results, settled parts, journals; and which rows nobody asks.

Slow and sure: it is for what no message said. Parquet is read in threads by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from importlib import import_module
from typing import Any

from pipelines import paths, told, wire
from pipelines.money import pusd_to_usd_str
from pipelines.told import Row, Unasked
from producer.queue import Redis
from producer.store import Store

CHUNK_MOST_ROWS = 4096
JOURNALS_AT_ONCE = 64
UNASKED = ("row", "kind", "error_code", "error_message", "leader_row", "leader_run")


def load() -> None:
    """Imports what reading takes. Blocking."""
    import_module("pyarrow.compute")
    import_module("pyarrow.parquet")


def in_results(store: Store, run_id: str, rows: set[int]) -> list[Row]:
    """Of a run that has ended; all of them if it is whole. Blocking."""
    return _rows(store, paths.results(run_id), rows, run_id)


def in_parts(store: Store, run_id: str, rows: set[int], skip: set[str]) -> list[Row]:
    """In the settled parts but `skip`, to which those that were read are added. Blocking."""
    found: list[Row] = []
    for name in store.names(paths.parts_dir(run_id)):
        if name not in skip and name.endswith(".parquet"):
            found += _rows(store, f"{paths.parts_dir(run_id)}/{name}", rows, run_id)
            skip.add(name)
    return found


def unasked(store: Store, run_id: str, rows: set[int], committed: int) -> list[Unasked]:
    """Which of the rows are not asked, by the chunk parts below row `committed`. Blocking."""
    firsts = {
        paths.first_row(name): name for name in store.names(paths.chunks_dir(run_id)) if name.endswith(".parquet")
    }
    starts = sorted(first for first in firsts if first < committed)
    found: list[Unasked] = []
    for at, first in enumerate(starts):
        end = starts[at + 1] if at + 1 < len(starts) else committed
        if any(first <= row < end for row in rows):
            taken = _read(store, f"{paths.chunks_dir(run_id)}/{firsts[first]}", UNASKED, rows)
            found += told.unasked({name: [each[name] for each in taken] for name in UNASKED})
    return found


async def in_journals(redis: Redis, keys: wire.Keys, run_id: str, rows: set[int]) -> list[Row]:
    """In the batches that are not settled; `redis` answers bytes."""
    pipe = redis.pipeline(transaction=False)
    pipe.zrange(keys.waiting(run_id), 0, -1)
    pipe.zrange(keys.rung, 0, -1)
    pipe.lrange(keys.drained(run_id), 0, -1)
    pipe.hvals(keys.parts(run_id))
    waiting, rung, drained, parts = await pipe.execute()
    ids = {raw.decode(errors="replace") for raw in (*waiting, *rung, *drained)}
    ids.update(each for raw in parts for each in wire.load(raw))
    batches = sorted(each for each in ids if _may_hold(each, run_id, rows))
    found: list[Row] = []
    for first in range(0, len(batches), JOURNALS_AT_ONCE):
        pipe = redis.pipeline(transaction=False)
        for batch in batches[first : first + JOURNALS_AT_ONCE]:
            pipe.hget(keys.batch(batch), "lane")
            pipe.lrange(keys.journal(batch), 0, -1)
        replies = await pipe.execute()
        for lane, blobs in zip(replies[::2], replies[1::2], strict=True):
            entries = wire.readable_entries(blobs)
            found += [row for row in told.answers(run_id, (lane or b"").decode(), entries) if row["row"] in rows]
    return found


def _may_hold(batch: str, run_id: str, rows: set[int]) -> bool:
    """Batches of audits hold other answers; those of promoted followers hold rows from anywhere."""
    run, _, rest = batch.partition(".")
    _, first, index = rest.split(".") if rest.count(".") == 2 else ("", "", "")
    if run != run_id or not first.isdecimal() or index.startswith("a"):
        return False
    return index.startswith("p") or any(int(first) <= row < int(first) + CHUNK_MOST_ROWS for row in rows)


def _rows(store: Store, name: str, rows: set[int], run_id: str) -> list[Row]:
    found = _read(store, name, told.COLUMNS, rows)
    return [
        {**dict.fromkeys(told.COLUMNS), **row, "run_id": run_id, "cost_usd": _usd(row["cost_usd"])} for row in found
    ]


def _usd(amount: Decimal) -> str:
    return pusd_to_usd_str(int(amount.scaleb(12)))


def _read(store: Store, name: str, columns: Sequence[str], rows: Iterable[int]) -> list[dict[str, Any]]:
    """These rows of a Parquet file, those columns that it has; only the row groups that may have them are read."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = sorted(rows)
    try:
        stream = store.open(name)
    except FileNotFoundError:
        return []
    found: list[dict[str, Any]] = []
    with stream:
        file = pq.ParquetFile(stream)
        at = file.schema_arrow.get_field_index("row")
        known = [name for name in columns if name in file.schema_arrow.names]
        for number in range(file.num_row_groups):
            span = file.metadata.row_group(number).column(at).statistics
            if span is not None and span.has_min_max and not any(span.min <= row <= span.max for row in wanted):
                continue
            numbers = file.read_row_group(number, columns=["row"], use_threads=False)["row"]
            mask = pc.is_in(numbers, value_set=pa.array(wanted, pa.int64()))
            if pc.any(mask).as_py():
                found += file.read_row_group(number, columns=known, use_threads=False).filter(mask).to_pylist()
    return found
