"""Reads the rows of a run's sources from a cursor on, in constant memory; the lines and tables themselves are read by
`lines.py` and `tables.py`. Blocking: to be run in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from pipelines.errors import SourceError
from pipelines.files import reason, shown_url
from pipelines.shard import NO_COLUMNS, Problem, bad_row, parse_record
from pipelines.types import BadRow, Options, Row, Source
from worker.sources.lines import Entry, csv_rows, jsonl, stamp
from worker.sources.tables import parquet_rows

if TYPE_CHECKING:
    from pipelines.rendering import Template

CHUNK_ROWS = 4096
CHUNK_BYTES = 8 << 20


class Cursor(msgspec.Struct, frozen=True):
    """Where to read on: the next row of a run, `row`, stands at `offset` of source number `source`."""

    source: int = 0
    offset: int = 0  # decompressed bytes of a text file; rows of a Parquet file
    row: int = 0  # of the run
    line: int = 0  # lines of the file before `offset`, for messages


def template_of(options: Options) -> Template | None:
    """The run's template, if it has one; jinja2 is loaded for those alone."""
    if not options.template:
        return None
    from pipelines.rendering import compile_template

    return compile_template(options.template)


class Reader:
    """Keeps its file open, so that reading on from where the last call ended costs no seek. Not for several threads."""

    def __init__(self, sources: tuple[Source, ...], template: Template | None = None) -> None:
        self._sources = sources
        self._template = template
        self._entries: Iterator[Entry] = iter(())
        self._at: Cursor | None = None
        self._stamp: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many sources there are: a cursor behind all of them reads nothing more."""
        return len(self._sources)

    def read(self, cursor: Cursor, max_rows: int, max_bytes: int) -> tuple[list[Row | BadRow], Cursor | None]:
        """The next rows, until one of the limits is reached, and the cursor behind them: None after the last source.
        Raises SourceError when a source is gone, has changed, or is damaged."""
        if cursor != self._at or self._touched(cursor):
            self._open(cursor)
        self._at = None
        rows: list[Row | BadRow] = []
        number, row, used = cursor.source, cursor.row, 0
        while number < len(self._sources):
            try:
                for value, offset, line, size in self._entries:
                    rows.append(self._row(row, value))
                    row, used = row + 1, used + size
                    if len(rows) >= max_rows or used >= max_bytes:
                        self._at = Cursor(number, offset, row, line)
                        return rows, self._at
            except (OSError, pa.ArrowException) as exc:
                url = self._sources[number].url
                where = f"{shown_url(url)}: cannot be read beyond row {row} ({reason(exc, url)})"
                raise SourceError(f"{where}; the file is damaged there: restore it and run again") from exc
            number += 1
            self._open(Cursor(number, 0, row))
        return rows, None

    def grow(self, sources: tuple[Source, ...]) -> None:
        """More sources behind those that it has."""
        self._sources = sources

    def close(self) -> None:
        self._entries, self._at = iter(()), None

    def _touched(self, cursor: Cursor) -> bool:
        """Whether the open file was written or replaced since, and must be looked at anew; one that is only gone from its
        folder is still what it was."""
        now = stamp(self._sources[cursor.source]) if cursor.source < len(self._sources) else ()
        return now not in ((), self._stamp)

    def _open(self, cursor: Cursor) -> None:
        if cursor.source < len(self._sources):
            self._stamp = stamp(self._sources[cursor.source])
            used = self._template.used if self._template else NO_COLUMNS
            self._entries = entries(self._sources[cursor.source], cursor, used)
        else:
            self._entries = iter(())

    def _row(self, row: int, value: dict[str, Any] | Problem) -> Row | BadRow:
        if isinstance(value, Problem):
            return bad_row(row, value)
        if self._template is None:
            return parse_record(row, value)
        prompt = self._template.render(value)
        if isinstance(prompt, Problem):
            refused = parse_record(row, value, "-", self._template.used)
            return bad_row(row, prompt._replace(custom_id=refused.custom_id), refused.tags)
        return parse_record(row, value, prompt, self._template.used)


def entries(source: Source, cursor: Cursor, content: AbstractSet[str]) -> Iterator[Entry]:
    """The records of one source from a cursor on; `content` names the columns that a template reads."""
    if source.format == "parquet":
        return parquet_rows(source, cursor.offset, content)
    if source.format == "csv":
        return csv_rows(source, cursor.offset, cursor.line, content)
    return jsonl(source, cursor.offset, cursor.line)


def rows_at(reader: Reader, start: Cursor, wanted: AbstractSet[int]) -> list[Row | BadRow]:
    """The rows numbered `wanted`, in order, read again from the cursor of a chunk that holds them."""
    found: list[Row | BadRow] = []
    cursor: Cursor | None = start
    while cursor is not None and len(found) < len(wanted) and cursor.row <= max(wanted):
        left = max(wanted) - cursor.row + 1
        rows, cursor = reader.read(cursor, min(CHUNK_ROWS, left), CHUNK_BYTES)
        found.extend(row for row in rows if row.row in wanted)
    if len(found) < len(wanted):
        missing = min(wanted - {row.row for row in found})
        raise SourceError(f"row {missing} is no longer in the sources; restore them as they were at the first run")
    return found
