"""One thing that does not hold of a run's files, and how many of a kind are named."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import polars as pl

MOST_PER_CHECK = 20


class Violation(msgspec.Struct, frozen=True):
    """One thing that does not hold; `row` is None when it is not about one row."""

    row: int | None
    what: str


def say(found: pl.LazyFrame, text: Callable[..., str]) -> Iterator[Violation]:
    """One violation per row of `found` (its first column is the row), the rest only counted."""
    rows = found.sort("row").collect(engine="streaming").rows()
    yield from (Violation(row[0], text(*row)) for row in rows[:MOST_PER_CHECK])
    if len(rows) > MOST_PER_CHECK:
        yield Violation(None, f"and {len(rows) - MOST_PER_CHECK} more like the last one")
