"""Neighbours: exact scores, families apart, growth from flat to lists, and copies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.dedupe.vectors import DIMENSIONS, Vectors, nearest_earlier

FAMILY = 7


def unit(count: int, seed: int) -> NDArray[np.float32]:
    found = np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def families(count: int, family: int = FAMILY) -> NDArray[np.uint64]:
    return np.full(count, family, np.uint64)


def test_scores_are_those_of_the_stored_vectors() -> None:
    vectors, stored = Vectors(), unit(300, 1)
    vectors.add(stored.astype(np.float16), families(300))
    asked = unit(1, 2)
    (near,) = vectors.propose(asked, families(1), 5)
    exact = stored @ asked[0]
    assert [at for at, _ in near] == np.argsort(-exact)[:5].tolist()
    np.testing.assert_allclose([cosine for _, cosine in near], np.sort(exact)[::-1][:5], atol=1e-3)


def test_other_families_are_never_proposed() -> None:
    vectors, stored = Vectors(), unit(50, 3)
    vectors.add(stored.astype(np.float16), families(50, 1))
    vectors.add(stored.astype(np.float16), families(50, 2))
    near = vectors.propose(stored[:10], families(10, 2), 3)
    assert all(at >= 50 for pairs in near for at, _ in pairs)
    assert [pairs[0][0] for pairs in near] == list(range(50, 60))
    assert vectors.propose(stored[:1], families(1, 3), 3) == [[]]


def test_growth_beyond_the_flat_index_keeps_every_id() -> None:
    vectors, stored = Vectors(), unit(24_000, 4)
    for start in range(0, 24_000, 6_000):
        vectors.add(stored[start : start + 6_000].astype(np.float16), families(6_000))
    picked = np.arange(0, 24_000, 240)
    near = vectors.propose(stored[picked], families(len(picked)), 4)
    hits = sum(pairs[0][0] == at for pairs, at in zip(near, picked.tolist(), strict=True) if pairs)
    assert hits >= 0.99 * len(picked)


def test_the_nearest_are_found_among_many_that_are_nearly_as_near() -> None:
    """Thousands of prompts of one template lie close together: rough codes alone could not tell them apart."""
    noise = np.random.default_rng(8).standard_normal((24_000, DIMENSIONS)).astype(np.float32) / DIMENSIONS**0.5
    stored = np.repeat(unit(240, 9), 100, axis=0) + np.float32(0.2) * noise
    stored /= np.linalg.norm(stored, axis=1, keepdims=True)
    vectors = Vectors()
    vectors.add(stored.astype(np.float16), families(24_000))
    picked = np.arange(0, 24_000, 40)
    asked = stored[picked] + np.float32(0.25) * noise[::-1][picked]
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    near = vectors.propose(asked, families(len(picked)), 8)
    assert max(map(len, near)) == 8
    found = [at in [other for other, _ in pairs] for pairs, at in zip(near, picked.tolist(), strict=True)]
    assert np.mean(found) >= 0.995


def test_the_same_texts_in_many_families_do_not_hide_each_other() -> None:
    stored = np.tile(unit(8, 11), (3_000, 1))
    kinds = np.repeat(np.arange(3_000), 8).astype(np.uint64)
    vectors = Vectors()
    vectors.add(stored.astype(np.float16), kinds)
    picked = np.arange(0, 24_000, 40)
    near = vectors.propose(stored[picked], kinds[picked], 8)
    assert np.mean([bool(pairs) and pairs[0][0] == at for pairs, at in zip(near, picked.tolist(), strict=True)]) >= 0.99


def test_a_copy_of_some_is_renumbered() -> None:
    vectors, stored = Vectors(), unit(100, 5)
    vectors.add(stored.astype(np.float16), families(100))
    copy, kept = vectors.only(np.arange(100) % 3 == 0)
    assert len(copy) == len(kept) == 34
    near = copy.propose(stored[kept], families(34), 1)
    assert [pairs[0][0] for pairs in near] == list(range(34))


def test_an_empty_index_proposes_nothing() -> None:
    assert Vectors().propose(unit(2, 6), families(2), 3) == [[], []]


def test_in_a_chunk_only_earlier_rows_of_the_family_are_near() -> None:
    rows = unit(1200, 7)
    rows[900] = rows[3]
    rows[901] = rows[3]
    kinds = families(1200)
    kinds[901] = 8
    near = nearest_earlier(rows, kinds, 4, 0.9)
    assert [[at for at, _ in near[row]] for row in (3, 900, 901)] == [[], [3], []]
    assert nearest_earlier(rows[:0], kinds[:0], 4, 0.9) == []
