"""The list of ended runs is made again from the runs' own records, and from nothing that does not say when a run ended."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines import paths, wire
from tests.worker.dedupe.test_known import HOUR, NOW, Root, leaders
from worker.dedupe.ended import ended_since
from worker.dedupe.known import MERGED_RUNS
from worker.store import Store


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def record(root: Root, run: str, finished_ms: object, client: str | None = "acme", **more: Any) -> None:
    """What settle and the producer write of a run; `finished_ms` is None as long as it is open."""
    said = {"run_id": run, "client": client, "status": "completed", "finished_ms": finished_ms, **more}
    root.store.write_bytes(paths.run_record(run), wire.dump(said))


def lose_index(root: Root) -> None:
    shutil.rmtree(root.folder / paths.index_dir())


def test_a_lost_list_of_ended_runs_is_made_again_from_their_records(
    root: Root, caplog: pytest.LogCaptureFixture
) -> None:
    """Also under the hands of the holder, and for the clients that come later."""
    for run, client, row in (("a", "acme", 0), ("b", "other", 1), ("c", "acme", 2)):
        root.chunk(run, row, 1)
        root.end(run, NOW - HOUR, *["ok"] * 3, client=client)
        record(root, run, NOW - HOUR, client)
    held = root.known()
    held.sync({}, NOW)
    assert leaders(held, 0, 1, 2) == [("a", 0), None, ("c", 2)] and not caplog.text
    lose_index(root)
    known = root.known()
    known.sync({}, NOW)
    assert leaders(known, 0, 1, 2) == [("a", 0), None, ("c", 2)]
    assert "3 ended runs are found again" in caplog.text
    other = root.known("other")
    other.sync({}, NOW)
    assert leaders(other, 0, 1, 2) == [None, ("b", 1), None]
    lose_index(root)
    held.sync({}, NOW + 1)
    assert leaders(held, 0, 1, 2) == [("a", 0), None, ("c", 2)]
    held.sync({}, NOW + 24 * HOUR)
    assert leaders(held, 0, 1, 2) == [None] * 3, "their answers are no younger for it"


def test_only_runs_that_ended_at_a_known_time_are_found_again(root: Root, caplog: pytest.LogCaptureFixture) -> None:
    ends = {
        "open": None,
        "old": NOW - 24 * HOUR,
        "words": "yesterday",
        "true": True,
        "ahead": NOW + 1,
        "again": NOW - 1,
    }
    for row, (run, finished_ms) in enumerate(ends.items()):
        root.chunk(run, row, 1)
        root.end(run, NOW - 1, *["ok"] * 6)
        record(root, run, finished_ms)
    root.chunk("alien", 6, 1)
    root.end("alien", NOW - 1, *["ok"] * 7)
    record(root, "alien", NOW - 1, run_id="again")
    root.store.write_bytes(paths.run_record("broken"), b"{")
    record(root, "gone", NOW - 1)
    lose_index(root)
    known = root.known()
    known.sync({"again": 6}, NOW)
    assert leaders(known, *range(7)) == [None] * 5 + [("again", 5), None]
    assert ended_since(root.store, "acme", 0) == [(NOW - 1, "again")]
    assert "6 records cannot be used" in caplog.text


def test_where_no_ended_run_can_be_found_again_the_log_says_so(root: Root, caplog: pytest.LogCaptureFixture) -> None:
    record(root, "a", NOW - 1)
    known = root.known()
    known.sync({}, NOW)
    assert "0 ended runs are found again" in caplog.text and len(known.index) == 0
    caplog.clear()
    root.known().sync({}, NOW)
    assert not caplog.text, "it is said once"


def test_finding_again_that_was_cut_short_is_done_again(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    for row, run in enumerate(("a", "b")):
        root.chunk(run, row, 1)
        root.end(run, NOW - HOUR, "ok", "ok")
        record(root, run, NOW - HOUR)
    lose_index(root)
    write_bytes = Store.write_bytes

    def killed(self: Store, name: str, data: bytes, *more: Any) -> None:
        if name.endswith(".b"):
            raise KeyboardInterrupt
        write_bytes(self, name, data, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            root.known().sync({}, NOW)
    known = root.known()
    known.sync({}, NOW)
    assert leaders(known, 0, 1) == [("a", 0), ("b", 1)]


def test_what_is_listed_is_not_listed_twice(root: Root, caplog: pytest.LogCaptureFixture) -> None:
    """A data root of before there was a mark, with runs in one file and runs by name."""
    for number in range(MERGED_RUNS):
        root.chunk(f"r{number}", number, 1)
        root.end(f"r{number}", NOW - HOUR + number, *["ok"] * (number + 1))
        record(root, f"r{number}", NOW - HOUR + number)
    root.known().sync({}, NOW)
    root.chunk("later", 500, 1)
    root.end("later", NOW - 1, *["ok"] * 501)
    record(root, "later", NOW - 1)
    root.store.delete(paths.index_whole())
    known = root.known()
    known.sync({}, NOW)
    assert len(known.index) == MERGED_RUNS + 1 and not caplog.text
    assert ended_since(root.store, "acme", 0) == [(NOW - 1, "later")]
