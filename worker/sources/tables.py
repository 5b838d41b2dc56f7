"""The rows of Parquet files, one at a time from a row number, in constant memory however large a row group is.

Cells become what JSON can hold; which of them are parameters is decided in `pipelines/shard.py`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from pipelines.dialects.parameters import CELLS, from_cell
from pipelines.shard import ROW_MAX_BYTES, Problem
from pipelines.types import Source
from worker.sources.lines import Entry, open_raw, too_large

BATCH_ROWS = 2048
BATCH_BYTES = 2 << 20
PAGE_BUFFER_BYTES = 64 << 10

_ASKED = frozenset({"prompt", "system", "messages", "body", "model", "custom_id", "id"})
"""Columns where bytes that are no text make a row invalid; elsewhere they are carried as base64."""


def parquet_rows(source: Source, row: int, content: AbstractSet[str]) -> Iterator[Entry]:
    """Rows from number `row` of the file; cells of the columns in `content` are values, never parameters. After a
    restart, rows of the same row group before `row` are read again and dropped."""
    with open_raw(source) as raw:
        # Without a buffer size pyarrow reads a whole column of a row group at once.
        file = pq.ParquetFile(raw, buffer_size=PAGE_BUFFER_BYTES, pre_buffer=False)
        first_group, skip = _row_group_at(file.metadata, row)
        groups = list(range(first_group, file.metadata.num_row_groups))
        batches = file.iter_batches(_batch_rows(file.metadata), row_groups=groups, use_threads=False)
        for whole in batches:
            batch = whole.slice(skip)
            skip = max(0, skip - whole.num_rows)
            size = batch.nbytes // max(1, batch.num_rows)
            for value in _records(batch, row, content):
                row += 1
                yield value, row, row, size


def _row_group_at(metadata: pq.FileMetaData, row: int) -> tuple[int, int]:
    """The row group that holds `row`, and how many of its rows come before."""
    for number in range(metadata.num_row_groups):
        rows = metadata.row_group(number).num_rows
        if row < rows:
            return number, row
        row -= rows
    return metadata.num_row_groups, 0


def _batch_rows(metadata: pq.FileMetaData) -> int:
    """Few enough rows that a batch stays small, also where rows are large."""
    size_bytes = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    fitting: int = BATCH_BYTES * metadata.num_rows // max(1, size_bytes)
    return max(1, min(BATCH_ROWS, fitting))


def _records(batch: pa.RecordBatch, row: int, content: AbstractSet[str]) -> Iterator[dict[str, Any] | Problem]:
    names = batch.schema.names
    undecodable: dict[int, str] = {}
    columns = [_values(name, column, content, undecodable) for name, column in zip(names, batch.columns, strict=True)]
    suspect = batch.nbytes > ROW_MAX_BYTES
    for number, values in enumerate(zip(*columns, strict=True)):
        record = dict(zip(names, values, strict=True))
        if number in undecodable:
            message = f"row {row + number} of the file: `{undecodable[number]}` is not UTF-8; write it as text"
            yield Problem("invalid_utf8", message)
        elif suspect and (size := len(msgspec.json.encode(record))) > ROW_MAX_BYTES:
            yield too_large(size, f"row {row + number} of the file")
        else:
            yield record


def _values(name: str, column: pa.Array, content: AbstractSet[str], undecodable: dict[int, str]) -> list[Any]:
    """A column as what JSON can hold; `undecodable` learns the rows whose text is none."""
    wanted = _readable(column.type)
    if wanted != column.type:
        column = column.cast(wanted, safe=False)
    try:
        values = column.to_pylist()
    except UnicodeDecodeError:
        values = [_one(name, column, number, undecodable) for number in range(len(column))]
    parameter = name in CELLS and name not in content
    if not _is_plain(column.type):
        required = name in _ASKED or name in content
        for number, value in enumerate(values):
            try:
                values[number] = _json_value(value, nan=parameter, text=required)
            except UnicodeDecodeError:
                undecodable[number] = name
    return [from_cell(name, value) for value in values] if parameter else values


def _one(name: str, column: pa.Array, number: int, undecodable: dict[int, str]) -> Any:
    try:
        return column[number].as_py()
    except UnicodeDecodeError:
        undecodable[number] = name
        return None


def _is_plain(kind: pa.DataType) -> bool:
    texts = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(texts or types.is_integer(kind) or types.is_boolean(kind) or types.is_null(kind))


def _readable(kind: pa.DataType) -> pa.DataType:
    """The type to cast to first: Python knows no nanoseconds, and a time zone's name may not be known here."""
    if isinstance(kind, pa.BaseExtensionType):
        return _readable(kind.storage_type)
    if types.is_dictionary(kind):
        return _readable(kind.value_type)
    if types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if types.is_time64(kind):
        return pa.time64("us")
    if types.is_duration(kind):
        return pa.duration("us")
    if types.is_list(kind) or types.is_large_list(kind):
        inner = _readable(kind.value_type)
        return kind if inner == kind.value_type else pa.large_list(inner)
    if types.is_struct(kind):
        fields = [field.with_type(_readable(field.type)) for field in kind]
        return kind if all(new.type == old.type for new, old in zip(fields, kind, strict=True)) else pa.struct(fields)
    return kind


def _json_value(value: Any, *, nan: bool, text: bool) -> Any:
    """`nan` keeps NaN, to be refused by name; `text` refuses bytes that are no text (UnicodeDecodeError)."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if nan or isfinite(value) else None
    if isinstance(value, dict):
        return {name: _json_value(part, nan=nan, text=text) for name, part in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(part, tuple) for part in value):  # pyarrow gives maps as pairs
            return {str(name): _json_value(part, nan=nan, text=text) for name, part in value}
        return [_json_value(part, nan=nan, text=text) for part in value]
    if isinstance(value, Decimal):
        return float(value) if nan else str(value)
    if isinstance(value, bytes):
        return _text(value, text)
    return next((plain(value) for kind, plain in _PLAIN if isinstance(value, kind)), str(value))


def _text(value: bytes, text: bool) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        if text:
            raise
        return b64encode(value).decode()


_PLAIN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (datetime, datetime.isoformat),
    (date, date.isoformat),
    (time, time.isoformat),
    (timedelta, timedelta.total_seconds),
)
