"""How big and how fast the duplicate index is: `python -m tests.benchmarks.dedupe_scale --rows 1000000`.

Every entry has a vector and every key, the worst case. Vectors are noisy mixtures around random centres, as embeddings are; texts are
short. The encoder is not part of it.
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.dedupe.chunk import KEYS
from worker.dedupe.shelf import Batch, Shelf
from worker.dedupe.vectors import DIMENSIONS

CHUNK_ROWS = 4096
CENTRES = 20_000


def resident_mb() -> float:
    """Memory of this process that is its own, without files in the page cache."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) / 1024


def vectors(count: int, centres: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    picked = centres[rng.integers(0, len(centres), count)]
    noisy = picked + rng.standard_normal((count, DIMENSIONS), np.float32) * np.float32(0.9 / DIMENSIONS**0.5)
    return noisy / np.linalg.norm(noisy, axis=1, keepdims=True)


def batch(start: int, found: NDArray[np.float32], rng: np.random.Generator) -> Batch:
    count = len(found)
    keys = rng.integers(0, 1 << 63, (3, count, 2), dtype=np.int64).astype(np.uint64)
    texts = [
        f"A prompt of about the usual length, this being number {start + at} of a great many." for at in range(count)
    ]
    families = np.full(count, 7, np.uint64)
    rows = np.arange(start, start + count, dtype=np.int64)
    outlines = rng.integers(1, 1 << 63, (count, KEYS), dtype=np.int64).astype(np.uint64)
    halves = found.astype(np.float16)
    return Batch(rows, keys[0], keys[1], keys[2], families, texts, outlines, np.ones(count, bool), halves)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    rng = np.random.default_rng(1)
    centres = vectors(CENTRES, rng.standard_normal((CENTRES, DIMENSIONS), np.float32), rng)
    shelf = Shelf()
    import faiss  # its libraries are not the index's

    gc.collect()
    before, taken, probes = resident_mb(), 0.0, []
    for start in range(0, rows, CHUNK_ROWS):
        found = vectors(min(CHUNK_ROWS, rows - start), centres, rng)
        new = batch(start, found, rng)
        begun = time.perf_counter()
        shelf.take(new)
        taken += time.perf_counter() - begun
        if start // CHUNK_ROWS % (max(1, rows // CHUNK_ROWS // 20)) == 0:
            probes.append((start, found[:100].copy()))
    gc.collect()
    print(
        f"{rows} entries: {resident_mb() - before:.0f} MB, {rows / taken:.0f} rows/s taken in, faiss {faiss.__version__}"
    )
    ids = np.concatenate([start + np.arange(len(found)) for start, found in probes])
    stored = np.concatenate([found for _, found in probes])
    noise = rng.standard_normal(stored.shape, np.float32) * np.float32(0.25 / DIMENSIONS**0.5)
    asked = (stored + noise) / np.linalg.norm(stored + noise, axis=1, keepdims=True)
    families = np.full(len(asked), 7, np.uint64)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    near = shelf.near(asked, families, 8)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    close = np.einsum("ij,ij->i", asked, stored) >= 0.95
    hit = [any(entry == at for entry, _ in pairs) for at, pairs in zip(ids.tolist(), near, strict=True)]
    found_share = np.array(hit)[close].mean()
    print(f"{len(asked) / seconds:.0f} searches/s ({len(asked) / cpu:.0f} per second of one core)")
    print(f"of {close.sum()} neighbours at 0.95 or nearer {found_share:.4f} found")


if __name__ == "__main__":
    main()
