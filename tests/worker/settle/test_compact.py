"""Who answers whom in results.parquet: leaders here and in other runs, followers that took a place, what own calls cost."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import invariants, paths, schemas
from tests.support_frames import costs_frame
from tests.support_worker import write
from worker.prepare.redo import Redo
from worker.settle.compact import compact
from worker.store import Store

RUN, OTHER = "20260301-080000-abc123", "20260201-000000-ffffff"
CENT = Decimal("0.01")


def asked(row: int) -> dict[str, Any]:
    return {"row": row, "kind": "asked", "route": "small", "tags": "{}"}


def follows(row: int, leader: int, run: str | None = None, kind: str = "exact") -> dict[str, Any]:
    link = {"kind": "link", "leader_row": leader, "leader_run": run, "link_kind": kind, "similarity": 1.0}
    return {**asked(row), **link}


def ended(row: int, status: str = "ok", generation: int = 0, **more: Any) -> dict[str, Any]:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    return {
        "row": row, "status": status, "generation": generation, "output": f"answer {row}" if status == "ok" else None,
        "cost_usd": CENT, "avoided_usd": Decimal(0), "worth_usd": 2 * CENT if status == "ok" else Decimal(0),
        "attempts": 1, "error_code": None if status == "ok" else "lost", "started_at": now, "finished_at": now,
        "finish_reason": "stop" if status == "ok" else None, **more,
    }  # fmt: skip


class Root:
    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Store(str(folder))

    def run(self, chunk: list[dict[str, Any]], *parts: list[dict[str, Any]], run: str = RUN) -> None:
        write(self.folder / paths.chunk(run, 0, 0), chunk, schemas.CHUNK)
        for number, part in enumerate(parts):
            write(self.folder / paths.part(run, f"{number:08d}"), part, schemas.PART)

    def compact(self, run: str = RUN, ending: str = "") -> pl.DataFrame:
        compact(self.store, run, "acme", ending)
        found = pl.read_parquet(self.folder / paths.results(run), hive_partitioning=False)
        broken = [
            v for v in invariants.check(found.lazy(), costs_frame([]).lazy(), found.height) if "by the" not in v.what
        ]
        assert not broken, broken
        return found


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def shown(found: pl.DataFrame) -> list[tuple[Any, ...]]:
    return found.select("status", "output", "duplicate_of", "duplicate_run").rows()


def test_an_answer_of_another_run_is_copied_for_nothing(root: Root) -> None:
    root.run([asked(0), asked(1)], [ended(0), ended(1, "failed")], run=OTHER)
    root.run([follows(0, 0, OTHER), follows(1, 1, OTHER), asked(2)], [ended(1), ended(2)])
    found = root.compact()
    assert shown(found) == [
        ("duplicate", "answer 0", 0, OTHER), ("ok", "answer 1", None, None), ("ok", "answer 2", None, None),
    ]  # fmt: skip
    assert found["cost_usd"].to_list() == [Decimal(0), CENT, CENT]
    assert found["avoided_usd"].to_list() == [2 * CENT, Decimal(0), Decimal(0)]


def test_a_part_that_a_larger_one_took_the_place_of_doubles_no_row(root: Root) -> None:
    """Killed between the one's writing and the other's end; the source was gone when they came back."""
    root.run([asked(0), asked(1), asked(2)], [ended(0), ended(1)])
    write(root.folder / paths.chunk(RUN, 0, 1), [asked(1), asked(2)], schemas.CHUNK)
    assert root.compact(ending="failed")["status"].to_list() == ["ok", "ok", "failed"]


def test_peers_follow_whoever_took_the_leaders_place(root: Root) -> None:
    links = [follows(1, 0), follows(2, 0, kind="canonical"), follows(3, 0, kind="edit")]
    root.run([asked(0), *links], [ended(0, "failed"), ended(2)], [ended(3)])
    found = root.compact()
    assert shown(found) == [
        ("failed", None, None, None), ("duplicate", "answer 2", 2, None), ("ok", "answer 2", None, None),
        ("ok", "answer 3", None, None),
    ]  # fmt: skip
    assert found["similarity"].to_list() == [None, 1.0, None, None]


def test_peers_of_a_leader_elsewhere_follow_the_one_that_was_asked_here(root: Root) -> None:
    root.run([asked(0)], [ended(0, "failed")], run=OTHER)
    root.run([follows(0, 0, OTHER), follows(1, 0, OTHER)], [ended(0)])
    assert shown(root.compact())[1] == ("duplicate", "answer 0", 0, None)


def test_a_follower_with_calls_of_its_own_is_no_duplicate_and_keeps_their_cost(root: Root) -> None:
    root.run([asked(0), follows(1, 0)], [ended(0, "failed"), ended(1, "failed")], [ended(0, generation=1)])
    found = root.compact()
    assert shown(found) == [("ok", "answer 0", None, None), ("ok", "answer 0", None, None)]
    assert found["cost_usd"].to_list() == [2 * CENT, CENT]
    assert found["avoided_usd"].to_list() == [Decimal(0), Decimal(0)]


def test_followers_share_a_failure_and_an_ending(root: Root) -> None:
    root.run([asked(0), follows(1, 0), follows(2, 0, OTHER)], [ended(0, "failed")])
    assert [row[0] for row in shown(root.compact(ending="expired"))] == ["failed", "failed", "expired"]
    assert root.compact()["error_code"].to_list() == ["lost", "lost", "leader_lost"]


def test_rows_of_a_run_whose_source_broke_off_say_so(root: Root) -> None:
    root.run([asked(0), asked(1), follows(2, 1)], [ended(0)])
    found = root.compact(ending="failed")
    assert found["status"].to_list() == ["ok", "failed", "failed"]
    assert found["error_code"].to_list() == [None, "source_failed", "source_failed"]
    assert found["error_message"].str.contains("restore the file").to_list() == [None, True, True]


def test_a_retry_asks_leaders_and_says_which_followers_follow_again(root: Root) -> None:
    """Whether a follower must be asked is known when its leader has ended once more."""
    root.run([asked(0), follows(1, 0), follows(2, 0), follows(3, 0, OTHER)], [ended(0, "failed"), ended(1, "failed")])
    root.compact()
    redo = Redo(root.store, RUN, 1, ["failed"])
    wanted: list[set[int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.prepare.redo.rows_of", lambda _s, _r, _n, rows: (wanted.append(rows), ([], []))[1])
        *_, last, follow = redo.read(None, 0)  # type: ignore[arg-type]
    assert wanted == [{0}] and last
    assert follow == 1, "the others were never counted as asked"


def test_a_row_without_an_id_is_called_by_its_number_unless_another_row_was_given_that_name(tmp_path: Path) -> None:
    root = Root(tmp_path)
    ids = ["2", "row-3", None, None, "5", None, "row-5", "07", "", None, "9999", None]
    root.run([{**asked(row), "custom_id": given} for row, given in enumerate(ids)], [ended(row) for row in range(12)])
    found = root.compact()["custom_id"].to_list()
    assert found == ["2", "row-3", "row-2", "3", "5", "row-row-5", "row-5", "07", "", "9", "9999", "11"]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("ids", [[None] * 3, ["2", "0", "1"]])
def test_where_all_rows_have_ids_or_none_has_they_stay(tmp_path: Path, ids: list[str | None]) -> None:
    root = Root(tmp_path)
    root.run([{**asked(row), "custom_id": given} for row, given in enumerate(ids)], [ended(row) for row in range(3)])
    assert root.compact()["custom_id"].to_list() == [given or str(row) for row, given in enumerate(ids)]
