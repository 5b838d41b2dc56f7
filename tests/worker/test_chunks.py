"""A chunk part that was left over of a chunk that was then prepared once more, with more rows, says nothing of any row."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import paths, schemas
from tests.support_frames import RUN, result
from tests.support_worker import write
from worker.chunks import in_order
from worker.prepare import redo
from worker.prepare.promote import Promoter
from worker.settle.audits import _reuses
from worker.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Rows 0 to 7 and 8 to 9; over them lies a part of rows 4 to 9 that was there before."""
    for first, rows in ((0, range(8)), (4, range(4, 10)), (8, range(8, 10))):
        links: list[dict[str, Any]] = [
            {"row": row, "kind": "link", "leader_row": 0, "link_kind": "edit", "route": f"of {first}", "tags": "{}"}
            for row in rows
        ]
        write(tmp_path / paths.chunk(RUN, 0, first), links, schemas.CHUNK)
    return Store(str(tmp_path))


def test_each_row_is_in_one_part(store: Store) -> None:
    assert [part.first for part in in_order(store, RUN)] == [0, 8]


def test_a_reuse_is_counted_once(store: Store) -> None:
    assert dict(_reuses(store, RUN)[0]) == {("of 0", "proof"): 8, ("of 8", "proof"): 2}


def test_a_follower_is_asked_as_its_own_part_says(store: Store) -> None:
    asker: Any = SimpleNamespace(id=RUN)
    nobody: Any = None
    promoter = Promoter(store, nobody, asker, nobody)
    assert promoter._by_chunk([3, 5, 9]) == {paths.chunk(RUN, 0, 0): {3, 5}, paths.chunk(RUN, 0, 8): {9}}
    write(Path(store.path(paths.chunk(RUN, 0, 10))), [{"row": 10, "kind": "asked", "tags": "{}"}], schemas.CHUNK)
    assert promoter._by_chunk([9, 10]) == {paths.chunk(RUN, 0, 8): {9}, paths.chunk(RUN, 0, 10): {10}}


def test_a_row_is_asked_again_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = [result(row, status="failed", output=None) for row in range(10)]
    write(Path(store.path(paths.results(RUN))), failed, schemas.RESULTS)
    monkeypatch.setattr(redo, "rows_of", lambda store, reader, name, wanted: (sorted(wanted), []))
    again, reader = redo.Redo(store, RUN, 1, ["failed"]), SimpleNamespace()
    found = [again.read(reader, position) for position in range(2)]
    assert [(last, follow) for _, _, last, follow in found] == [(False, 8), (True, 2)], (
        "followers of other parts follow once"
    )
