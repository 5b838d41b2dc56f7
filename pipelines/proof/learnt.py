"""What kind of task an instruction sets, as learnt from some 6,000 instructions: a linear model over its words and pieces of words.

instruction.py weighs it against what single words say. `data/instructions` has the instructions, and `learn.py` there makes the weights.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

WEIGHTS = "weights.npz"
BUCKETS = 1 << 18
FIELD = "{f}"
"""Stands in the instructions that were learnt from where a prompt has its text; nothing stands there in what is asked about."""

_FOLDERS = (Path(__file__).parents[1] / "instructions", Path(__file__).parents[2] / "data" / "instructions")
_READ_LETTERS = 2_000
"""Of a longer instruction so many letters at each end are read."""

_PIECES, _WORDS = range(2, 6), range(1, 4)
_WHOLE = re.compile(r"\w+|[^\w\s]|\n")
_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|\n")


class Odds(NamedTuple):
    """How likely the answer depends on the very letters of a text; if it does not, that it is a label; and what share is known at all."""

    literal: float
    label: float
    known: float


class Weights(NamedTuple):
    """One number per bucket: how rare it is, and what it says."""

    rarity: NDArray[np.float32]
    literal: NDArray[np.float32]
    label: NDArray[np.float32]
    bias: NDArray[np.float32]  # of literal, of label


def odds(instruction: str) -> Odds:
    """Of an instruction without the text that it is about. Known are pieces of words: those of other languages seldom are."""
    weights = _weights()
    literal, label = (float(bias) for bias in weights.bias)
    shares = []
    for buckets, counts in blocks(instruction):
        shares.append(float(counts[weights.rarity[buckets] > 0].sum()) / max(float(counts.sum()), 1))
        values = counts * weights.rarity[buckets]
        values /= max(float(np.linalg.norm(values)), 1e-9)
        literal += float(values @ weights.literal[buckets])
        label += float(values @ weights.label[buckets])
    return Odds(1 / (1 + math.exp(-literal)), 1 / (1 + math.exp(-label)), shares[0])


def blocks(instruction: str) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Buckets and damped counts of the pieces of words of an instruction, then of its words."""
    low = instruction.replace(FIELD, "\n").strip().lower()
    if len(low) > 2 * _READ_LETTERS:
        low = f"{low[:_READ_LETTERS]}\n{low[-_READ_LETTERS:]}"
    for found in (Counter(_pieces(low)), Counter(_phrases(low))):
        counts: Counter[int] = Counter()
        for gram, count in found.items():
            counts[crc32(gram.encode("utf-8", "replace")) % BUCKETS] += count
        yield (
            np.fromiter(counts, np.int64, len(counts)),
            1 + np.log(np.fromiter(counts.values(), np.float32, len(counts))),
        )


def _pieces(low: str) -> Iterator[str]:
    for word in _WHOLE.findall(low):
        padded = f" {word} "
        for size in _PIECES:
            for at in range(max(1, len(padded) - size + 1)):
                yield "c" + padded[at : at + size]


def _phrases(low: str) -> Iterator[str]:
    words = _WORD.findall(low)
    for size in _WORDS:
        for at in range(len(words) - size + 1):
            yield "w" + " ".join(words[at : at + size])
    for first, last in zip(words, words[2:], strict=False):
        yield f"s{first} _ {last}"


@cache
def _weights() -> Weights:
    path = next((folder / WEIGHTS for folder in _FOLDERS if (folder / WEIGHTS).is_file()), _FOLDERS[0] / WEIGHTS)
    with np.load(path) as stored:  # numpy refuses objects unless it is told otherwise
        return Weights(*(stored[name].astype(np.float32) for name in Weights._fields))
