"""What a report may show below its table, and what it may look at for that beside results and ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.reports.shared.pairs import Pair

if TYPE_CHECKING:
    import polars as pl


class Section(NamedTuple):
    """A further table, or pairs of texts (pages only); `bars` (label, value as text, length) are drawn on pages."""

    title: str
    rows: Sequence[Mapping[str, Any]]
    pairs: Sequence[Pair] = ()
    bars: Sequence[tuple[str, str, float]] = ()


class Extra(NamedTuple):
    """The rows in question and chunk parts of their runs; audits of all runs, with the `day` on which each ended; texts by run and
    row; what each route of the configuration allows."""

    results: pl.LazyFrame
    chunks: pl.LazyFrame
    audits: pl.LazyFrame
    texts: Callable[[Sequence[tuple[str, int]]], Mapping[tuple[str, int], str]]
    allowed: Mapping[str, float]
    now: datetime
