"""A chunk part that was left over of a chunk that was then prepared once more, with more rows, says nothing of any row."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import paths, schemas
from tests.support_frames import RUN, result
from tests.support_worker import write
from worker.chunks import Layout, in_order
from worker.prepare import redo
from worker.prepare.promote import Promoter
from worker.settle.audits import _reuses
from worker.store import Store


def parts(tmp_path: Path, kind: str) -> Store:
    """Rows 0 to 7 and 8 to 9; over them lies a part of rows 4 to 9 that was there before."""
    for first, rows in ((0, range(8)), (4, range(4, 10)), (8, range(8, 10))):
        links: list[dict[str, Any]] = [
            {"row": row, "kind": kind, "leader_row": 0, "link_kind": "edit", "route": f"of {first}", "tags": "{}"}
            for row in rows
        ]
        write(tmp_path / paths.chunk(RUN, 0, first), links, schemas.CHUNK)
    return Store(str(tmp_path))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return parts(tmp_path, "link")


def test_each_row_is_in_one_part(store: Store) -> None:
    assert [part.first for part in in_order(store, RUN)] == [0, 8]


def test_who_asks_again_reads_only_what_is_new_and_the_last_part(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one may be prepared once more, with other rows; and so may have been one into which another begins."""
    layout, opened = Layout(store, RUN), []
    read = store.open_parquet
    monkeypatch.setattr(store, "open_parquet", lambda name: (opened.append(paths.first_row(name)), read(name))[1])
    assert [part.rows for part in layout.parts()] == [8, 2] and opened == [0, 8]
    write(Path(store.path(paths.chunk(RUN, 0, 8))), [{"row": row, "tags": "{}"} for row in (8, 9, 10)], schemas.CHUNK)
    assert [part.rows for part in layout.parts()] == [8, 3] and opened == [0, 8, 0, 8]


def test_parts_that_have_fewer_rows_now_are_not_taken_for_those_that_they_were(tmp_path: Path) -> None:
    """A Redis that was set back: what came after is prepared anew in smaller chunks."""

    def prepared(*edges: int) -> None:
        for first, end in pairwise(edges):
            rows = [{"row": row, "tags": "{}"} for row in range(first, end)]
            write(tmp_path / paths.chunk(RUN, 0, first), rows, schemas.CHUNK)

    prepared(0, 2, 9, 12)
    layout = Layout(Store(str(tmp_path)), RUN)
    assert [part.first for part in layout.parts()] == [0, 2, 9]
    prepared(2, 5, 9, 11)
    assert [part.first for part in layout.parts()] == [0, 2, 5, 9]
    assert [part.first for part in layout.parts(9)] == [0, 2, 5], "what is not committed may go at any moment"


def test_a_reuse_is_counted_once(store: Store) -> None:
    spared, reuses, _ = _reuses(store, RUN)
    assert dict(spared) == {"of 0": 8, "of 8": 2}
    assert dict(reuses) == {("of 0", "proof"): 8, ("of 8", "proof"): 2}


def test_a_follower_is_asked_as_its_own_part_says(store: Store) -> None:
    asker: Any = SimpleNamespace(id=RUN)
    nobody: Any = None
    promoter = Promoter(store, nobody, asker, nobody, Layout(store, RUN))
    assert promoter._by_chunk([3, 5, 9]) == {paths.chunk(RUN, 0, 0): {3, 5}, paths.chunk(RUN, 0, 8): {9}}
    write(Path(store.path(paths.chunk(RUN, 0, 10))), [{"row": 10, "kind": "asked", "tags": "{}"}], schemas.CHUNK)
    assert promoter._by_chunk([9, 10]) == {paths.chunk(RUN, 0, 8): {9}, paths.chunk(RUN, 0, 10): {10}}


@pytest.mark.parametrize(("kind", "asked", "follow"), [("asked", [*range(10)], 0), ("link", [], 10)])
def test_a_row_is_asked_again_or_follows_again_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, asked: list[int], follow: int
) -> None:
    store, failed = parts(tmp_path, kind), [result(row, status="failed", output=None) for row in range(10)]
    write(Path(store.path(paths.results(RUN))), failed, schemas.RESULTS)
    monkeypatch.setattr(redo, "rows_of", lambda store, reader, name, wanted: (sorted(wanted), []))
    again, reader = redo.Redo(store, RUN, 1, ["failed"]), SimpleNamespace()
    first, second = (again.read(reader, position) for position in range(2))
    assert [first[2], second[2]] == [False, True], "the left-over one is passed over"
    assert first[0] + second[0] == asked and first[3] + second[3] == follow
