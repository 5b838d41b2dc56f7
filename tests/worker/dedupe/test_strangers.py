"""A stranger's files through the whole duplicate stage: no prompt ever gets the answer of another meaning."""

from __future__ import annotations

import hashlib

import pytest

from pipelines.dedup import Candidate
from tests.support_strangers import Strange, strange_rows
from tests.worker.dedupe.test_index import HashEncoder
from worker.dedupe.index import DuplicateIndex

FAMILY = b"stranger"
CHUNK_ROWS = 200


def screened(rows: list[Strange]) -> list[int | None]:
    """The leader of every row, chunk by chunk, as one client's index finds it; nothing tells the task or the template."""
    index, found = DuplicateIndex("semantic", HashEncoder()), list[int | None]()
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = [
            Candidate(start + at, hashlib.blake2b(row.text.encode(), digest_size=16).digest(), FAMILY, row.text)
            for at, row in enumerate(rows[start : start + CHUNK_ROWS])
        ]
        result = index.screen(chunk)
        index.commit(result)
        found += [link.leader_row if link else None for link in result.links]
    return found


@pytest.mark.parametrize("seed", range(6))
def test_no_meaning_gets_the_answer_of_another(seed: int) -> None:
    rows = strange_rows(500, seed)
    leaders = screened(rows)
    wrong = [
        f"{rows[leader].text[-160:]!r} served {row.text[-160:]!r}"
        for row, leader in zip(rows, leaders, strict=True)
        if leader is not None and rows[leader].meaning != row.meaning
    ]
    assert wrong == []


def test_what_means_the_same_is_found() -> None:
    rows = strange_rows(2000, 99)
    leaders = screened(rows)
    seen: set[tuple[str, ...]] = set()
    possible = found = 0
    for row, leader in zip(rows, leaders, strict=True):
        possible += row.meaning in seen
        found += leader is not None
        seen.add(row.meaning)
    assert possible > 300
    assert found >= 0.9 * possible
