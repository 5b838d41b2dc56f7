"""What was decided of a chunk's rows: its part's columns, its batches, its counters; sift.py decides."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from pipelines.dedup import Link, stored
from pipelines.follow import KINDS
from pipelines.types import BatchHead
from worker.dedupe.index import Screened


class Chunk(msgspec.Struct):
    """A chunk, sorted out: its part's columns, its batches, and what the indexes learn when it is committed."""

    columns: dict[str, list[Any]]
    batches: list[tuple[BatchHead, bytes]]
    counts: Counter[str]
    rules: Counter[int]
    screened: Screened | None = None
    ids: Any = None


def explain(chunk: Chunk, run_id: str, screened: Screened, at: dict[int, int]) -> None:
    """What reports show: the words of rows that follow by more than an exact key, and the nearest misses. And the key of who
    follows by proof."""
    columns = chunk.columns
    for row, link in zip(screened.rows, screened.links, strict=True):
        if link is not None and link.kind != "exact":
            columns["text"][at[row.row]] = stored(row)
        if link is not None and link.kind not in KINDS:
            columns["link_key"][at[row.row]] = row.key
    for veto in screened.vetoes:
        place = at[veto.row]
        columns["miss_row"][place], columns["miss_guard"][place] = veto.leader_row, veto.guard
        columns["miss_run"][place] = None if veto.leader_run == run_id else veto.leader_run
        columns["miss_cosine"][place] = veto.cosine


def invalid(chunk: Chunk, at: int, code: str, message: str) -> None:
    """A row that cannot be asked, and why."""
    columns = chunk.columns
    columns["kind"][at], columns["error_code"][at], columns["error_message"][at] = "invalid", code, message
    chunk.counts["invalid"] += 1


def follow(chunk: Chunk, at: int, link: Link) -> None:
    """A row that another row's answer serves."""
    columns = chunk.columns
    columns["kind"][at], columns["leader_row"][at], columns["leader_run"][at] = "link", link.leader_row, link.leader_run
    columns["link_kind"][at], columns["similarity"][at], columns["guard"][at] = link.kind, link.similarity, link.guard
    chunk.counts["duplicate"] += 1
