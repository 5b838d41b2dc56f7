"""Ids of a run: repeats are found in and across chunks, an uncommitted chunk leaves no trace."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.prepare.ids import Ids


def test_repeats_within_and_across_chunks() -> None:
    ids = Ids()
    known, hashes = ids.repeated(["a", "b", "a"])
    assert known == [False, False, True]
    assert ids.repeated(["a"])[0] == [False], "nothing was committed yet"
    ids.learn(hashes)
    assert ids.repeated(["c", "b"])[0] == [False, True]


@given(st.lists(st.lists(st.text(max_size=3), max_size=20), max_size=12))
def test_agrees_with_a_set(chunks: list[list[str]]) -> None:
    ids, seen = Ids(), set[str]()
    for chunk in chunks:
        known, hashes = ids.repeated(chunk)
        for each, was in zip(chunk, known, strict=True):
            assert was == (each in seen)
            seen.add(each)
        ids.learn(hashes)
