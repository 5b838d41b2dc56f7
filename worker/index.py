"""A client's duplicate index: exact keys, canonical keys, then FAISS proposes and the difference decides.

`screen` only reads; `commit` takes what a screened chunk staged. Everything is rebuilt from committed chunk parts by `restore`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines import dedup, lexicon
from pipelines.dedup import Candidate, Link, Veto
from pipelines.templates import Templates
from worker.keytable import ABSENT, KeyTable, firsts, words
from worker.screening import PROPOSED_COSINE, Chunk, Leader, Proposal, follow_canonical, follow_exact, settle, windows
from worker.vectors import DIMENSIONS, Scratch, Vectors, nearest_earlier

_NEIGHBOURS = 8
_ROW_BITS = 44
ENCODER_HEADER = b"spillway.encoder"


class Encodes(Protocol):
    """What the index needs of an encoder."""

    @property
    def name(self) -> str: ...
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class Staged(msgspec.Struct, gc=False):
    """The representatives that a chunk would add."""

    rows: list[Candidate]
    canonical: list[bytes]  # empty in exact mode
    vectors: NDArray[np.float16]


class Screened(msgspec.Struct, gc=False):
    """What is known of every row of a chunk, in its order."""

    links: list[Link | None]
    vetoes: list[Veto]
    staged: Staged
    rows: Sequence[Candidate]


class _Growing:
    """A numpy column that grows by doubling."""

    def __init__(self, dtype: Any) -> None:
        self._data = np.zeros(1024, dtype=dtype)
        self.size = 0

    def extend(self, values: NDArray[Any]) -> None:
        while self.size + len(values) > len(self._data):
            self._data = np.concatenate([self._data, np.zeros_like(self._data)])
        self._data[self.size : self.size + len(values)] = values
        self.size += len(values)

    def __getitem__(self, at: int) -> int:
        return int(self._data[at])


class DuplicateIndex:
    """Held by the one writer of a client's index; not safe for two threads at once."""

    def __init__(self, mode: str, encoder: Encodes | None = None) -> None:
        if mode == "semantic" and encoder is None:
            raise ValueError("a semantic index needs an encoder")
        self._encoder = encoder if mode == "semantic" else None
        if self._encoder is not None:
            lexicon.load()
        self._runs: list[str | None] = [None]
        self._exact = KeyTable()
        self._canonical = KeyTable()
        self._templates = Templates()
        self._vectors = Vectors()
        self._texts = Scratch()
        self._where, self._family = _Growing(np.int64), _Growing(np.uint64)
        self._start, self._size = _Growing(np.int64), _Growing(np.int32)

    def __len__(self) -> int:
        return len(self._exact)

    @property
    def header(self) -> dict[bytes, bytes]:
        """To be kept in the metadata of every part that holds vectors."""
        return {ENCODER_HEADER: self._encoder.name.encode()} if self._encoder is not None else {}

    def screen(self, rows: Sequence[Candidate]) -> Screened:
        """Links for the duplicates of committed prompts and of earlier rows of this chunk; changes nothing."""
        links: list[Link | None] = [None] * len(rows)
        empty = Staged([], [], np.zeros((0, DIMENSIONS), np.float16))
        if not rows:
            return Screened(links, [], empty, rows)
        keys = words([row.key for row in rows])
        found, first = self._exact.find(keys), firsts(keys)
        for at in np.flatnonzero(found != ABSENT).tolist():
            links[at] = self._link(rows[at], int(found[at]), "exact", 1.0, "exact key")
        fresh = np.flatnonzero((found == ABSENT) & (first == np.arange(len(rows)))).tolist()
        vetoes: list[Veto] = []
        staged = Staged([rows[at] for at in fresh], [], empty.vectors)
        if self._encoder is not None:
            staged, vetoes = self._screen_semantic(rows, links, fresh)
        for at in np.flatnonzero((found == ABSENT) & (first != np.arange(len(rows)))).tolist():
            links[at] = follow_exact(rows[at], rows[int(first[at])], links[int(first[at])])
        return Screened(links, vetoes, staged, rows)

    def _screen_semantic(
        self, rows: Sequence[Candidate], links: list[Link | None], fresh: list[int]
    ) -> tuple[Staged, list[Veto]]:
        """Canonical keys, then neighbours; fills in links and returns what represents itself."""
        said = {at: dedup.said(rows[at]) for at in fresh}
        self._templates.learn(said[at].text for at in fresh)
        tasks = {at: rows[at].task or dedup.infer_task(self._instruction(said[at])) for at in fresh}
        canonical = [dedup.canonical_key(rows[at].family, said[at].text, tasks[at]) for at in fresh]
        keys = words(canonical)
        found, first = self._canonical.find(keys), firsts(keys)
        novel: list[int] = []
        for i, at in enumerate(fresh):
            if found[i] != ABSENT:
                links[at] = self._link(rows[at], int(found[i]), "canonical", 1.0, "canonical form")
            elif first[i] == i:
                novel.append(i)
        chunk = Chunk(
            [rows[fresh[i]] for i in novel],
            [said[fresh[i]] for i in novel],
            [tasks[fresh[i]] for i in novel],
            self.embed([self.varying(said[fresh[i]]) for i in novel]),
        )
        proposals = self._propose(chunk)
        decided, vetoes = settle(chunk, proposals)
        for i, link in zip(novel, decided, strict=True):
            links[fresh[i]] = link
        place = {i: n for n, i in enumerate(novel)}
        for i, at in enumerate(fresh):
            if found[i] == ABSENT and first[i] != i:
                leader = int(first[i])
                links[at] = follow_canonical(rows[at], rows[fresh[leader]], links[fresh[leader]])
        kept = [i for i in novel if links[fresh[i]] is None]
        vectors = chunk.vectors[[place[i] for i in kept]].astype(np.float16)
        return Staged([rows[fresh[i]] for i in kept], [canonical[i] for i in kept], vectors), vetoes

    def _instruction(self, said: dedup.Said) -> str:
        """The words that name the task: the template's when it is known, else the whole prompt's."""
        if said.fields is not None:
            return said.rest
        return self._templates.split(said.text).constant or said.text

    def _propose(self, chunk: Chunk) -> list[list[Proposal]]:
        """For every row its nearest committed representatives of the same family and the nearest earlier rows."""
        families = np.frombuffer(b"".join(row.family for row in chunk.rows), "<u8")
        ids, scores = self._vectors.propose(chunk.vectors, families, _NEIGHBOURS)
        earlier = nearest_earlier(chunk.vectors, families, _NEIGHBOURS, PROPOSED_COSINE)
        out: list[list[Proposal]] = []
        for at, near in enumerate(earlier):
            proposals = [Proposal(score, peer, None) for peer, score in near]
            for entry, score in zip(ids[at].tolist(), scores[at].tolist(), strict=True):
                if entry >= 0 and score >= PROPOSED_COSINE and self._family[entry] == families[at]:
                    leader_row, run = self._address(self._where[entry])
                    proposals.append(Proposal(score, -1, Leader(leader_row, run, self._text_of(entry))))
            out.append(sorted(proposals, key=lambda proposal: -proposal.cosine))
        return out

    def commit(self, screened: Screened) -> None:
        """Take the representatives of a chunk whose commit won."""
        staged = screened.staged
        if not staged.rows:
            return
        where = np.fromiter((row.row for row in staged.rows), np.int64, len(staged.rows))
        self._exact.add(words([row.key for row in staged.rows]), where)
        if staged.canonical:
            self._take(
                where,
                staged.canonical,
                [row.family for row in staged.rows],
                staged.vectors,
                map(dedup.stored, staged.rows),
            )

    def to_columns(self, screened: Screened) -> dict[str, pa.Array]:
        """What `restore` needs, aligned with the chunk's rows; null where a row represents nothing."""
        staged = screened.staged
        place = {id(row): at for at, row in enumerate(staged.rows)}
        at = [place.get(id(row)) for row in screened.rows]
        semantic = bool(staged.canonical)
        blobs = [vector.tobytes() for vector in staged.vectors] if semantic else []
        texts = [dedup.stored(row) for row in staged.rows] if semantic else []

        def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
            return pa.array([values[i] if i is not None and values else None for i in at], kind)

        return {
            "row": pa.array([row.row for row in screened.rows], pa.int64()),
            "key": column([row.key for row in staged.rows], pa.binary(16)),
            "canonical": column(staged.canonical, pa.binary(16)),
            "family": column([row.family for row in staged.rows], pa.binary(8)),
            "vector": column(blobs, pa.binary()),
            "text": column(texts, pa.string()),
        }

    def restore(self, table: pa.Table, run_id: str | None = None) -> None:
        """Take the representatives of one committed part, of this run (None) or of an earlier one."""
        table = table.filter(table["key"].is_valid())
        if not table.num_rows:
            return
        if run_id not in self._runs:
            self._runs.append(run_id)
        where = table["row"].to_numpy().astype(np.int64) | (self._runs.index(run_id) << _ROW_BITS)
        keys = words(table["key"].to_pylist())
        new = (self._exact.find(keys) == ABSENT) & (firsts(keys) == np.arange(len(keys)))
        self._exact.add(keys[new], where[new])
        if self._encoder is None:
            return
        usable = new & np.asarray(table["text"].is_valid()) & np.asarray(table["canonical"].is_valid())
        self._restore_semantic(table.filter(pa.array(usable)), where[usable])

    def _restore_semantic(self, table: pa.Table, where: NDArray[np.int64]) -> None:
        texts: list[str] = table["text"].to_pylist()
        if not texts or self._encoder is None:
            return
        self._templates.learn(dedup.read(text).text for text in texts)
        same_encoder = (table.schema.metadata or {}).get(ENCODER_HEADER) == self._encoder.name.encode()
        if same_encoder and table["vector"].null_count == 0:
            vectors = np.frombuffer(b"".join(table["vector"].to_pylist()), np.float16).reshape(-1, DIMENSIONS)
        else:
            vectors = self.embed([self.varying(dedup.read(text)) for text in texts]).astype(np.float16)
        self._take(where, table["canonical"].to_pylist(), table["family"].to_pylist(), vectors, iter(texts))

    def _take(
        self,
        where: NDArray[np.int64],
        canonical: list[bytes],
        family: list[bytes],
        vectors: NDArray[np.float16],
        texts: Iterator[str],
    ) -> None:
        keys = words(canonical)
        new = (self._canonical.find(keys) == ABSENT) & (firsts(keys) == np.arange(len(keys)))
        self._canonical.add(keys[new], where[new])
        families = np.frombuffer(b"".join(family), "<u8")
        blobs = [text.encode("utf-8", "surrogatepass") for text in texts]
        sizes = np.fromiter((len(blob) for blob in blobs), np.int32, len(blobs))
        begin = self._texts.append(b"".join(blobs))
        self._start.extend(begin + np.cumsum(sizes, dtype=np.int64) - sizes)
        self._size.extend(sizes)
        self._where.extend(where)
        self._family.extend(families)
        self._vectors.add(vectors, families)

    def embed(self, fields: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors; a field beyond the model's window is the mean of windows spread over it."""
        assert self._encoder is not None
        views, owner = [], []
        for at, field in enumerate(fields):
            for view in windows(field):
                views.append(view)
                owner.append(at)
        sums = np.zeros((len(fields), DIMENSIONS), np.float32)
        np.add.at(sums, owner, self._encoder.encode(views))
        unit: NDArray[np.float32] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        return unit

    def varying(self, said: dedup.Said) -> str:
        """The part of a prompt that is worth embedding."""
        return "\n".join(said.fields) if said.fields is not None else self._templates.split(said.text).field

    def _text_of(self, entry: int) -> dedup.Said:
        return dedup.read(self._texts.read(self._start[entry], self._size[entry]).decode("utf-8", "surrogatepass"))

    def _link(self, row: Candidate, where: int, kind: str, similarity: float, guard: str) -> Link:
        leader_row, run = self._address(where)
        return Link(row.row, leader_row, run, kind, similarity, guard)

    def _address(self, where: int) -> tuple[int, str | None]:
        return where & ((1 << _ROW_BITS) - 1), self._runs[where >> _ROW_BITS]
