"""A run's results.parquet in other forms, row by row in constant memory: JSON lines, CSV, OpenAI's output and error
lines. Where they go is for the caller to say."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import msgspec

from pipelines.dialects import openai_lines
from pipelines.printable import json_safe, printable
from producer.store import opened

BLOCK_ROWS = 1024
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run or swallow at the beginning of a cell."""
_JSON_COLUMNS = ("parsed", "tags", "response")
_MONEY_COLUMNS = ("cost_usd", "avoided_usd")

_encode = msgspec.json.Encoder().encode

Row = dict[str, Any]


def _jsonl(rows: Iterable[Row]) -> Iterator[bytes]:
    for row in rows:
        for name in _JSON_COLUMNS:
            row[name] = openai_lines.embedded(row[name])
        for name in _MONEY_COLUMNS:
            row[name] = f"{row[name]:f}"
        yield line_bytes(row)


def _csv(rows: Iterable[Row], *, on_screen: bool = False) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row)
        cells = [csv_cell(value) for value in row.values()]
        writer.writerow([printable(cell) if on_screen and isinstance(cell, str) else cell for cell in cells])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _openai(rows: Iterable[Row]) -> Iterator[bytes]:
    for row in rows:
        yield line_bytes(openai_lines.line_of(row))


LINES: Mapping[str, Callable[[Iterable[Row]], Iterator[bytes]]] = {"jsonl": _jsonl, "csv": _csv, "openai": _openai}
"""Rows as the lines of each form."""


def write(form: str, source: str, target: BinaryIO) -> None:
    """A whole results.parquet in one of FORMATS."""
    if form == "parquet":
        with opened(source) as stream:
            shutil.copyfileobj(stream, target, 1 << 20)
        return
    rows = rows_of(source)
    for line in _csv(rows, on_screen=target.isatty()) if form == "csv" else LINES[form](rows):
        target.write(line)


FORMATS = ("parquet", *LINES)


def line_bytes(value: Row) -> bytes:
    """One line of JSON; what would break a line or a terminal for some readers is escaped in it."""
    return json_safe(_encode(value).decode()).encode() + b"\n"


def csv_cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets a leading apostrophe; money and times stay plain."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    if value is None or isinstance(value, bool | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else f"{value:f}"


def rows_of(source: str, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of a results.parquet, or some columns of them."""
    import pyarrow.parquet as pq

    with opened(source) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(BLOCK_ROWS, columns=columns, use_threads=False):
            yield from batch.to_pylist()
