"""A run's results.parquet in other forms, row by row in constant memory: JSON lines, CSV, OpenAI's output and error
lines. Where they go is for the caller to say."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from pipelines import openai_lines
from pipelines.printable import json_safe, printable

BLOCK_ROWS = 1024
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run or swallow at the beginning of a cell."""
_JSON_COLUMNS = ("parsed", "tags", "response")
_MONEY_COLUMNS = ("cost_usd", "avoided_usd")

_encode = msgspec.json.Encoder().encode

Row = dict[str, Any]


def _parquet(source: str, target: BinaryIO) -> None:
    with _opened(source) as stream:
        shutil.copyfileobj(stream, target, 1 << 20)


def _jsonl(source: str, target: BinaryIO) -> None:
    for row in rows_of(source):
        for name in _JSON_COLUMNS:
            row[name] = openai_lines.embedded(row[name])
        for name in _MONEY_COLUMNS:
            row[name] = f"{row[name]:f}"
        target.write(line_bytes(row))


def _csv(source: str, target: BinaryIO) -> None:
    text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    on_screen = target.isatty()
    for number, row in enumerate(rows_of(source)):
        if number == 0:
            writer.writerow(row)
        cells = [csv_cell(value) for value in row.values()]
        writer.writerow([printable(cell) if on_screen and isinstance(cell, str) else cell for cell in cells])
    text.detach()


def _openai(source: str, target: BinaryIO) -> None:
    for row in rows_of(source):
        target.write(line_bytes(openai_lines.line_of(row)))


def line_bytes(value: Row) -> bytes:
    """One line of JSON; what would break a line or a terminal for some readers is escaped in it."""
    return json_safe(_encode(value).decode()).encode() + b"\n"


WRITERS: Mapping[str, Callable[[str, BinaryIO], None]] = {
    "parquet": _parquet, "jsonl": _jsonl, "csv": _csv, "openai": _openai,
}  # fmt: skip


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

    with _opened(source) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(BLOCK_ROWS, columns=columns, use_threads=False):
            yield from batch.to_pylist()


@contextmanager
def _opened(source: str) -> Iterator[Any]:
    if "://" not in source:
        with Path(source).open("rb") as file:
            yield file
        return
    from pyarrow import fs

    store, where = fs.FileSystem.from_uri(source)
    with store.open_input_file(where) as stream:
        yield stream
