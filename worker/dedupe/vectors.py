"""Vectors of representatives: FAISS proposes neighbours, exact scores come from the vectors on scratch disk.

The only file that imports FAISS, on first use. All of it is a cache of the chunk parts and may be thrown away.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.dedupe.columns import Growing, Scratch

DIMENSIONS = 384
_SALT = 16
_FLAT_MAX = 20_000
_GROWTH = 4
_TRAIN_PER_LIST = 40
_MAX_LISTS = 4096
_QUERY_BITS = 8
_PROPOSED = 2
"""So many times the neighbours that are wanted are scored: one bit a number (RaBitQ) puts the nearest among them, seldom in
order."""

_SCORED = 32
"""So many searches are scored at once that what they need stays in the caches: of memory that is new, every page costs more than
what is read into it."""

_PROBES = 8
_COPY = 8192
_ENDLESS = 1 << 62
_VECTOR_BYTES = 2 * DIMENSIONS
_BLOCK = 512
_SHARE = np.float32(0.5**0.5)

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
        self._mixed = False

    def __len__(self) -> int:
        return self._count

    def add(self, vectors: Halves, families: NDArray[np.uint64]) -> None:
        """Ids are given in order of arrival."""
        if not len(vectors):
            return
        self._exact.append(np.ascontiguousarray(vectors, dtype=np.float16).tobytes())
        self._families.extend(families)
        self._count += len(vectors)
        was_mixed = self._mixed
        self._mixed = was_mixed or bool((families != self._families.array[0]).any())
        if self._index is None or self._count > self._planned or self._mixed != was_mixed:
            self._rebuild()
        else:
            self._index.add(self._turned(vectors.astype(np.float32), families))

    def propose(self, vectors: Floats, families: NDArray[np.uint64], count: int) -> list[list[tuple[int, float]]]:
        """For every vector its nearest of the same family as (id, exact cosine), best first."""
        if self._index is None or not len(vectors):
            return [[] for _ in range(len(vectors))]
        _, ids = self._index.search(self._turned(vectors, families), _PROPOSED * count)
        found: list[list[tuple[int, float]]] = []
        for start in range(0, len(vectors), _SCORED):
            some = slice(start, start + _SCORED)
            found += self._nearest(ids[some], vectors[some], families[some], count)
        return found

    def _nearest(
        self, ids: Ids, vectors: Floats, families: NDArray[np.uint64], count: int
    ) -> list[list[tuple[int, float]]]:
        """Of what is proposed for each vector, the nearest of its family."""
        same = (ids >= 0) & (self._families.array[ids] == families[:, None])
        stored = self.exact(np.maximum(ids, 0).ravel()).reshape(*ids.shape, DIMENSIONS)
        cosines = np.where(same, np.einsum("ij,ikj->ik", vectors, stored), -np.inf)
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        rows = zip(*(np.take_along_axis(each, best, 1).tolist() for each in (same, ids, cosines)), strict=True)
        return [[(at, cosine) for good, at, cosine in zip(*row, strict=True) if good] for row in rows]

    def exact(self, ids: Ids) -> Floats:
        """The stored vectors themselves."""
        data = self._exact.gather((ids * _VECTOR_BYTES).tolist(), _VECTOR_BYTES)
        return np.frombuffer(data, np.float16).reshape(-1, DIMENSIONS).astype(np.float32)

    def _stretch(self, start: int, stop: int) -> Floats:
        """Stored vectors that lie side by side."""
        data = self._exact.read(start * _VECTOR_BYTES, (stop - start) * _VECTOR_BYTES)
        return np.frombuffer(data, np.float16).reshape(-1, DIMENSIONS).astype(np.float32)

    def only(self, stay: NDArray[np.bool_]) -> tuple[Vectors, Ids]:
        """A copy that holds some of the vectors, renumbered, and the old ids of these."""
        copy = Vectors()
        for start in range(0, self._count, _COPY):
            stop = min(start + _COPY, self._count)
            chosen = stay[start:stop]
            copy.add(self._stretch(start, stop)[chosen].astype(np.float16), self._families.array[start:stop][chosen])
        return copy, np.flatnonzero(stay)

    def _rebuild(self) -> None:
        import faiss

        if self._count <= _FLAT_MAX:
            self._index = faiss.IndexFlatIP(DIMENSIONS + _SALT)
            self._planned = _FLAT_MAX
        else:
            lists = _lists_for(self._count)
            self._planned = self._count * _GROWTH if lists < _MAX_LISTS else _ENDLESS
            self._index = faiss.index_factory(DIMENSIONS + _SALT, f"IVF{lists},RaBitQ", faiss.METRIC_INNER_PRODUCT)
            sample = self._sample(lists * _TRAIN_PER_LIST)
            self._index.train_q1(len(sample), faiss.swig_ptr(sample), False, faiss.METRIC_INNER_PRODUCT)
            self._index.train(sample[:_COPY])  # the codes learn nothing, and would copy all of it
            self._index.nprobe, self._index.qb = _PROBES, _QUERY_BITS
        for start in range(0, self._count, _COPY):
            stop = min(start + _COPY, self._count)
            self._index.add(self._turned(self._stretch(start, stop), self._families.array[start:stop]))

    def _sample(self, count: int) -> Floats:
        """Vectors to train on, spread evenly; made in place, as they are many."""
        chosen = np.linspace(0, self._count - 1, min(count, self._count)).astype(np.int64)
        out = np.empty((len(chosen), DIMENSIONS + _SALT), np.float32)
        for start in range(0, self._count, _COPY):
            stop = min(start + _COPY, self._count)
            rows = np.flatnonzero((chosen >= start) & (chosen < stop))
            picked = chosen[rows] - start
            out[rows] = self._turned(self._stretch(start, stop)[picked], self._families.array[start:stop][picked])
        return out

    def _turned(self, vectors: Floats, families: NDArray[np.uint64]) -> Floats:
        """As the index has them: with several families, a vector has a random direction of its family beside it, so that other
        families are never near; and turned at random, since signs say little of what stands out in a few numbers."""
        if not self._mixed:
            return vectors @ _rotation()[:DIMENSIONS]
        distinct, inverse = np.unique(families, return_inverse=True)
        salts = np.stack([_salt(int(family)) for family in distinct])
        return _SHARE * np.hstack([vectors, salts[inverse]]) @ _rotation()


def _lists_for(count: int) -> int:
    """As many as the vectors at hand can train, and the next growth will need."""
    return min(_MAX_LISTS, 1 << int(np.log2(count / _TRAIN_PER_LIST)))


@cache
def _rotation() -> Floats:
    made = np.random.default_rng(_SALT).standard_normal((DIMENSIONS + _SALT, DIMENSIONS + _SALT))
    return np.linalg.qr(made)[0].astype(np.float32)


def _salt(family: int) -> Floats:
    vector = np.random.default_rng(family).standard_normal(_SALT).astype(np.float32)
    return vector / np.linalg.norm(vector)


def nearest_earlier(
    vectors: Floats, families: NDArray[np.uint64], count: int, least: float
) -> list[list[tuple[int, float]]]:
    """For every row of a chunk the earlier rows of its family that are at least so near, best first."""
    out: list[list[tuple[int, float]]] = []
    mixed = bool(len(families)) and bool((families != families[0]).any())
    for start in range(0, len(vectors), _BLOCK):
        stop = min(start + _BLOCK, len(vectors))
        scores = vectors[start:stop] @ vectors[:stop].T
        scores[:, start:][np.triu_indices(stop - start)] = -1.0
        if mixed:
            scores[families[start:stop, None] != families[None, :stop]] = -1.0
        kept = min(count, stop)
        peers = np.argpartition(scores, -kept, axis=1)[:, -kept:]
        near = np.take_along_axis(scores, peers, 1)
        for found, cosines in zip(peers.tolist(), near.tolist(), strict=True):
            pairs = [(at, cosine) for at, cosine in zip(found, cosines, strict=True) if cosine >= least]
            out.append(sorted(pairs, key=lambda pair: -pair[1]))
    return out
