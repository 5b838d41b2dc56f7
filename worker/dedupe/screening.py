"""How the rows of a chunk that no key decides find their leaders: first come first served, representatives only, no chains."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.dedup import OUTLINES, likeness
from worker.dedupe.chunk import KEYS, Chunk, Leader
from worker.dedupe.keytable import ABSENT, firsts, words
from worker.dedupe.shelf import SAME_OUTLINE, Place, Shelf
from worker.dedupe.vectors import nearest_earlier

PROPOSED_COSINE = 0.60
PARAPHRASED, RETOLD = "paraphrase", "retelling"
_NEIGHBOURS = 8
_FORM_TEXTS = 8
"""Rare words that more texts than these have in pairs are a form's, and no story's."""
_WINDOW_LETTERS, _MAX_WINDOWS = 900, 4

Embed = Callable[[Sequence[int]], NDArray[np.float32]]


def by_canonical(chunk: Chunk, shelf: Shelf, keys: NDArray[np.uint64]) -> None:
    """Rows whose canonical key is committed, or stands earlier in the chunk."""
    found, first = shelf.canonical.find(keys), firsts(keys)
    for at, entry in enumerate(found.tolist()):
        if entry != ABSENT:
            leader = Leader(shelf.place(entry), chunk.said[at], entry, -1)
        elif first[at] != at:
            leader = chunk.leaders[int(first[at])]
        else:
            continue
        chunk.follow(at, leader, "canonical", 1.0, "canonical form")


def by_outline(chunk: Chunk, shelf: Shelf) -> None:
    """All variants share a skeleton or an outline with their leader: up to four who have it are proposed without a vector.

    What is refused is kept as a near miss; a row with an outline that more than four have is left to the vectors.
    """
    open_ = [at for at, link in enumerate(chunk.links) if link is None]
    if not open_:
        return
    chunk.measure(open_)
    committed = shelf.with_skeleton(words([chunk.skeletons[at] for at in open_]))
    outlines = np.frombuffer(b"".join(chunk.outlines[at] for at in open_), "<u8").reshape(-1, KEYS)
    alike, counts = shelf.with_outlines(outlines)
    by_skeleton: dict[bytes, list[int]] = defaultdict(list)
    by_form: dict[int, list[int]] = defaultdict(list)
    held = counts[:, OUTLINES:] + _held(outlines[:, OUTLINES:])
    for n, at in enumerate(open_):
        forms = outlines[n].tolist()
        peers = [peer for form in forms if form for peer in by_form[form][:SAME_OUTLINE]]
        entries = [entry for entry in (*committed[n].tolist(), *alike[n].tolist()) if entry >= 0]
        known = [leader for entry in dict.fromkeys(entries) if (leader := _committed(shelf, entry))]
        near = dict.fromkeys([*by_skeleton[chunk.skeletons[at]], *peers])
        proposed = [*known, *(chunk.leaders[peer] for peer in near)]
        found = chunk.prove(at, proposed)
        if found is not None:
            chunk.follow(at, found[0], "edit", likeness(found[0].said, chunk.said[at]), found[1])
            continue
        told = None if held[n].max() > _FORM_TEXTS else chunk.retell(at, proposed)
        if told is not None:
            chunk.follow(at, told, "semantic", likeness(told.said, chunk.said[at]), RETOLD)
            continue
        chunk.refused[at] = proposed
        crowd = (
            count + len(by_form[form])
            for count, form in zip(counts[n].tolist(), forms[: OUTLINES - 1], strict=False)
            if form
        )
        if any(have >= SAME_OUTLINE for have in crowd):
            chunk.crowded.add(at)
        by_skeleton[chunk.skeletons[at]].append(at)
        for form in set(forms):
            by_form[form].append(at)


def _held(stories: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many rows have each of these keys; none has key 0."""
    rows = Counter(stories[stories != 0].tolist())
    return np.array([rows[key] for key in stories.ravel().tolist()], np.int64).reshape(stories.shape)


def by_vector(chunk: Chunk, shelf: Shelf, embed: Embed) -> None:
    """What has something near it is embedded; FAISS and the chunk itself propose neighbours, the difference decides."""
    left = [at for at, link in enumerate(chunk.links) if link is None and chunk.wants_vector(at)]
    if not left:
        return
    vectors = embed(left)
    chunk.vectors = dict(zip(left, vectors, strict=True))
    families = np.frombuffer(b"".join(chunk.rows[at].family for at in left), "<u8")
    committed = shelf.near(vectors, families, _NEIGHBOURS)
    earlier = nearest_earlier(vectors, families, _NEIGHBOURS, PROPOSED_COSINE)
    for n, at in enumerate(left):
        near = [(cosine, chunk.leaders[left[peer]]) for peer, cosine in earlier[n]]
        for entry, cosine in committed[n]:
            if cosine >= PROPOSED_COSINE and (leader := _committed(shelf, entry)):
                near.append((cosine, leader))
        near.sort(key=lambda pair: -pair[0])
        _settle(chunk, at, near)


def _settle(chunk: Chunk, at: int, near: Sequence[tuple[float, Leader]]) -> None:
    refused = {leader.place for leader in chunk.refused[at]}
    tried: set[Place] = set()
    for cosine, leader in near:
        if leader.place in tried:
            continue
        tried.add(leader.place)
        found = None if leader.place in refused else chunk.prove(at, [leader])
        if found is not None:
            chunk.follow(at, leader, "edit", cosine, found[1])
            return
        if chunk.means_the_same(at, leader, cosine):
            chunk.follow(at, leader, "semantic", cosine, PARAPHRASED)
            return
        if len(tried) == _NEIGHBOURS:
            break
    if near:
        chunk.nearest[at] = near[0]


def unchain(chunk: Chunk, embed: Embed) -> None:
    """A row whose leader found a leader of its own must be a duplicate of that one too, or stand for itself."""
    for at, link in enumerate(chunk.links):
        leader = chunk.leaders[at]
        if link is None or leader.entry is not None or leader.at == at:
            continue
        last = chunk.leaders[leader.at]
        if last is leader:
            continue
        found = chunk.prove(at, [last])
        kind = "edit" if found else "semantic"
        if found is None and chunk.means_the_same(at, last, link.similarity):
            found = last, PARAPHRASED
        if found is None and chunk.retell(at, [last]):
            found = last, RETOLD
        if found is not None:
            chunk.follow(at, last, kind, likeness(last.said, chunk.said[at]), found[1])
        else:
            chunk.links[at] = None
            chunk.measure([at])
            if chunk.wants_vector(at):
                chunk.vectors[at] = embed([at])[0]
            chunk.leaders[at] = Leader(Place(chunk.rows[at].row, None), chunk.said[at], None, at)


def _committed(shelf: Shelf, entry: int) -> Leader | None:
    said = shelf.said(entry)
    return None if said is None else Leader(shelf.place(entry), said, entry, -1)


def windows(text: str) -> list[str]:
    """A text cut into what the encoder can read; a very long one is sampled evenly, its end included."""
    if len(text) <= _WINDOW_LETTERS:
        return [text]
    count = min(_MAX_WINDOWS, -(-len(text) // _WINDOW_LETTERS))
    step = (len(text) - _WINDOW_LETTERS) / (count - 1)
    return [text[int(step * at) : int(step * at) + _WINDOW_LETTERS] for at in range(count)]
