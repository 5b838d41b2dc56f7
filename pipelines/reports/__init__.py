"""The reports: one file, one report, found by its file's name. Lazy queries over results and ledger; nothing is opened.

A report is a module with `build(results, costs, by) -> pl.LazyFrame`, `BY` (what it groups by when nothing is asked),
`DIMENSIONS` (what it can group by) and `TOTALS` (columns that may be summed); its docstring's first line is its help.
Optional: `bars(rows)` for the HTML page's chart, `LINKS = True` to get the duplicate stage's link kinds and guards,
`WHOLE_RUNS = True` to get nothing of unfinished runs,
`sections(extra, pairs=…)` for what stands below the table, `TERMS = True` for a report that is made for one client and month:
its `build` takes `terms`, its `statement(terms, total_usd)` stands below. What reports share is in `shared/`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, cast

from pipelines.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from pipelines.beside import Room
    from pipelines.reports.shared.sections import Extra, Section
    from pipelines.reports.shared.terms import Terms

__all__ = [
    "Report", "bars", "billed", "grouping", "help_of", "load", "names", "sections", "totals", "wants_links", "wants_terms",
    "wants_whole_runs",
]  # fmt: skip


Rows = Sequence[Mapping[str, Any]]
Bar = tuple[str, str, float]
"""Label, value as text, length."""


class Report(Protocol):
    """What every report module offers."""

    BY: tuple[str, ...]
    DIMENSIONS: tuple[str, ...]
    TOTALS: tuple[str, ...]

    def build(self, results: pl.LazyFrame, costs: pl.LazyFrame, by: list[str]) -> pl.LazyFrame: ...


def names() -> list[str]:
    """Every report there is."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def load(name: str) -> Report:
    """The report of that name; UsageError names those that exist."""
    if name not in (known := names()):
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
        raise UsageError(f"no report named {name[:60]!r}; {hint}")
    return cast(Report, _module(name))


def help_of(name: str) -> str:
    """What a report shows, in one line."""
    return (_module(name).__doc__ or "").strip().split("\n")[0]


def bars(name: str, rows: Rows) -> list[Bar]:
    """The report's bar chart; empty for a report without one."""
    draw = getattr(_module(name), "bars", None)
    return draw(rows) if draw and rows else []


def totals(name: str, rows: Rows) -> dict[str, Any] | None:
    """Sums of the columns that may be summed; None where one row is its own total."""
    if len(rows) < 2:
        return None
    return {column: sum(row[column] or 0 for row in rows) for column in load(name).TOTALS if column in rows[0]}


def wants_links(name: str) -> bool:
    """Whether the report reads the duplicate stage's chunk parts beside the results."""
    return bool(getattr(_module(name), "LINKS", False))


def wants_terms(name: str) -> bool:
    """Whether the report is made for one client and month."""
    return bool(getattr(_module(name), "TERMS", False))


def billed(name: str, results: pl.LazyFrame, costs: pl.LazyFrame, terms: Terms) -> tuple[pl.DataFrame, list[Section]]:
    """Such a report, and what it says of itself; both frames hold that client and month alone."""
    module = _module(name)
    made = module.build(results, costs, [], terms).collect()
    return made, module.statement(terms, made["amount_usd"][-1])


def wants_whole_runs(name: str) -> bool:
    """Whether the report is wrong of a run whose rows are not all there yet."""
    return bool(getattr(_module(name), "WHOLE_RUNS", False))


def sections(name: str, extra: Extra, *, pairs: bool) -> list[Section]:
    """What the report shows below its table; `pairs` for pages."""
    draw = getattr(_module(name), "sections", None)
    return draw(extra, pairs=pairs) if draw else []


def told(
    name: str, costs: pl.LazyFrame, timezone: str = "UTC", rooms: Callable[[], Mapping[str, Room]] = dict
) -> list[Section]:
    """What the report reads from the ledger for below its table; `rooms` says what its targets had room for."""
    draw = getattr(_module(name), "told", None)
    return draw(costs, timezone, rooms()) if draw else []


def grouping(name: str, by: Sequence[str]) -> list[str]:
    """What to group by: what was asked, else the report's own; UsageError for what it cannot do."""
    report = load(name)
    for dimension in by:
        if dimension not in report.DIMENSIONS:
            raise UsageError(
                f"report {name} cannot go by {dimension[:60]!r}; --by takes {', '.join(report.DIMENSIONS)}"
            )
    return list(dict.fromkeys(by)) or list(report.BY)


def _module(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")
