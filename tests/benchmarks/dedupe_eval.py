"""How right the duplicate stage is on labelled streams and pairs that are not part of this repository.

`python -m tests.benchmarks.dedupe_eval --data FOLDER` prints the tables of docs/dedupe.md and every wrong reuse it finds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pipelines.dedup import CLOSED, EXTRACT, OPEN, STRICT, Candidate, Link, decide
from pipelines.proof import lexicon
from pipelines.proof.paraphrase import same_meaning
from worker.dedupe.encode import Encoder
from worker.dedupe.index import DuplicateIndex

CHUNK_ROWS = 4096
Row = dict[str, Any]


class Remembering:
    """The real encoder, asked once per text, so that several passes cost one."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._seen: dict[str, NDArray[np.float16]] = {}

    @property
    def name(self) -> str:
        return self._encoder.name

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        new = list({text for text in texts if text not in self._seen})
        self._seen.update(zip(new, self._encoder.encode(new).astype(np.float16), strict=True))
        return np.array([self._seen[text] for text in texts], np.float32).reshape(-1, 384)


@dataclass(slots=True)
class Score:
    """Counts of one run over one stream."""

    rows: int = 0
    possible: int = 0
    right: int = 0
    wrong: int = 0
    harmful: int = 0
    paraphrases: int = 0
    paraphrases_found: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def add(self, other: Score) -> None:
        for name in ("rows", "possible", "right", "wrong", "harmful", "paraphrases", "paraphrases_found"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.kinds += other.kinds
        self.missed += other.missed
        self.errors += other.errors


def candidate(row: Row, place: int, *, given: bool, paraphrase: bool) -> Candidate:
    """A prompt as the program would present it; nothing of the labels is passed on."""
    key = blake2b(row["prompt"].encode(), digest_size=16).digest()
    template = f"{row['stream']}|{row['template_id']}|{row['param']}" if given else ""
    family = blake2b(template.encode(), digest_size=8).digest()
    return Candidate(place, key, family, row["prompt"], (row["var"],) if given else None, paraphrase=paraphrase)


def run(rows: list[Row], encoder: Remembering, *, given: bool = False, paraphrase: bool = False) -> Score:
    """One file of prompts, chunk by chunk, through a fresh index."""
    index = DuplicateIndex("semantic", encoder)
    score, groups = Score(), defaultdict[tuple[str, int], list[Row]](list)
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = rows[start : start + CHUNK_ROWS]
        asked = [candidate(row, start + n, given=given, paraphrase=paraphrase) for n, row in enumerate(chunk)]
        screened = index.screen(asked)
        index.commit(screened)
        for row, link in zip(chunk, screened.links, strict=True):
            before = groups[row["stream"], row["group"]]
            count(score, row, link, rows[link.leader_row] if link else None, before)
            before.append(row)
    return score


def count(score: Score, row: Row, link: Link | None, leader: Row | None, before: list[Row]) -> None:
    score.rows += 1
    score.possible += bool(before)
    reworded = bool(before) and is_reworded(row, before)
    score.paraphrases += reworded
    if link is None or leader is None:
        if before:
            score.missed[row["kind"] if row["kind"] != "base" else "base after its variant"] += 1
        return
    score.kinds[link.kind] += 1
    if leader["stream"] == row["stream"] and leader["group"] == row["group"]:
        score.right += 1
        score.paraphrases_found += reworded
        return
    score.wrong += 1
    score.harmful += not (row["answer"] and row["answer"] == leader["answer"])
    texts = f"{leader['var'][:160]!r} -> {row['var'][:160]!r}"
    score.errors.append(f"{row['stream']}, {row['kind']}, {link.kind} ({link.guard}): {texts}")


def is_reworded(row: Row, before: list[Row]) -> bool:
    """A human paraphrase: every earlier row of the group is the other wording."""
    mine = row["kind"] == "dup_paraphrase"
    return (
        all((other["kind"] == "dup_paraphrase") != mine for other in before)
        if mine
        else all(other["kind"] == "dup_paraphrase" for other in before)
    )


def wilson(wrong: int, total: int) -> str:
    """95 % interval of a share."""
    if not total:
        return "-"
    z, share = 1.96, wrong / total
    middle, width = share + z * z / (2 * total), z * ((share * (1 - share) + z * z / (4 * total)) / total) ** 0.5
    low, high = ((middle - width) / (1 + z * z / total), (middle + width) / (1 + z * z / total))
    return f"{100 * max(0.0, low):.3f}-{100 * high:.3f} %"


def line(name: str, score: Score) -> str:
    reused = score.right + score.wrong
    return (
        f"| {name} | {score.rows} | {score.possible} | {score.right / max(1, score.possible):.3f} | {score.wrong} "
        f"| {100 * score.wrong / max(1, reused):.3f} % | {wilson(score.wrong, reused)} "
        f"| {100 * score.harmful / max(1, score.rows):.3f} % | {score.paraphrases_found}/{score.paraphrases} |"
    )


def streams(frame: pl.DataFrame, encoder: Remembering) -> None:
    names = frame["stream"].unique().sort().to_list()
    parts = {name: frame.filter(pl.col("stream") == name).sort("i").to_dicts() for name in names}
    shuffled = frame.sort("stream", "i").sample(fraction=1, shuffle=True, seed=1).to_dicts()
    for title, given, paraphrase in (
        ("template not given", False, False), ("template given", True, False), ("with the opt-in verifier", False, True),
    ):  # fmt: skip
        print(f"\n### {title}\n")
        print(
            "| stream | prompts | possible | hit rate | wrong | of reuses | 95 % | harmful, of prompts | paraphrases |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        total = Score()
        for name in names:
            score = run(parts[name], encoder, given=given, paraphrase=paraphrase)
            total.add(score)
            print(line(name, score), flush=True)
        print(line("**all**", total))
        if not given and not paraphrase:
            print(line("all in one shuffled file", run(shuffled, encoder)))
        print(f"\nreuses by kind: {dict(total.kinds)}\n\nmissed by kind: {dict(total.missed.most_common())}\n")
        print("\n".join(f"- {error}" for error in total.errors))


def pairs(frame: pl.DataFrame, encoder: Remembering) -> None:
    """Share of accepted pairs by set: the proof for an open, an extraction and a literal task, and the verifier."""
    print("\n### pairs\n\n| set | label | pairs | open | closed | extract | strict | open, with verifier |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, label), group in frame.group_by(["set", "label"], maintain_order=True):
        left, right = group["a"].to_list(), group["b"].to_list()
        shares = [accepted(left, right, task) for task in (OPEN, CLOSED, EXTRACT, STRICT)]
        verified = accepted(left, right, OPEN) | meant(left, right, encoder)
        cells = " | ".join(f"{flags.mean():.4f}" for flags in (*shares, verified))
        print(f"| {name} | {label} | {len(group)} | {cells} |", flush=True)


def accepted(left: list[str], right: list[str], task: str) -> NDArray[np.bool_]:
    return np.array([decide((a,), (b,), task).accept for a, b in zip(left, right, strict=True)])


def meant(left: list[str], right: list[str], encoder: Remembering) -> NDArray[np.bool_]:
    cosines = np.einsum("ij,ij->i", encoder.encode(left), encoder.encode(right))
    triples = zip(left, right, cosines, strict=True)
    return np.array([same_meaning(a, b, OPEN, "", float(cosine)) for a, b, cosine in triples])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/dedupe"))
    parser.add_argument("--no-pairs", action="store_true", help="only the streams")
    options = parser.parse_args()
    if not (options.data / "streams.parquet").is_file():
        sys.exit(f"{options.data}: no streams.parquet there; give the folder of the labelled data with --data")
    lexicon.load()
    encoder, begun = Remembering(), time.perf_counter()
    streams(pl.read_parquet(options.data / "streams.parquet"), encoder)
    if not options.no_pairs:
        pairs(pl.read_parquet(options.data / "pairs.parquet"), encoder)
    print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
