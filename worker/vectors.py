"""Vectors and texts of representatives: FAISS proposes neighbours, exact scores and texts come from a scratch file.

The only file that imports FAISS, on first use. All of it is a cache of the chunk parts and may be thrown away.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 384
_SALT = 32
_FLAT_MAX = 20_000
_GROWTH = 6
_TRAIN_PER_LIST = 40
_PROBES = 16

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Ids = NDArray[np.int64]


class Scratch:
    """Append-only bytes in an unlinked temporary file: costs disk and page cache, not memory."""

    def __init__(self) -> None:
        self._file = -1
        self._end = 0

    def append(self, data: bytes) -> int:
        """Where the bytes begin."""
        if self._file < 0:
            self._file, name = tempfile.mkstemp(prefix="spillway-index-")
            os.unlink(name)
            weakref.finalize(self, os.close, self._file)
        start, view = self._end, memoryview(data)
        while view:
            written = os.pwrite(self._file, view, self._end)
            self._end += written
            view = view[written:]
        return start

    def read(self, start: int, size: int) -> bytes:
        """What was appended there."""
        return os.pread(self._file, size, start)


class Vectors:
    """Unit vectors with a family each; neighbours are only meant within a family."""

    def __init__(self) -> None:
        self._exact = Scratch()
        self._count = 0
        self._index: Any = None
        self._planned = 0
        self._families: list[NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return self._count

    def add(self, vectors: Halves, families: NDArray[np.uint64]) -> None:
        """Ids are given in order of arrival."""
        if not len(vectors):
            return
        self._exact.append(np.ascontiguousarray(vectors, dtype=np.float16).tobytes())
        self._families.append(families.copy())
        self._count += len(vectors)
        if self._index is None or self._count > self._planned:
            self._rebuild()
        else:
            self._index.add(_salted(vectors.astype(np.float32), families))

    def propose(self, vectors: Floats, families: NDArray[np.uint64], count: int) -> tuple[Ids, Floats]:
        """For every vector the ids of its nearest, best first by exact score, and their cosines; -1 where there is none."""
        ids = np.full((len(vectors), count), -1, dtype=np.int64)
        scores = np.full((len(vectors), count), -1.0, dtype=np.float32)
        if self._index is None or not len(vectors):
            return ids, scores
        _, ids = self._index.search(_salted(vectors, families), count)
        for row, found in enumerate(ids):
            near = found[found >= 0]
            scores[row, : len(near)] = self.exact(near) @ vectors[row]
        best = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(ids, best, 1), np.take_along_axis(scores, best, 1)

    def exact(self, ids: Ids) -> Floats:
        """The stored vectors themselves."""
        size = DIMENSIONS * 2
        data = b"".join(self._exact.read(int(at) * size, size) for at in ids)
        return np.frombuffer(data, dtype=np.float16).reshape(-1, DIMENSIONS).astype(np.float32)

    def _rebuild(self) -> None:
        import faiss

        families = np.concatenate(self._families)
        self._families = [families]
        if self._count <= _FLAT_MAX:
            self._index = faiss.IndexFlatIP(DIMENSIONS + _SALT)
            self._planned = _FLAT_MAX
        else:
            self._planned = self._count * _GROWTH
            lists = _lists_for(self._count)
            self._index = faiss.index_factory(DIMENSIONS + _SALT, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
            step = max(1, self._count // (lists * _TRAIN_PER_LIST))
            chosen = np.arange(0, self._count, step, dtype=np.int64)
            self._index.train(_salted(self.exact(chosen), families[chosen]))
            self._index.nprobe = _PROBES
        for start in range(0, self._count, 16_384):
            ids = np.arange(start, min(start + 16_384, self._count), dtype=np.int64)
            self._index.add(_salted(self.exact(ids), families[ids]))


def _lists_for(count: int) -> int:
    return 1 << max(8, min(12, int(np.log2(count)) - 6))


def _salted(vectors: Floats, families: NDArray[np.uint64]) -> Floats:
    """The vector with a random direction of its family beside it, so that other families are never near."""
    distinct, inverse = np.unique(families, return_inverse=True)
    salts = np.stack([_salt(int(family)) for family in distinct])
    return np.ascontiguousarray(np.hstack([vectors, salts[inverse]]) * np.float32(0.5**0.5))


def _salt(family: int) -> Floats:
    vector = np.random.default_rng(family).standard_normal(_SALT).astype(np.float32)
    return vector / np.linalg.norm(vector)


def nearest_earlier(
    vectors: Floats, families: NDArray[np.uint64], count: int, least: float
) -> list[Sequence[tuple[int, float]]]:
    """For every row of a chunk the earlier rows of its family that are at least so near, best first."""
    out: list[Sequence[tuple[int, float]]] = []
    for start in range(0, len(vectors), 512):
        stop = min(start + 512, len(vectors))
        scores = vectors[start:stop] @ vectors[:stop].T
        scores[families[start:stop, None] != families[None, :stop]] = -1.0
        for row in range(start, stop):
            line = scores[row - start, :row]
            near = np.flatnonzero(line >= least)
            if len(near) > count:
                near = near[np.argpartition(-line[near], count)[:count]]
            out.append([(int(at), float(line[at])) for at in near[np.argsort(-line[near], kind="stable")]])
    return out
