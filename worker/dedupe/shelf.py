"""What a duplicate index remembers of its representatives: keys, places, texts, vectors and when each was last of use.

Compact (about 460 bytes an entry in memory with vectors, 40 without, 72 more for a story) and rebuilt from chunk parts, so nothing here is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.dedup import Said, read
from worker.dedupe.columns import Growing, Scratch
from worker.dedupe.keytable import ABSENT, HashTable, KeyTable, Values, Words, firsts
from worker.dedupe.vectors import Halves, Vectors

_ROW_BITS = 44
_ROW_MASK = (1 << _ROW_BITS) - 1
_SAME_SKELETON = 4
SAME_OUTLINE = 4
_SLACK = 1.1


class Place(NamedTuple):
    """Where a representative is: its row, and its run unless that is the current one."""

    row: int
    run: str | None


class Batch(NamedTuple):
    """Representatives to be taken; in exact mode only the keys and rows are there."""

    rows: NDArray[np.int64]
    keys: Words
    canonical: Words | None = None
    skeletons: Words | None = None
    families: NDArray[np.uint64] | None = None
    texts: Sequence[str] = ()
    outlines: NDArray[np.uint64] | None = None  # outlines and stories, a row of them each
    embedded: NDArray[np.bool_] | None = None  # which rows the vectors are of
    vectors: Halves | None = None


class Shelf:
    """Entries are numbered in order of arrival; written by one thread, and only between screenings."""

    def __init__(self) -> None:
        self._runs: list[str | None] = [None]
        self._numbers: dict[str | None, int] = {None: 0}
        self.exact, self.canonical, self._skeletons = KeyTable(), KeyTable(), KeyTable()
        self._outlines = HashTable()
        self._where, self._used = Growing(np.int64), Growing(np.uint32)
        self._start, self._size = Growing(np.int64), Growing(np.int32)
        self._entry = Growing(np.int32)
        self._texts, self._vectors = Scratch(), Vectors()
        self._tick = 0

    def __len__(self) -> int:
        return self._where.size

    def take(self, batch: Batch, run: str | None = None) -> None:
        """Add representatives; a key that is there already keeps its first entry."""
        if run not in self._numbers:
            self._numbers[run] = len(self._runs)
            self._runs.append(run)
        self._tick += 1
        count, begin = len(batch.rows), len(self)
        entries = np.arange(begin, begin + count, dtype=np.int64)
        self._where.extend(batch.rows | (self._numbers[run] << _ROW_BITS))
        self._used.extend(np.full(count, self._tick, np.uint32))
        _add_new(self.exact, batch.keys, entries)
        if batch.canonical is not None and batch.skeletons is not None:
            _add_new(self.canonical, batch.canonical, entries)
            self._add_skeletons(batch.skeletons, entries)
        if batch.outlines is not None:
            told = batch.outlines != 0
            self._outlines.add(batch.outlines[told], entries[np.nonzero(told)[0]])
        self._keep_texts(batch.texts, count)
        if batch.vectors is not None and batch.families is not None:
            embedded = np.ones(count, bool) if batch.embedded is None else batch.embedded
            self._entry.extend(entries[embedded])
            self._vectors.add(batch.vectors, batch.families[embedded])

    def touch(self, entries: Sequence[int]) -> None:
        """These were of use just now."""
        self._used.array[np.asarray(entries, dtype=np.int64)] = self._tick + 1

    def newest_first(self, count: int) -> None:
        """The last `count` entries were taken newest first: the first of them leaves last."""
        used = self._used.array[len(self) - count :]
        if count:
            used[:] = used.max() + used.min() - used

    def place(self, entry: int) -> Place:
        """Row and run of an entry."""
        where = int(self._where.array[entry])
        return Place(where & _ROW_MASK, self._runs[where >> _ROW_BITS])

    def said(self, entry: int) -> Said | None:
        """What an entry says; None for one that was taken without its text."""
        size = int(self._size.array[entry]) if entry < self._size.size else -1
        if size < 0:
            return None
        return read(self._texts.read(int(self._start.array[entry]), size).decode("utf-8", "surrogatepass"))

    def with_skeleton(self, skeletons: Words) -> NDArray[np.int64]:
        """For every key up to four entries that have it, -1 where there is none."""
        return np.stack([self._skeletons.find(_numbered(skeletons, nth)) for nth in range(_SAME_SKELETON)], axis=1)

    def with_outlines(self, outlines: NDArray[np.uint64]) -> tuple[Values, Values]:
        """For every row of outlines up to four entries that have each, -1 where there are fewer; and how many have it."""
        found, total = self._outlines.find(outlines.ravel(), SAME_OUTLINE)
        found[outlines.ravel() == 0], total[outlines.ravel() == 0] = ABSENT, 0
        return found.reshape(len(outlines), -1), total.reshape(outlines.shape)

    def near(
        self, vectors: NDArray[np.float32], families: NDArray[np.uint64], count: int
    ) -> list[list[tuple[int, float]]]:
        """For every vector the nearest entries of its family with their cosines, best first."""
        entry = self._entry.array
        return [
            [(int(entry[at]), cosine) for at, cosine in found]
            for found in self._vectors.propose(vectors, families, count)
        ]

    def _add_skeletons(self, skeletons: Words, entries: NDArray[np.int64]) -> None:
        left = np.arange(len(entries))
        for nth in range(_SAME_SKELETON):
            keys = _numbered(skeletons[left], nth)
            new = _add_new(self._skeletons, keys, entries[left])
            left = left[~new]

    def _keep_texts(self, texts: Sequence[str], count: int) -> None:
        if not texts:
            return
        self._pad_texts(len(self) - count)
        blobs = [text.encode("utf-8", "surrogatepass") for text in texts]
        sizes = np.fromiter((len(blob) for blob in blobs), np.int32, count)
        begin = self._texts.append(b"".join(blobs))
        self._start.extend(begin + np.cumsum(sizes, dtype=np.int64) - sizes)
        self._size.extend(sizes)

    def _pad_texts(self, count: int) -> None:
        """The entries before have no text; their columns are filled only once somebody has one."""
        missing = count - self._size.size
        self._start.extend(np.zeros(missing, np.int64))
        self._size.extend(np.full(missing, -1, np.int32))

    def trim(self, limit: int) -> None:
        """Forget what was longest of no use, as soon as there is clearly more than that (0: no limit)."""
        if limit and len(self) > _SLACK * limit:
            self.drop(keep=limit)

    def drop(self, keep: int = 0, runs: frozenset[str] = frozenset()) -> None:
        """Forget these runs, and beyond `keep` entries (0: no limit) those that were longest of no use."""
        where = self._where.array
        stay = np.isin(where >> _ROW_BITS, [at for at, run in enumerate(self._runs) if run in runs], invert=True)
        if keep and stay.sum() > keep:
            oldest_first = np.argsort(self._used.array[stay], kind="stable")
            stay[np.flatnonzero(stay)[oldest_first[: int(stay.sum()) - keep]]] = False
        if stay.all():
            return
        number = np.where(stay, np.cumsum(stay) - 1, ABSENT)
        for table in (self.exact, self.canonical, self._skeletons, self._outlines):
            table.renumber(number)
        self._vectors, kept = self._vectors.only(stay[self._entry.array])
        self._entry = Growing.of(number[self._entry.array[kept]].astype(np.int32))
        self._rewrite_texts(stay)
        self._where, self._used = Growing.of(where[stay]), Growing.of(self._used.array[stay])

    def _rewrite_texts(self, stay: NDArray[np.bool_]) -> None:
        if not self._size.size:
            return
        self._pad_texts(len(stay))
        starts, sizes = self._start.array[stay], self._size.array[stay]
        texts = Scratch()
        for at in np.flatnonzero(sizes > 0):
            starts[at] = texts.append(self._texts.read(int(starts[at]), int(sizes[at])))
        self._texts, self._start, self._size = texts, Growing.of(starts), Growing.of(sizes)


def _add_new(table: KeyTable, keys: Words, entries: NDArray[np.int64]) -> NDArray[np.bool_]:
    new: NDArray[np.bool_] = (table.find(keys) == ABSENT) & (firsts(keys) == np.arange(len(keys)))
    table.add(keys[new], entries[new])
    return new


def _numbered(keys: Words, nth: int) -> Words:
    """The key under which the nth entry of one skeleton is kept."""
    return keys ^ np.uint64(nth * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
