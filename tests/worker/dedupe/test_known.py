"""What a client's index knows: cursors of open runs, answered rows of ended ones, and nothing older than the route allows."""

from __future__ import annotations

import shutil
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines import paths, schemas
from pipelines.dedup import Candidate
from tests.support_frames import result
from tests.support_worker import write
from tests.worker.dedupe.test_index import HashEncoder
from worker.dedupe.answered import merged_since
from worker.dedupe.ended import ended_since, mark_ended
from worker.dedupe.index import DuplicateIndex
from worker.dedupe.known import MERGED_RUNS, Known
from worker.store import Store

HOUR = 3_600_000
REUSE = {"small": 24 * HOUR, "short": HOUR}
NOW = 1_000 * HOUR


def key(number: int) -> bytes:
    return blake2b(number.to_bytes(4, "big"), digest_size=16).digest()


def candidates(*numbers: int) -> list[Candidate]:
    return [Candidate(100 + number, key(number), bytes(8), "") for number in numbers]


class Root:
    """A data root in which runs have prepared chunks and ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(str(folder))

    def chunk(self, run: str, first: int, rows: int, route: str = "small") -> None:
        """Prompts whose keys are their row numbers."""
        made = [
            {"row": row, "kind": "asked", "route": route, "key": key(row), "tags": "{}"}
            for row in range(first, first + rows)
        ]
        write(self.folder / paths.chunk(run, 0, first), made, schemas.CHUNK)

    def end(self, run: str, when_ms: int, *statuses: str, client: str = "acme") -> None:
        rows: list[dict[str, Any]] = [result(row, run_id=run, status=status) for row, status in enumerate(statuses)]
        write(self.folder / paths.results(run), rows, schemas.RESULTS)
        mark_ended(self.store, client, when_ms, run)

    def known(self, client: str = "acme", **more: Any) -> Known:
        return Known(self.store, client, DuplicateIndex("exact"), REUSE, **more)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def leaders(known: Known, *numbers: int) -> list[tuple[str | None, int] | None]:
    links = known.index.screen(candidates(*numbers)).links
    return [(link.leader_run, link.leader_row) if link else None for link in links]


def test_open_runs_are_known_up_to_their_cursors(root: Root) -> None:
    root.chunk("a", 0, 2)
    root.chunk("a", 2, 2)  # written, and never committed
    known = root.known()
    known.sync({"a": 2}, NOW)
    assert leaders(known, 0, 1, 2) == [("a", 0), ("a", 1), None]
    known.sync({"a": 4}, NOW)
    assert leaders(known, 3) == [("a", 3)]


def test_chunks_that_redis_forgot_are_forgotten(root: Root) -> None:
    """They are prepared again, and must not be taken for duplicates of themselves."""
    root.chunk("a", 0, 2)
    root.chunk("a", 2, 2)
    known = root.known()
    known.sync({"a": 4}, NOW)
    known.sync({"a": 2}, NOW)
    assert leaders(known, 0, 1, 2, 3) == [("a", 0), ("a", 1), None, None]
    known.sync({"a": 0}, NOW)
    assert leaders(known, 0, 1) == [None, None]
    known.sync({"a": 4}, NOW)
    assert leaders(known, 0, 3) == [("a", 0), ("a", 3)]


def test_ended_runs_are_known_by_what_they_answered(root: Root) -> None:
    root.chunk("a", 0, 3)
    root.end("a", NOW - HOUR // 2, "ok", "failed", "ok")
    known = root.known()
    known.sync({}, NOW)
    assert leaders(known, 0, 1, 2) == [("a", 0), None, ("a", 2)]
    other = root.known("Acme")
    other.sync({}, NOW)
    assert leaders(other, 0) == [None], "another client"
    alone = root.known(alone="b")
    alone.sync({"b": 0, "a": 3}, NOW)
    assert leaders(alone, 0) == [None], "a fresh run knows itself only"


def test_a_run_that_ends_badly_while_it_is_known_is_forgotten_but_for_its_answers(root: Root) -> None:
    root.chunk("a", 0, 2)
    known = root.known()
    known.sync({"a": 2}, NOW)
    root.end("a", NOW, "failed", "ok")
    known.sync({}, NOW)
    assert leaders(known, 0, 1) == [None, ("a", 1)]
    root.chunk("b", 5, 1)
    known.sync({"b": 6}, NOW)
    known.sync({}, NOW + 1)
    assert leaders(known, 5) == [None], "it ended without a word"


def test_answers_grow_too_old_route_by_route(root: Root) -> None:
    root.chunk("a", 0, 1, "short")
    root.chunk("a", 1, 1, "small")
    root.end("a", NOW - HOUR // 2, "ok", "ok")
    known = root.known()
    known.sync({}, NOW)
    assert leaders(known, 0, 1) == [("a", 0), ("a", 1)]
    known.sync({}, NOW + HOUR)
    assert leaders(known, 0, 1) == [None, ("a", 1)]
    known.sync({}, NOW + 24 * HOUR)
    assert leaders(known, 0, 1) == [None, None]
    assert ended_since(root.store, "acme", 0) == [], "its name is gone too"


def test_a_run_that_goes_on_is_an_open_one_and_ends_once(root: Root) -> None:
    root.chunk("a", 0, 2)
    root.end("a", NOW - HOUR, "ok", "expired")
    known = root.known()
    known.sync({"a": 2}, NOW)
    assert leaders(known, 1) == [("a", 1)], "it is being answered"
    root.end("a", NOW, "ok", "ok")
    assert ended_since(root.store, "acme", 0) == [(NOW, "a")]
    known.sync({}, NOW)
    assert leaders(known, 0, 1) == [("a", 0), ("a", 1)]


def test_the_newest_runs_are_taken_first_and_no_more_than_fit(root: Root) -> None:
    for run, when_ms in (("a", NOW - 3), ("b", NOW - 2), ("c", NOW - 1)):
        root.chunk(run, {"a": 0, "b": 10, "c": 20}[run], 5)
        root.end(run, when_ms, *["ok"] * 25)
    index = DuplicateIndex("semantic", HashEncoder(), limit=10)
    known = Known(root.store, "acme", index, REUSE)
    known.sync({}, NOW)
    assert leaders(known, 0, 10, 20) == [None, ("b", 10), ("c", 20)]


def small(root: Root, limit: int = 10) -> Known:
    return Known(root.store, "acme", DuplicateIndex("exact", limit=limit), REUSE)


def test_a_long_open_run_is_taken_from_its_end_and_no_more_than_fits(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes over a client has no more memory than whoever held it."""
    for first in range(0, 100, 5):
        root.chunk("a", first, 5)
    read = Store.read_table
    names: list[str] = []

    def noted(self: Store, name: str, columns: list[str] | None = None) -> Any:
        names.append(name)
        return read(self, name, columns)

    monkeypatch.setattr(Store, "read_table", noted)
    known = small(root)
    known.sync({"a": 95}, NOW)
    assert names == [paths.chunk("a", 0, 90), paths.chunk("a", 0, 85)]
    assert leaders(known, 0, 84, 85, 94, 95) == [None, None, ("a", 85), ("a", 94), None]
    known.sync({"a": 95}, NOW)
    assert len(names) == 2, "what did not fit is not looked at again"
    known.sync({"a": 100}, NOW)
    assert leaders(known, 95, 90, 85) == [("a", 95), ("a", 90), None], "what is new pushes out what is old"


def test_a_long_ended_run_is_taken_from_its_end_and_no_more_than_fits(root: Root) -> None:
    for first in range(0, 100, 5):
        root.chunk("a", first, 5)
    root.end("a", NOW - 2, *["ok"] * 100)
    root.chunk("b", 200, 2)
    root.end("b", NOW - 1, *["ok"] * 202)
    known = small(root)
    known.sync({}, NOW)
    assert 10 <= len(known.index) <= 12
    assert leaders(known, 0, 89, 95, 99, 200) == [None, None, ("a", 95), ("a", 99), ("b", 200)]


def test_after_a_takeover_the_oldest_answers_leave_first(root: Root) -> None:
    for run, when_ms, first in (("a", NOW - 3, 0), ("b", NOW - 2, 10), ("c", NOW - 1, 20)):
        root.chunk(run, first, 4)
        root.end(run, when_ms, *["ok"] * (first + 4))
    root.chunk("d", 30, 1)
    known = small(root, limit=12)
    known.sync({"d": 31}, NOW)
    assert leaders(known, 0, 10, 20, 30) == [("a", 0), ("b", 10), ("c", 20), ("d", 30)]
    screened = known.index.screen(candidates(*range(40, 45)))
    known.learned("e", 45, screened)
    assert leaders(known, 0, 1, 2, 3, 10, 11) == [None] * 6
    assert leaders(known, 12, 13, 20, 30, 40) == [("b", 12), ("b", 13), ("c", 20), ("d", 30), ("e", 140)]


def test_a_full_index_learns_of_runs_that_ended_since_and_of_no_older_ones(root: Root) -> None:
    for run, when_ms, first in (("a", NOW - 3, 0), ("b", NOW - 2, 10)):
        root.chunk(run, first, 10, "short")
        root.end(run, when_ms, *["ok"] * (first + 10))
    known = small(root)
    known.sync({}, NOW)
    assert leaders(known, 0, 10) == [None, ("b", 10)]
    root.chunk("fresh", 20, 4)
    root.end("fresh", NOW + 5, *["ok"] * 24)
    known.sync({}, NOW + 10)
    assert leaders(known, 0, 19, 20) == [None, ("b", 19), ("fresh", 20)]


def test_many_small_runs_become_one_file_that_knows_the_same(root: Root) -> None:
    runs = [f"r{number:03d}" for number in range(MERGED_RUNS)]
    for number, run in enumerate(runs):
        root.chunk(run, number, 1, "short" if number % 2 else "small")
        statuses = ["ok"] * number + ["failed" if number == 10 else "ok"]
        root.end(run, NOW - HOUR + 1 + number, *statuses)
    known = root.known()
    known.sync({}, NOW)
    expected = [None if number == 10 else (run, number) for number, run in enumerate(runs)]
    assert leaders(known, *range(MERGED_RUNS)) == expected
    assert ended_since(root.store, "acme", 0) == [], "they have no names of their own any more"
    (name,) = merged_since(root.store, "acme", 0)
    known.sync({}, NOW)
    assert len(known.index) == MERGED_RUNS - 1
    for run in runs:
        shutil.rmtree(root.folder / paths.run_dir(run))  # the next holder does not look there
    later = root.known()
    later.sync({runs[3]: 0}, NOW)
    assert leaders(later, *range(MERGED_RUNS)) == [each if at != 3 else None for at, each in enumerate(expected)]
    later.sync({}, NOW + HOUR)
    assert leaders(later, 0, 1, 2, 3) == [(runs[0], 0), None, (runs[2], 2), None]
    later.sync({}, NOW + 24 * HOUR)
    assert leaders(later, 0, 2) == [None, None]
    assert not root.store.exists(name), "nobody reuses it any more"


def test_a_merge_that_was_cut_short_does_no_harm(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(MERGED_RUNS):
        root.chunk(f"r{number}", number, 1)
        root.end(f"r{number}", NOW - HOUR + number, *["ok"] * (number + 1))
    with monkeypatch.context() as patch:
        patch.setattr("worker.dedupe.answered.unmark", lambda *_: None)  # killed before the names went
        root.known().sync({}, NOW)
    known = root.known()
    known.sync({}, NOW)
    assert leaders(known, 0, MERGED_RUNS - 1) == [("r0", 0), (f"r{MERGED_RUNS - 1}", MERGED_RUNS - 1)]
    assert len(known.index) == MERGED_RUNS


@pytest.mark.parametrize("damage", ["empty", "short", "flipped", "nonsense"])
@pytest.mark.parametrize("which", ["chunk", "results", "merged"])
def test_a_broken_file_costs_its_own_answers_only(root: Root, which: str, damage: str) -> None:
    runs = [f"r{number:03d}" for number in range(MERGED_RUNS)] if which == "merged" else ["a"]
    for number, run in enumerate(runs):
        root.chunk(run, number, 1)
        root.end(run, NOW - HOUR + number, *["ok"] * (number + 1))
    if which == "merged":
        root.known().sync({}, NOW)
    root.chunk("b", 500, 1)
    root.end("b", NOW - 1, *["ok"] * 501)
    (name,) = {
        "chunk": [paths.chunk("a", 0, 0)],
        "results": [paths.results("a")],
        "merged": merged_since(root.store, "acme", 0),
    }[which]
    file = root.folder / name
    root.store.write_table(name, root.store.read_table(name))
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[_data_of(file, "row")] ^= 0xFF
    file.write_bytes({"empty": b"", "short": whole[:-100], "flipped": bytes(flipped), "nonsense": b"?" * 999}[damage])
    known = root.known()
    for _ in range(2):
        known.sync({}, NOW)
        assert leaders(known, 0, 500) == [None, ("b", 500)]
    file.write_bytes(whole)
    later = root.known()
    later.sync({}, NOW)
    assert leaders(later, 0, 500) == [(runs[0], 0), ("b", 500)]


def _data_of(file: Path, column: str) -> int:
    """The place of the last byte of a column's values."""
    group = pq.read_metadata(file).row_group(0)
    found = next(each for at in range(group.num_columns) if (each := group.column(at)).path_in_schema == column)
    begin = found.dictionary_page_offset or found.data_page_offset
    return int(begin + found.total_compressed_size - 1)


def test_a_store_that_fails_is_not_taken_for_a_broken_file(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    root.chunk("a", 0, 1)
    root.end("a", NOW - 1, "ok")

    def refused(self: Store, name: str, columns: list[str] | None = None) -> None:
        raise OSError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "read_table", refused)
        patch.setattr(Store, "read_bytes", refused)
        with pytest.raises(OSError, match="connection reset"):
            root.known().sync({}, NOW)
    known = root.known()
    known.sync({}, NOW)
    assert leaders(known, 0) == [("a", 0)]
