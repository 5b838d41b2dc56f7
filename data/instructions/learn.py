"""Makes weights.npz from known.jsonl, and says how often instructions of other authors are read wrong: `python data/instructions/learn.py`.

Needs scikit-learn, which comes with sentence-transformers. The same instructions give the same weights.
"""

from __future__ import annotations

import inspect
import json
from hashlib import sha256
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, diags
from sklearn.linear_model import LogisticRegression

from pipelines.proof import learnt
from pipelines.proof.instruction import LITERAL, infer_task, read_task

HERE = Path(__file__).parent
STRENGTH = 10.0
"""Chosen by leaving out one author after the other; from 3 to 30 it hardly matters."""

_MIN_INSTRUCTIONS = 2


def read(name: str) -> tuple[list[str], np.ndarray]:
    """Instructions and their kinds."""
    rows = [json.loads(line) for line in (HERE / name).read_text("utf-8").splitlines()]
    return [row["instruction"] for row in rows], np.array([row["kind"] for row in rows])


def digest() -> str:
    """Of what the weights were learnt from; they are stale where it differs from theirs."""
    made_by = "".join(inspect.getsource(part) for part in (learnt.blocks, learnt._pieces, learnt._phrases, weigh))
    patterns = f"{learnt._WHOLE} {learnt._WORD} {learnt._PIECES} {learnt._WORDS} {learnt.BUCKETS} {STRENGTH}"
    return sha256((HERE / "known.jsonl").read_bytes() + f"{made_by} {patterns}".encode()).hexdigest()


def counted(instructions: list[str]) -> list[csr_matrix]:
    """Per block a row for each instruction."""
    made = [list(learnt.blocks(one)) for one in instructions]
    out = []
    for block in range(2):
        ends = np.cumsum([0, *(len(row[block][0]) for row in made)])
        places = np.concatenate([row[block][0] for row in made])
        values = np.concatenate([row[block][1] for row in made])
        out.append(csr_matrix((values, places, ends), (len(instructions), learnt.BUCKETS)))
    return out


def weigh(instructions: list[str], kinds: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays of weights.npz. Pieces of words and words share their buckets, as few of them meet."""
    found = counted(instructions)
    seen = sum(np.asarray((block > 0).sum(0)).ravel() for block in found)
    rarity = np.log((1 + len(instructions)) / (1 + seen)) + 1
    rarity[seen < _MIN_INSTRUCTIONS] = 0
    pieces, words = (_unit(block @ diags(rarity)) for block in found)
    rows = pieces + words
    literal = LogisticRegression(C=STRENGTH, max_iter=5000).fit(rows, kinds == "text")
    free = kinds != "text"
    label = LogisticRegression(C=STRENGTH, max_iter=5000).fit(rows[free], kinds[free] == "label")
    return {
        "source": np.array(digest()),
        "rarity": rarity.astype(np.float16),
        "literal": literal.coef_[0].astype(np.float16),
        "label": label.coef_[0].astype(np.float16),
        "bias": np.array([literal.intercept_[0], label.intercept_[0]], np.float32),
    }


def _unit(rows: csr_matrix) -> csr_matrix:
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(1)).ravel())
    return (diags(1 / np.maximum(lengths, 1e-9)) @ rows).tocsr()


if __name__ == "__main__":
    np.savez_compressed(HERE / learnt.WEIGHTS, **weigh(*read("known.jsonl")))
    unseen, kinds = read("unseen.jsonl")
    literal = kinds == "text"
    for how, told in (("words alone", read_task), ("with what was learnt", infer_task)):
        found = np.array([told(one.replace(learnt.FIELD, "\n").strip()) in LITERAL for one in unseen])
        print(
            f"{how}: {(literal & ~found).sum()} of {literal.sum()} literal ones missed, "
            f"{(~literal & found).sum()} of {(~literal).sum()} others taken for literal"
        )
