"""Keys to numbers: against a plain dict, through merges and renumbering."""

from __future__ import annotations

import numpy as np

from worker.dedupe.keytable import ABSENT, HashTable, KeyTable, firsts, words


def keys(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 1 << 62, (count, 2), dtype=np.int64).astype(np.uint64)


def test_finds_what_was_added_and_nothing_else() -> None:
    rng, table = np.random.default_rng(1), KeyTable()
    known: dict[tuple[int, int], int] = {}
    for start in range(0, 5000, 250):
        new = keys(rng, 250)
        values = np.arange(start, start + 250)
        table.add(new, values)
        known.update(zip(map(tuple, new.tolist()), values.tolist(), strict=True))
    asked = np.concatenate([np.array(list(known), np.uint64), keys(rng, 500)])
    assert table.find(asked).tolist() == [known.get(tuple(key), ABSENT) for key in asked.tolist()]
    assert len(table) == 5000


def test_half_a_key_is_not_enough() -> None:
    table = KeyTable()
    table.add(np.array([[5, 6]], np.uint64), np.array([1]))
    assert table.find(np.array([[5, 7], [5, 6], [6, 6]], np.uint64)).tolist() == [ABSENT, 1, ABSENT]


def test_renumbering_forgets_and_moves() -> None:
    rng, table = np.random.default_rng(2), KeyTable()
    all_keys = keys(rng, 100)
    table.add(all_keys[:60], np.arange(60))
    table.add(all_keys[60:], np.arange(60, 100))
    number = np.where(np.arange(100) % 2 == 0, np.arange(100) // 2, ABSENT)
    table.renumber(number)
    assert table.find(all_keys).tolist() == number.tolist()


def test_first_of_equal_keys() -> None:
    same = words([b"a" * 16, b"b" * 16, b"a" * 16, b"b" * 16, b"c" * 16])
    assert firsts(same).tolist() == [0, 1, 0, 1, 4]
    half = np.array([[1, 1], [1, 2], [1, 1]], np.uint64)
    assert firsts(half).tolist()[:2] == [0, 1]


def test_nothing_in_nothing_out() -> None:
    table = KeyTable()
    table.add(words([]), np.zeros(0, np.int64))
    assert table.find(words([])).tolist() == []
    assert table.find(words([b"x" * 16])).tolist() == [ABSENT]


def test_of_several_numbers_under_one_hash_the_first_that_are_left_are_found() -> None:
    rng, table, known = np.random.default_rng(4), HashTable(), {}
    for start in range(0, 3000, 100):
        hashes = rng.integers(1, 900, 100, dtype=np.int64).astype(np.uint64)
        table.add(hashes, np.arange(start, start + 100))
        for at, each in enumerate(hashes.tolist(), start):
            known.setdefault(each, []).append(at)
    asked = np.arange(0, 902, dtype=np.uint64)

    def expected(least: int) -> list[list[int]]:
        left = [[at - least for at in known.get(each, []) if at >= least] for each in asked.tolist()]
        return [[*[*each, ABSENT, ABSENT, ABSENT][:3], len(each)] for each in left]

    for least in (0, 500):
        table.renumber(np.where(np.arange(3000) < least, ABSENT, np.arange(3000) - least))
        found, total = table.find(asked, 3)
        assert np.column_stack((found, total)).tolist() == expected(least)
