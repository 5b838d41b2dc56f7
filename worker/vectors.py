"""Vectors of representatives: FAISS proposes neighbours, exact scores come from the vectors on scratch disk.

The only file that imports FAISS, on first use. All of it is a cache of the chunk parts and may be thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.columns import Growing, Scratch

DIMENSIONS = 384
_SALT = 32
_FLAT_MAX = 20_000
_GROWTH = 6
_TRAIN_PER_LIST = 40
_PROBES = 16
_COPY = 16_384

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Ids = NDArray[np.int64]


class Vectors:
    """Unit vectors with a family each; neighbours are only meant within a family."""

    def __init__(self) -> None:
        self._exact = Scratch()
        self._count = 0
        self._index: Any = None
        self._planned = 0
        self._families = Growing(np.uint64)

    def __len__(self) -> int:
        return self._count

    def add(self, vectors: Halves, families: NDArray[np.uint64]) -> None:
        """Ids are given in order of arrival."""
        if not len(vectors):
            return
        self._exact.append(np.ascontiguousarray(vectors, dtype=np.float16).tobytes())
        self._families.extend(families)
        self._count += len(vectors)
        if self._index is None or self._count > self._planned:
            self._rebuild()
        else:
            self._index.add(_salted(vectors.astype(np.float32), families))

    def propose(self, vectors: Floats, families: NDArray[np.uint64], count: int) -> list[list[tuple[int, float]]]:
        """For every vector its nearest of the same family as (id, exact cosine), best first."""
        if self._index is None or not len(vectors):
            return [[] for _ in range(len(vectors))]
        _, ids = self._index.search(_salted(vectors, families), count)
        same = (ids >= 0) & (self._families.array[ids] == families[:, None])
        flat = self.exact(ids[same])
        rows = np.nonzero(same)[0]
        cosines = np.einsum("ij,ij->i", flat, vectors[rows])
        out: list[list[tuple[int, float]]] = [[] for _ in range(len(vectors))]
        for row, at, cosine in zip(rows.tolist(), ids[same].tolist(), cosines.tolist(), strict=True):
            out[row].append((at, cosine))
        for found in out:
            found.sort(key=lambda pair: -pair[1])
        return out

    def exact(self, ids: Ids) -> Floats:
        """The stored vectors themselves."""
        size = DIMENSIONS * 2
        data = b"".join(self._exact.read(int(at) * size, size) for at in ids)
        return np.frombuffer(data, dtype=np.float16).reshape(-1, DIMENSIONS).astype(np.float32)

    def only(self, stay: NDArray[np.bool_]) -> tuple[Vectors, Ids]:
        """A copy that holds some of the vectors, renumbered, and the old ids of these."""
        kept = np.flatnonzero(stay)
        copy = Vectors()
        families = self._families.array
        for start in range(0, len(kept), _COPY):
            ids = kept[start : start + _COPY]
            copy.add(self.exact(ids).astype(np.float16), families[ids])
        return copy, kept

    def _rebuild(self) -> None:
        import faiss

        families = self._families.array
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
        for start in range(0, self._count, _COPY):
            ids = np.arange(start, min(start + _COPY, self._count), dtype=np.int64)
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
