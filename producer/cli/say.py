"""How commands speak: notes on standard error, tables and JSON on standard output. No figure is computed here."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TextIO

from pipelines.printable import json_safe, printable

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 240
"""Columns of a table that nobody looks at on a terminal: nothing is cut off."""


def console(stream: TextIO | None = None) -> Console:
    from rich.console import Console

    stream = stream or sys.stdout
    return Console(file=stream, width=None if stream.isatty() else WIDE, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """A line for people, beside the output."""
    print(printable(text), file=sys.stderr, flush=True)


def as_json(value: Any) -> None:
    print(to_json(value), flush=True)


def to_json(value: Any) -> str:
    """Money and times as text: nothing is rounded on the way."""
    return json_safe(json.dumps(value, default=plain, ensure_ascii=False))


def plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], totals: Mapping[str, Any] | None = None) -> None:
    """Rows under headings, numbers to the right; a single wide row stands upright."""
    from rich import box
    from rich.table import Table

    from pipelines.reports.shared.format import cell, heading, is_number

    if len(rows) == 1 and len(columns) > 5:
        upright(rows[0], columns)
        return
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=bool(totals))
    for name in columns:
        right = any(is_number(row.get(name)) for row in rows)
        foot = cell(name, totals[name]) if totals and totals.get(name) is not None else ""
        shown.add_column(heading(name), foot, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*(_escaped(cell(name, row.get(name))) for name in columns))
    console().print(shown)


def rows(found: Sequence[Mapping[str, Any]], *, as_json: bool) -> int:
    """Rows for people or for programs; the exit code of a command that has nothing else to say."""
    if as_json:
        print(to_json(found), flush=True)
    elif found:
        table(found, list(dict.fromkeys(name for row in found for name in row)))
    return 0


def upright(row: Mapping[str, Any], columns: Sequence[str]) -> None:
    from rich import box
    from rich.table import Table

    from pipelines.reports.shared.format import cell, heading

    shown = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    shown.add_column(no_wrap=True)
    shown.add_column(justify="right", no_wrap=True)
    for name in columns:
        shown.add_row(heading(name), _escaped(cell(name, row.get(name))))
    console().print(shown)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(printable(text))
