"""A part's files hold what its batches' journals say, and nothing of an earlier part of that name that Redis forgot."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import beside, paths, wire
from pipelines.errors import LeaseLost
from pipelines.settings import Settings
from pipelines.settle import Facts
from pipelines.types import BatchHead, Called, Done, Entry, Intent, Item, Usage
from producer.cli import frames
from worker.context import RunContext
from worker.settle.parts import days_of, write_part
from worker.store import Store

RUN = "20260301-230000-abc123"
BEGAN = datetime(2026, 3, 1, 23, 0, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
TODAY = date(2026, 3, 2)


def batch(name: int, *started: datetime, group: str = "") -> list[Any]:
    """What Redis says of one batch: a call and an answer for each of its rows."""
    batch_id = f"{RUN}.0.{name}.0"
    entries: list[Entry] = []
    for row, at in enumerate(started, name):
        call, us = f"{batch_id}:1:{row}", int(at.timestamp() * 1e6)
        entries.append(Intent(call, row, 1, "gpu", us, 0))
        entries.append(
            Called(call, "ok", 200, None, Usage(1, 0, 0, 1, 0), 5, "billed", "m", "p", "2026-03-01", 0, None, us + 1)
        )
        entries.append(Done(row, "ok", call, 1, "a", None, "stop", None, None, None, 200, None, us, us + 1))
    items = [Item(row, b"{}", 1, 0) for row in range(name, name + len(started))]
    head = wire.pack_head(BatchHead(batch_id, RUN, "small", 0, len(items), 1, 1, 1.0, 1, 1, group=group))
    return [(head, wire.pack_items(items), None), [wire.pack_entries(entries)]]


def settle(store: Store, part: str, *batches: list[Any]) -> None:
    run = RunContext(RUN, {"created_ms": str(int(BEGAN.timestamp() * 1000))}, Settings())
    write_part(store, {}, run, part, [each for one in batches for each in one], "", days_of(run, TODAY), [])


def ledger(folder: Path) -> list[str]:
    found = pl.read_parquet(folder / "costs/**/*.parquet", hive_partitioning=False)
    return sorted(found["call_id"].to_list())


def test_a_part_that_redis_forgot_leaves_no_calls_of_another_day(tmp_path: Path) -> None:
    """Before midnight's rollback, part 1 had a batch with calls of both days; then another batch gets its name."""
    store, before, after = Store(str(tmp_path)), MIDNIGHT - timedelta(minutes=1), MIDNIGHT + timedelta(minutes=1)
    both, late = batch(0, before, after), batch(2, after, after)
    settle(store, "00000001", both)
    assert len(ledger(tmp_path)) == 2
    settle(store, "00000001", late)
    settle(store, "00000002", both)
    told = ledger(tmp_path)
    assert len(told) == len(set(told)) == 4, "every call once"
    assert not store.exists(paths.costs_part("2026-03-01", RUN, "00000001"))
    settle(store, "00000002", batch(0, before, before))
    assert len(ledger(tmp_path)) == 4 and not store.exists(paths.costs_part("2026-03-02", RUN, "00000002"))


def test_the_group_of_each_call_stands_in_its_days_file(tmp_path: Path) -> None:
    store, before, after = Store(str(tmp_path)), MIDNIGHT - timedelta(minutes=1), MIDNIGHT + timedelta(minutes=1)
    settle(
        store,
        "00000001",
        batch(0, before, after, group="long"),
        batch(2, after, after),
        batch(4, before, group="short"),
    )
    files = [store.read_table(paths.costs_part(day, RUN, "00000001")) for day in ("2026-03-01", "2026-03-02")]
    assert [beside.groups(file) for file in files] == [["long", "short"], ["long", "", ""]]
    assert beside.groups(files[0].slice(1)) == [""], "of another number of rows nothing is known"
    for raw in (b"", b"{", b"[[1, 2]]", b'[["a", 3], ["b", -1]]', b"[" * 9999, b"\xff"):
        assert beside.groups(files[0].replace_schema_metadata({beside.GROUPS: raw})) == ["", ""]


def test_what_its_targets_had_room_for_stands_in_the_ledgers_file(tmp_path: Path) -> None:
    store, run = Store(str(tmp_path)), RunContext(RUN, {"created_ms": str(int(BEGAN.timestamp() * 1000))}, Settings())
    gpu, idle = (Facts("local", "lmstudio", "m", room=beside.Room(4096, slots)) for slots in (4, 8))
    one = batch(0, BEGAN)
    write_part(store, {"gpu": gpu, "idle": idle}, run, "00000001", one, "", days_of(run, TODAY), [])
    file = store.read_table(paths.costs_part("2026-03-01", RUN, "00000001"))
    assert beside.rooms(file.schema.metadata) == {"gpu": beside.Room(4096, 4)}
    assert frames.rooms(str(tmp_path)) == frames.rooms(str(tmp_path), RUN) == {"gpu": beside.Room(4096, 4)}
    settle(store, "00000001", one)
    assert frames.rooms(str(tmp_path)) == {} == beside.rooms(None) == beside.rooms({beside.ROOMS: b"[1]"})


def test_what_a_broken_source_left_unasked_says_so(tmp_path: Path) -> None:
    store, run = Store(str(tmp_path)), RunContext(RUN, {"created_ms": str(int(BEGAN.timestamp() * 1000))}, Settings())
    head, journal = batch(0, BEGAN, BEGAN)
    answered = [entry for entry in wire.readable_entries(journal) if not (isinstance(entry, Done) and entry.row)]
    write_part(store, {}, run, "00000001", [head, [wire.pack_entries(answered)]], "failed", days_of(run, TODAY), [])
    found = pl.read_parquet(tmp_path / paths.part(RUN, "00000001"))
    assert found.select("status", "error_code").rows() == [("ok", None), ("failed", "source_failed")]
    assert "restore the file" in found["error_message"][1]


def slept() -> None:
    raise LeaseLost


def test_a_settler_that_slept_over_its_lease_leaves_the_files_as_they_are(tmp_path: Path) -> None:
    """Redis forgot its part, and another settler gave the name to more batches."""
    store = Store(str(tmp_path))
    run = RunContext(RUN, {"created_ms": str(int(BEGAN.timestamp() * 1000))}, Settings())
    first, second = batch(0, BEGAN), batch(1, BEGAN)
    settle(store, "00000001", first, second)
    with pytest.raises(LeaseLost):
        write_part(store, {}, run, "00000001", first, "", days_of(run, TODAY), [], slept)
    assert store.read_table(paths.part(RUN, "00000001")).num_rows == 2 and len(ledger(tmp_path)) == 2
