"""The callers' own names for a run's rows, remembered so that none is used twice."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from pipelines import paths
from worker.store import Store


class Ids:
    """The custom ids of a run, as sorted 64-bit hashes in tiers: 8 bytes a row (two ids of a million meet in one of 37
    million runs). Reading changes nothing; `learn` is for committed chunks."""

    def __init__(self) -> None:
        self._tiers: list[NDArray[np.uint64]] = []

    def repeated(self, ids: list[str]) -> tuple[list[bool], NDArray[np.uint64]]:
        """For each id whether it was there before, in this list or an earlier one; and what `learn` takes."""
        seen: set[int] = set()
        hashes = np.fromiter((_id_hash(each) for each in ids), np.uint64, len(ids))
        known = np.zeros(len(ids), bool)
        for tier in self._tiers:
            known |= tier[np.minimum(np.searchsorted(tier, hashes), len(tier) - 1)] == hashes
        repeated = []
        for number, was in zip(hashes.tolist(), known.tolist(), strict=True):
            repeated.append(was or number in seen)
            seen.add(number)
        return repeated, hashes

    def restore(self, store: Store, run_id: str, rows: int) -> None:
        """Learns the ids of the committed chunk parts again: those below row `rows`. Blocking."""
        for name in store.names(paths.chunks_dir(run_id)):
            if paths.first_row(name) < rows:
                ids = store.read_table(name, columns=["custom_id"])["custom_id"].to_pylist()
                self.learn(self.repeated([text for text in ids if text is not None])[1])

    def learn(self, hashes: NDArray[np.uint64]) -> None:
        if len(hashes):
            self._tiers.append(np.unique(hashes))
        while len(self._tiers) > 1 and len(self._tiers[-2]) < 2 * len(self._tiers[-1]):
            self._tiers.append(np.union1d(self._tiers.pop(), self._tiers.pop()))


def _id_hash(custom_id: str) -> int:
    return int.from_bytes(blake2b(custom_id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
