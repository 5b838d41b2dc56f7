"""A client's duplicate index: exact keys, canonical keys, then neighbours are proposed and the difference decides.

`screen` only reads; `commit` takes what a screened chunk staged. Everything is rebuilt from committed chunk parts by
`restore`. One writer at a time. Of a dropped chunk only its templates stay: they say which words are an instruction's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines import dedup
from pipelines.dedup import Candidate, Link, Said, Veto
from pipelines.proof import lexicon
from pipelines.proof.apart import fields_apart
from pipelines.proof.templates import Templates
from worker.dedupe.chunk import KEYS, NO_STORIES, Chunk
from worker.dedupe.keytable import ABSENT, firsts, words
from worker.dedupe.screening import by_canonical, by_outline, by_vector, unchain, windows
from worker.dedupe.shelf import Batch, Place, Shelf
from worker.dedupe.vectors import DIMENSIONS

_MARK_BYTES = 4
_BLOB = np.dtype([("maker", f"V{_MARK_BYTES}"), ("skeleton", "<u8", 2), ("outlines", "<u8", KEYS)])
"""What is stored of a text: who made it, its skeleton, outline and story keys; the half floats of its vector follow, if it has one."""

_MAKER = "outlines 4"
_VECTOR_BYTES = 2 * DIMENSIONS


class Encodes(Protocol):
    """What the index needs of an encoder."""

    @property
    def name(self) -> str: ...
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]: ...


class Staged(msgspec.Struct, gc=False):
    """The representatives that a chunk would add: `plain` ones have only an exact key."""

    plain: list[Candidate]
    rows: list[Candidate]
    canonical: list[bytes]
    skeletons: list[bytes]
    outlines: list[bytes]
    vectors: list[NDArray[np.float16] | None]
    touched: list[int]  # entries that were of use


class Screened(msgspec.Struct, gc=False):
    """What is known of every row of a chunk, in its order."""

    links: list[Link | None]
    vetoes: list[Veto]
    staged: Staged
    rows: Sequence[Candidate]


class DuplicateIndex:
    """Held by the one writer of a client's index; `limit` bounds its entries, the least recently useful leave first."""

    def __init__(self, mode: str, encoder: Encodes | None = None, limit: int = 0) -> None:
        if mode == "semantic" and encoder is None:
            raise ValueError("a semantic index needs an encoder")
        self._encoder = encoder if mode == "semantic" else None
        self._limit = limit
        made_by = f"{self._encoder.name} {_MAKER}" if self._encoder else ""
        self._mark = blake2b(made_by.encode(), digest_size=_MARK_BYTES).digest()
        self._shelf = Shelf()
        self._templates = Templates()
        if self._encoder is not None:
            lexicon.load()

    def __len__(self) -> int:
        return len(self._shelf)

    def screen(self, rows: Sequence[Candidate]) -> Screened:
        """Links for the duplicates of committed prompts and of earlier rows of this chunk; changes nothing."""
        links: list[Link | None] = [None] * len(rows)
        staged = Staged([], [], [], [], [], [], [])
        if not rows:
            return Screened(links, [], staged, rows)
        keys = words([row.key for row in rows])
        found, first = self._shelf.exact.find(keys), firsts(keys)
        for at in np.flatnonzero(found != ABSENT).tolist():
            links[at] = _link(rows[at], self._shelf.place(int(found[at])), "exact", "exact key")
        fresh = np.flatnonzero((found == ABSENT) & (first == np.arange(len(rows)))).tolist()
        vetoes: list[Veto] = []
        readable = [at for at in fresh if rows[at].text] if self._encoder is not None else []
        if readable:
            staged, vetoes = self._screen_semantic(rows, links, readable)
        staged.plain = [rows[at] for at in fresh if not rows[at].text or self._encoder is None]
        staged.touched += found[found != ABSENT].tolist()
        for at in np.flatnonzero((found == ABSENT) & (first != np.arange(len(rows)))).tolist():
            links[at] = _copy(rows[at], rows[int(first[at])], links[int(first[at])])
        return Screened(links, vetoes, staged, rows)

    def _screen_semantic(
        self, rows: Sequence[Candidate], links: list[Link | None], fresh: list[int]
    ) -> tuple[Staged, list[Veto]]:
        """Canonical keys, skeletons, vectors; fills in the links and returns what represents itself."""
        said = [dedup.said(rows[at]) for at in fresh]
        self._templates.learn(one.text for one in said)
        tasks = [rows[at].task or self._infer(rows[at], one) for at, one in zip(fresh, said, strict=True)]
        chunk = Chunk([rows[at] for at in fresh], said, tasks, self._infer, self._split, self._plainly)
        canonical = chunk.canonical_keys()

        def embed(at: Sequence[int]) -> NDArray[np.float32]:
            return self._embed([said[n] for n in at])

        by_canonical(chunk, self._shelf, words(canonical))
        by_outline(chunk, self._shelf)
        by_vector(chunk, self._shelf, embed)
        unchain(chunk, embed)
        for at, link in zip(fresh, chunk.links, strict=True):
            links[at] = link
        kept = [n for n, link in enumerate(chunk.links) if link is None]
        staged = Staged(
            plain=[],
            rows=[chunk.rows[n] for n in kept],
            canonical=[canonical[n] for n in kept],
            skeletons=[chunk.skeletons[n] for n in kept],
            outlines=[chunk.outlines[n] for n in kept],
            vectors=[chunk.vectors[n].astype(np.float16) if n in chunk.vectors else None for n in kept],
            touched=[leader.entry for leader in chunk.leaders if leader.entry is not None],
        )
        return staged, chunk.vetoes()

    @property
    def needs(self) -> list[str]:
        """The columns of a chunk part that `restore` reads."""
        return ["row", "key"] if self._encoder is None else ["row", "key", "canonical", "family", "vector", "text"]

    @property
    def full(self) -> bool:
        """Whether more would only push out what is here."""
        return bool(self._limit) and len(self) >= self._limit

    def commit(self, screened: Screened, run_id: str | None = None) -> None:
        """Take the representatives of a chunk whose commit won."""
        staged = screened.staged
        self._shelf.touch(staged.touched)
        if staged.plain:
            self._shelf.take(Batch(_rows(staged.plain), words([row.key for row in staged.plain])), run_id)
        if staged.rows:
            self._shelf.take(_batch(staged), run_id)
        self._shelf.trim(self._limit)

    def to_columns(self, screened: Screened) -> dict[str, pa.Array]:
        """What `restore` needs, aligned with the chunk's rows; null where a row represents nothing."""
        staged = screened.staged
        place = {id(row): at for at, row in enumerate([*staged.rows, *staged.plain])}
        at = [place.get(id(row)) for row in screened.rows]
        stored = zip(staged.skeletons, staged.outlines, staged.vectors, strict=True)
        blobs = [self._mark + b"".join(keys) + (b"" if v is None else v.tobytes()) for *keys, v in stored]
        texts = [dedup.stored(row) for row in staged.rows]

        def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
            return pa.array([values[n] if n is not None and n < len(values) else None for n in at], kind)

        return {
            "row": pa.array([row.row for row in screened.rows], pa.int64()),
            "key": column([row.key for row in [*staged.rows, *staged.plain]], pa.binary(16)),
            "canonical": column(staged.canonical, pa.binary(16)),
            "family": column([row.family for row in staged.rows], pa.binary(8)),
            "vector": column(blobs, pa.binary()),
            "text": column(texts, pa.string()),
        }

    def restore_all(self, parts: Iterable[tuple[str, pa.Table]]) -> None:
        """`restore` what comes newest first, no more of it than the limit; what was here and longest of no use leaves for it."""
        taken = 0
        for run_id, table in parts:
            before = len(self._shelf)
            self.restore(table, run_id)
            taken += len(self._shelf) - before
            if self._limit and taken >= self._limit:
                break
            self._shelf.trim(self._limit)
        self._shelf.newest_first(taken)
        self._shelf.trim(self._limit)

    def restore(self, table: pa.Table, run_id: str | None = None) -> None:
        """Take the representatives of one committed part, of this run (None) or of an earlier one."""
        table = table.filter(table["key"].is_valid())
        keys = words(table["key"].to_pylist())
        new = (self._shelf.exact.find(keys) == ABSENT) & (firsts(keys) == np.arange(len(keys)))
        if self._encoder is None:
            self._take_table(table.filter(pa.array(new)), run_id, False)
            return
        semantic = np.asarray(table["text"].is_valid()) & np.asarray(table["canonical"].is_valid())
        self._take_table(table.filter(pa.array(new & ~semantic)), run_id, False)
        self._take_table(table.filter(pa.array(new & semantic)), run_id, True)

    def _take_table(self, table: pa.Table, run_id: str | None, semantic: bool) -> None:
        if not table.num_rows:
            return
        rows = table["row"].to_numpy().astype(np.int64)
        keys = words(table["key"].to_pylist())
        if not semantic or self._encoder is None:
            self._shelf.take(Batch(rows, keys), run_id)
            return
        texts: list[str] = table["text"].to_pylist()
        said = [dedup.read(text) for text in texts]
        self._templates.learn(one.text for one in said)
        families = np.frombuffer(b"".join(table["family"].to_pylist()), "<u8")
        canonical = words(table["canonical"].to_pylist())
        keys_of, embedded, vectors = self._stored(table, said)
        batch = Batch(
            rows, keys, canonical, keys_of["skeleton"], families, texts, keys_of["outlines"], embedded, vectors
        )
        self._shelf.take(batch, run_id)

    def _stored(
        self, table: pa.Table, said: Sequence[Said]
    ) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.float16]]:
        """Keys, and which rows have vectors, and these, as stored; or made again when another encoder made them."""
        blobs: list[bytes] = [blob or b"" for blob in table["vector"].to_pylist()]
        embedded = np.fromiter((len(blob) >= _VECTOR_BYTES for blob in blobs), bool, len(blobs))
        sizes = {_BLOB.itemsize, _BLOB.itemsize + _VECTOR_BYTES}
        if all(len(blob) in sizes and blob[:_MARK_BYTES] == self._mark for blob in blobs):
            known = np.frombuffer(b"".join(blob[: _BLOB.itemsize] for blob in blobs), _BLOB)
            halves = np.frombuffer(b"".join(blob[_BLOB.itemsize :] for blob in blobs), np.float16)
            return known, embedded, halves.reshape(-1, DIMENSIONS)
        made = [  # without stories: what the task was is not stored
            self._mark + dedup.skeleton_key(family, one.text) + dedup.outline_keys(family, one.text) + NO_STORIES
            for family, one in zip(table["family"].to_pylist(), map(self._plainly, said), strict=True)
        ]
        vectors = self._embed([said[at] for at in np.flatnonzero(embedded).tolist()]).astype(np.float16)
        return np.frombuffer(b"".join(made), _BLOB), embedded, vectors

    def forget(self, runs: frozenset[str]) -> None:
        """Earlier runs whose answers may no longer be reused."""
        self._shelf.drop(runs=runs)

    def _embed(self, said: Sequence[Said]) -> NDArray[np.float32]:
        """Unit vectors of what varies; a field beyond the model's window is the mean of windows spread over it."""
        assert self._encoder is not None
        views: list[str] = []
        owner: list[int] = []
        for at, one in enumerate(said):
            cut = windows(self._split(one)[1])
            views += cut
            owner += [at] * len(cut)
        sums = np.zeros((len(said), DIMENSIONS), np.float32)
        if views:
            np.add.at(sums, owner, self._encoder.encode(views))
        unit: NDArray[np.float32] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
        return unit

    def _split(self, said: Said) -> tuple[str, str]:
        """What is constant in a prompt, and what varies."""
        if said.fields is not None:
            return said.rest, "\n".join(said.fields)
        parts = self._templates.split(said.text)
        return parts.constant, parts.field

    def _plainly(self, said: Said) -> Said:
        """Where the template stands on the lines of what varies, with that on lines of its own if it reads otherwise so."""
        if said.fields is None:
            return Said(self._templates.apart(said.text), None, "")
        return msgspec.structs.replace(said, text=fields_apart(said.text, said.rest.split(dedup.FIELD), said.fields))

    def _infer(self, row: Candidate, said: Said) -> str:
        """The kind of a task that nobody named."""
        return dedup.task_of(row, said.text, *self._split(said))


def _rows(candidates: Sequence[Candidate]) -> NDArray[np.int64]:
    return np.fromiter((row.row for row in candidates), np.int64, len(candidates))


def _batch(staged: Staged) -> Batch:
    keys = words([row.key for row in staged.rows])
    families = np.frombuffer(b"".join(row.family for row in staged.rows), "<u8")
    texts = [dedup.stored(row) for row in staged.rows]
    canonical, skeletons = words(staged.canonical), words(staged.skeletons)
    outlines = np.frombuffer(b"".join(staged.outlines), "<u8").reshape(-1, KEYS)
    embedded = np.fromiter((vector is not None for vector in staged.vectors), bool, len(staged.vectors))
    vectors = np.array([v for v in staged.vectors if v is not None], np.float16).reshape(-1, DIMENSIONS)
    return Batch(_rows(staged.rows), keys, canonical, skeletons, families, texts, outlines, embedded, vectors)


def _link(row: Candidate, place: Place, kind: str, reason: str) -> Link:
    return Link(row.row, place.row, place.run, kind, 1.0, reason)


def _copy(row: Candidate, first: Candidate, link: Link | None) -> Link:
    """The link of a row whose exact copy stands earlier in its chunk."""
    if link is None:
        return _link(row, Place(first.row, None), "exact", "exact key")
    return msgspec.structs.replace(link, row=row.row)
