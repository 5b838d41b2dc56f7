"""A run's parts become one results.parquet in input order: an external sort by row range, so memory stays flat.

First pass: every part row goes to the scratch file of its row range, and once more for each duplicate that it leads.
Second pass: range by range, chunk parts (who is which row) meet their answers. Rows in = rows out by construction.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import paths, schemas
from pipelines.settle import SET_ASIDE, money, reason_of
from worker.chunks import Part, in_order
from worker.fence import Fence, no_fence
from worker.settle.follow import Copies, best_last
from worker.settle.names import Names
from worker.settle.totals import Totals, pusd
from worker.store import Store

log = logging.getLogger("spillway.settle")

RANGE_ROWS = 8_192
RANGE_BYTES = 8 << 20
MOST_RANGES = 256
"""One scratch file each is open at once."""
BLOCK_ROWS = 4_096
COPIES_BYTES = 8 << 20
"""Of answers that are copied at once."""
OTHER_BYTES = 256
"""Of a row, beside its texts."""
LEADS = pa.field("leads", pa.int64())
"""In a scratch row: the leader's row, if it is a copy of a leader's answer; null for the row's own answer."""
LEADS_RUN = pa.field("leads_run", pa.string())
"""The leader's run, if it is another one."""
SCRATCH = pa.schema([LEADS, LEADS_RUN, *schemas.PART])


def compact(store: Store, run_id: str, client: str, ending: str, ours: Fence = no_fence) -> dict[str, Any]:
    """Writes results.parquet and returns the run's totals. Safe to repeat.

    Raises LeaseLost, and publishes nothing, when this process slept so long that the run went on without it.
    """
    chunks = in_order(store, run_id)
    parts = store.names(paths.parts_dir(run_id))
    total_rows, nameless = sum(chunk.rows for chunk in chunks), sum(chunk.unnamed for chunk in chunks)
    width = _range_rows(store, parts, total_rows)
    names = [chunk.name for chunk in chunks]
    copies, called = Copies(store, run_id, names, parts), Names(store, names, total_rows, nameless)
    totals = Totals()
    with tempfile.TemporaryDirectory(prefix="spillway-") as scratch:
        _scatter(store, run_id, parts, Path(scratch), width, copies)
        with store.parquet_writer(paths.results(run_id), schemas.RESULTS, ours) as out:
            for chunk_group in _ranges(chunks, width):
                table = _gather(store, run_id, client, ending, chunk_group, Path(scratch), called)
                totals.add(table)
                out.write_table(table, row_group_size=BLOCK_ROWS)
    return totals.as_dict()


def _range_rows(store: Store, parts: list[str], rows: int) -> int:
    """Rows per range so that a range's answers fit well into memory."""
    size = 0
    for name in parts:
        meta = store.open_parquet(name).metadata
        size += sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    each = max(1, size // max(1, rows))
    return max(512, min(RANGE_ROWS, RANGE_BYTES // each), -(-rows // MOST_RANGES))


def _scatter(store: Store, run_id: str, parts: list[str], scratch: Path, width: int, copies: Copies) -> None:
    """Pass one: part rows and copies for followers, each into the file of its range."""
    files: dict[int, Any] = {}
    try:
        for run, (leaders, followers) in copies.of.items():
            names = parts if run == run_id else store.names(paths.parts_dir(run))
            for name in names if run == run_id or len(leaders) else ():
                for table in _blocks(store, name, ours=run == run_id):
                    if run == run_id:
                        _spread(_marked(table, pa.nulls(table.num_rows, pa.int64()), None), files, scratch, width)
                    else:
                        table = table.filter(pc.equal(table["status"], "ok"))
                    for led in _copies(table, leaders, followers, None if run == run_id else run):
                        _spread(led, files, scratch, width)
    finally:
        for writer in files.values():
            writer.close()


def _blocks(store: Store, name: str, *, ours: bool) -> Iterator[pa.Table]:
    """A part, piece by piece; another run's as far as it can be read."""
    try:
        for block in store.open_parquet(name).iter_batches(BLOCK_ROWS):
            yield pa.Table.from_batches([block]).cast(schemas.PART)
    except (pa.ArrowException, OSError) as error:
        if ours:
            raise
        store.read_bytes(name)
        log.warning("%s is broken: %s", name, error)


def _marked(table: pa.Table, leads: pa.Array, run: str | None) -> pa.Table:
    """Part rows as scratch rows."""
    runs = pa.array([run] * table.num_rows, pa.string())
    return table.add_column(0, LEADS_RUN, runs).add_column(0, LEADS, leads)


def _copies(own: pa.Table, leaders: np.ndarray, followers: np.ndarray, run: str | None) -> Iterator[pa.Table]:
    """One copy of each leader's row per follower, under the follower's row number; some at a time, as one row may lead half of a run."""
    rows = own["row"].to_numpy()
    low, high = np.searchsorted(leaders, rows, "left"), np.searchsorted(leaders, rows, "right")
    counts = high - low
    if not counts.any():
        return
    source = np.repeat(np.arange(len(rows)), counts)
    starts = np.repeat(low - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
    target = followers[np.arange(len(source)) + starts]
    filled = np.cumsum(_row_bytes(own)[source]) // COPIES_BYTES
    for some in np.split(np.arange(len(source)), np.flatnonzero(np.diff(filled)) + 1):
        copy = own.take(pa.array(source[some]))
        led, row = copy["row"], pa.array(target[some], pa.int64())
        yield _marked(copy.set_column(copy.schema.get_field_index("row"), schemas.PART.field("row"), row), led, run)


def _row_bytes(table: pa.Table) -> np.ndarray:
    """About how much memory each row takes."""
    size = np.full(table.num_rows, OTHER_BYTES, np.int64)
    for column in table.columns:
        if pa.types.is_string(column.type):
            size += pc.fill_null(pc.binary_length(column), 0).to_numpy()
    return size


def _spread(table: pa.Table, files: dict[int, Any], scratch: Path, width: int) -> None:
    ranges = table["row"].to_numpy() // width
    for number in np.unique(ranges).tolist():
        if number not in files:
            files[number] = pa.ipc.new_stream(
                str(scratch / str(number)), SCRATCH, options=pa.ipc.IpcWriteOptions(compression="lz4")
            )
        files[number].write_table(table.filter(pa.array(ranges == number)).combine_chunks())


def _ranges(chunks: list[Part], width: int) -> Any:
    """(range number, rows, chunk parts that overlap it), in order."""
    if not chunks:
        return
    end = chunks[-1].first + chunks[-1].rows
    for number in range((end + width - 1) // width):
        low, high = number * width, min(end, (number + 1) * width)
        yield number, low, high, [each.name for each in chunks if each.first < high and each.first + each.rows > low]


def _gather(
    store: Store,
    run_id: str,
    client: str,
    ending: str,
    group: tuple[int, int, int, list[str]],
    scratch: Path,
    called: Names,
) -> pa.Table:
    """Pass two: the rows of one range, complete and in order."""
    number, low, high, names = group
    columns = [name for name in schemas.CHUNK.names if name not in schemas.UNJOINED]
    who = pa.concat_tables([store.read_table(name, columns=columns) for name in names]).sort_by("row")
    who = who.filter(pc.and_(pc.greater_equal(who["row"], low), pc.less(who["row"], high)))
    path = scratch / str(number)
    answers = SCRATCH.empty_table()
    if path.exists():
        with pa.ipc.open_stream(str(path)) as stream:
            answers = stream.read_all()
    return _join(run_id, client, ending, who, answers, called)


def _join(run_id: str, client: str, ending: str, who: pa.Table, answers: pa.Table, called: Names) -> pa.Table:
    rows = who["row"].to_numpy()
    count = len(rows)
    cost, attempts = _own_costs(answers, rows)
    answers = best_last(answers)
    at = np.searchsorted(answers["row"].to_numpy(), rows, "right") - 1
    found = np.zeros(count, bool)
    if answers.num_rows:
        found = (at >= 0) & (answers["row"].to_numpy()[np.maximum(at, 0)] == rows)
    pick = pa.array(np.where(found, at, 0), mask=~found)
    answer = answers.take(pick)
    copied = np.asarray(pc.is_valid(answer["leads"]).to_numpy(zero_copy_only=False), bool)
    status = _statuses(who, answer, copied & (np.array(attempts, np.int64) == 0), ending)
    lost = _unread(status, found, np.asarray(pc.is_valid(who["leader_run"])), ending)
    out: dict[str, pa.Array] = {
        "run_id": pa.array([run_id] * count),
        "row": who["row"].combine_chunks(),
        "custom_id": pc.coalesce(who["custom_id"], called.of(who["row"])),
        "client": pa.array([client] * count),
        "status": pa.array(status),
        "route": who["route"],
        "tags": who["tags"],
        "cost_usd": money(cost),
        "attempts": pa.array(attempts, pa.int32()),
        "error_code": pc.coalesce(who["error_code"], answer["error_code"], lost[0]),
        "error_message": pc.coalesce(who["error_message"], answer["error_message"], lost[1]),
    }
    duplicate = pa.array([each == "duplicate" for each in status])
    out["similarity"] = pc.if_else(duplicate, who["similarity"], None)
    out["duplicate_of"] = pc.if_else(duplicate, answer["leads"], None)
    out["duplicate_run"] = pc.if_else(duplicate, answer["leads_run"], None)
    out["avoided_usd"] = money(_avoided(answer, copied, status))
    for field in schemas.RESULTS:
        out.setdefault(field.name, answer[field.name] if field.name in answer.column_names else None)
    return pa.table({field.name: out[field.name] for field in schemas.RESULTS}).cast(schemas.RESULTS)


def _statuses(who: pa.Table, answer: pa.Table, copied: np.ndarray, ending: str) -> list[str]:
    """A follower is a duplicate of an answer if it was never asked itself, and shares its leader's fate otherwise."""
    final: list[str] = []
    for kind, status, copy in zip(who["kind"].to_pylist(), answer["status"].to_pylist(), copied, strict=True):
        if kind == "invalid":
            final.append("invalid")
        elif status is None:
            final.append("failed" if ending == SET_ASIDE else ending or "failed")
        else:
            final.append("duplicate" if copy and status == "ok" else status)
    return final


def _unread(status: list[str], found: np.ndarray, elsewhere: np.ndarray, ending: str) -> tuple[pa.Array, pa.Array]:
    """Why a row has no answer although it did not fail itself: the source could not be read on, or its batch, or its source
    once its leader had failed, could not be read."""
    aside = (SET_ASIDE, "its batch could not be read in Redis; `spillway retry` asks again")
    batch = reason_of(ending) if ending in ("failed", SET_ASIDE) else aside
    source = ("leader_lost", "its leader in another run has no answer, and its source could not be read again; restore it and "
              "`spillway retry`")  # fmt: skip
    rows = zip(status, found.tolist(), elsewhere.tolist(), strict=True)
    said = [(source if far else batch) if each == "failed" and not known else (None, None) for each, known, far in rows]
    return tuple(pa.array(texts, pa.string()) for texts in (zip(*said, strict=True) if said else ((), ())))


def _own_costs(answers: pa.Table, rows: np.ndarray) -> tuple[list[int], list[int]]:
    """What each row's own calls cost and how many there were, over all generations; copies cost nothing."""
    own = answers.filter(pc.is_null(answers["leads"]))
    of = np.searchsorted(rows, own["row"].to_numpy())
    cost = np.zeros(len(rows), np.int64)
    attempts = np.zeros(len(rows), np.int64)
    np.add.at(cost, of, pusd(own["cost_usd"]))
    np.add.at(attempts, of, own["attempts"].to_numpy())
    return cost.tolist(), attempts.tolist()


def _avoided(answer: pa.Table, copied: np.ndarray, status: list[str]) -> list[int]:
    """A duplicate avoids what its leader's answer was worth in the cloud; others what their call says."""
    duplicate = np.array([each == "duplicate" for each in status], bool)
    avoided, worth = pusd(answer["avoided_usd"]), pusd(answer["worth_usd"])
    values: list[int] = np.where(duplicate, worth, np.where(copied, 0, avoided)).tolist()
    return values
