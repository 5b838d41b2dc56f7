"""A table from keys to numbers that costs 16 bytes an entry: sorted tiers, searched a chunk at a time.

Of a 128-bit key it keeps 96: two of a hundred million keys meet by chance once in ten million million tables. Numbers
are below two thousand million.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Values = NDArray[np.int64]
ABSENT = -1


class _Tier(NamedTuple):
    high: Words
    low: NDArray[np.uint32]
    values: NDArray[np.int32]


class KeyTable:
    """Written once per key: the first value stays. Not safe for two writers."""

    def __init__(self) -> None:
        self._tiers: list[_Tier] = []

    def __len__(self) -> int:
        return sum(len(tier.high) for tier in self._tiers)

    def find(self, keys: Words) -> Values:
        """For every key (a row of two words) its value, or -1."""
        found = np.full(len(keys), ABSENT, dtype=np.int64)
        low = keys[:, 1].astype(np.uint32)
        for tier in self._tiers:
            at = np.searchsorted(tier.high, keys[:, 0])
            at[at == len(tier.high)] = 0
            hit = (tier.high[at] == keys[:, 0]) & (tier.low[at] == low) & (found == ABSENT)
            found[hit] = tier.values[at[hit]]
        return found

    def add(self, keys: Words, values: Values) -> None:
        """Take new keys; those that are there already must not be given again."""
        if not len(keys):
            return
        order = np.argsort(keys[:, 0], kind="stable")
        self._tiers.append(_Tier(keys[order, 0], keys[order, 1].astype(np.uint32), values[order].astype(np.int32)))
        while len(self._tiers) > 1 and len(self._tiers[-2].high) < 2 * len(self._tiers[-1].high):
            newer, older = self._tiers.pop(), self._tiers.pop()
            self._tiers.append(_merge(older, newer))

    def renumber(self, number: Values) -> None:
        """Give every value its new number; those whose new number is -1 are forgotten."""
        kept = []
        for tier in self._tiers:
            values = number[tier.values]
            stay = values != ABSENT
            if stay.any():
                kept.append(_Tier(tier.high[stay], tier.low[stay], values[stay].astype(np.int32)))
        self._tiers = kept


class HashTable:
    """From 64-bit hashes to numbers, several under one hash, 12 bytes each."""

    def __init__(self) -> None:
        self._tiers: list[tuple[NDArray[np.uint64], NDArray[np.int32]]] = []

    def find(self, hashes: NDArray[np.uint64], count: int) -> tuple[Values, Values]:
        """For every hash the first numbers under it, -1 where there are fewer than `count`; and how many there are."""
        found = np.full((len(hashes), count), ABSENT, dtype=np.int64)
        total = np.zeros(len(hashes), np.int64)
        for known, values in self._tiers:
            start = np.searchsorted(known, hashes, side="left")
            here = np.searchsorted(known, hashes, side="right") - start
            for nth in range(count):
                row = np.flatnonzero((here > nth) & (total + nth < count))
                found[row, total[row] + nth] = values[start[row] + nth]
            total += here
        return found, total

    def add(self, hashes: NDArray[np.uint64], values: Values) -> None:
        """Take more, in order of arrival."""
        if not len(hashes):
            return
        order = np.argsort(hashes, kind="stable")
        self._tiers.append((hashes[order], values[order].astype(np.int32)))
        while len(self._tiers) > 1 and len(self._tiers[-2][0]) < 2 * len(self._tiers[-1][0]):
            newer, older = self._tiers.pop(), self._tiers.pop()
            at = np.searchsorted(older[0], newer[0], side="right")
            self._tiers.append((np.insert(older[0], at, newer[0]), np.insert(older[1], at, newer[1])))

    def renumber(self, number: Values) -> None:
        """As KeyTable's."""
        kept = []
        for hashes, values in self._tiers:
            new = number[values]
            stay = new != ABSENT
            if stay.any():
                kept.append((hashes[stay], new[stay].astype(np.int32)))
        self._tiers = kept


def _merge(older: _Tier, newer: _Tier) -> _Tier:
    at = np.searchsorted(older.high, newer.high, side="right")
    return _Tier(
        np.insert(older.high, at, newer.high),
        np.insert(older.low, at, newer.low),
        np.insert(older.values, at, newer.values),
    )


def words(keys: Sequence[bytes]) -> Words:
    """16-byte keys as rows of two words."""
    return np.frombuffer(b"".join(keys), dtype="<u8").reshape(-1, 2)


def firsts(keys: Words) -> NDArray[np.intp]:
    """For every key the position of its first occurrence."""
    _, first, inverse = np.unique(keys[:, 0], return_index=True, return_inverse=True)
    leader = first[inverse]
    differs = keys[leader, 1] != keys[:, 1]
    leader[differs] = np.flatnonzero(differs)
    return leader
