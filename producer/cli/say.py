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
    from rich.console import Console, JustifyMethod
    from rich.table import Table

    from producer.cli.columns import Column, Part

WIDE = 240
"""Columns of a table that nobody looks at on a terminal."""
BESIDE = 5
"""Blanks of an upright row: its edges and what is between name and value."""


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
    """Rows under headings, numbers to the right; a single wide row stands upright, and what is too wide goes on below."""
    from producer.cli.columns import share

    if len(rows) == 1 and len(columns) > 5:
        upright(rows[0], columns)
        return
    made = [_column(name, rows, totals or {}) for name in columns]
    screen = console()
    for part in share(made, screen.width):
        screen.width = max(screen.width, part.total)  # the terminal breaks such a line: nothing is lost
        screen.print(_side_by_side(made, part, bool(totals)))


def _column(name: str, rows: Sequence[Mapping[str, Any]], totals: Mapping[str, Any]) -> Column:
    from pipelines.reports.shared.format import cell, heading, is_number
    from producer.cli.columns import Column

    values, total = [row.get(name) for row in rows], totals.get(name)
    foot = "" if total is None else cell(name, total)
    cells = [*(printable(cell(name, value)) for value in values), foot]
    says = any(value not in (None, "") for value in [*values, total])
    return Column(printable(heading(name)), cells, any(is_number(value) for value in values), says)


def _side_by_side(columns: Sequence[Column], part: Part, footed: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    padding = (0, int(part.gap > 1), 0, int(part.gap > 2))  # and a blank of the box
    shown = Table(box=box.SIMPLE_HEAD, padding=padding, pad_edge=False, show_footer=footed)
    chosen = [columns[place] for place in part.places]
    for each, width in zip(chosen, part.widths, strict=True):
        side: JustifyMethod = "right" if each.number else "left"
        shown.add_column(Text(each.heading), Text(each.cells[-1]), justify=side, width=width, overflow="fold")
    for row in zip(*(each.cells[:-1] for each in chosen), strict=True):
        shown.add_row(*(Text(cell) for cell in row))
    return shown


def rows(found: Sequence[Mapping[str, Any]], *, as_json: bool) -> int:
    """Rows for people or for programs; the exit code of a command that has nothing else to say."""
    if as_json:
        print(to_json(found), flush=True)
    elif found:
        table(found, list(dict.fromkeys(name for row in found for name in row)))
    return 0


def upright(row: Mapping[str, Any], columns: Sequence[str]) -> None:
    """A row as lines: what is too long for one is folded, from the left."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    from pipelines.reports.shared.format import cell, heading

    lines = [(printable(heading(name)), printable(cell(name, row.get(name)))) for name in columns]
    screen = console()
    room = screen.width - max((cell_len(name) for name, _ in lines), default=0) - BESIDE
    shown = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    shown.add_column(no_wrap=True)
    shown.add_column(justify="right", overflow="fold")
    for name, value in lines:
        shown.add_row(Text(name), Text(value, justify="left" if cell_len(value) > room else "right"))
    screen.print(shown)
