"""Looks at every line of a batch's input file, in constant memory: how many, which models, and all that is wrong.

The lines themselves are judged by pipelines/dialects/openai_lines.py. Blocking: to be run in a thread.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterator
from typing import Any, BinaryIO

import msgspec

from pipelines.dialects.endpoints import CHAT_URL
from pipelines.dialects.openai_lines import Line, Wrong, checked, repeated, unreadable
from pipelines.dialects.parameters import CELLS, from_cell
from pipelines.shard import ROW_MAX_BYTES, parse_record
from pipelines.types import BadRow

WRONG_MAX = 100
"""As many mistakes are told; who mends them can ask again."""
BOM = b"\xef\xbb\xbf"
PARQUET = {"method": "POST", "url": CHAT_URL}
PARQUET_ROWS = 512
_COLUMNS = CELLS | {"prompt", "system", "method", "url"}
_decode = msgspec.json.Decoder().decode

Read = Iterator[tuple[int, Any | Wrong]]
"""Number of a line, from 1, and what it holds."""


class Vetted(msgspec.Struct, frozen=True):
    """`wrong` is empty for a file that is in order; `model` is the one model of all lines, if there is one."""

    rows: int
    model: str | None
    wrong: tuple[Wrong, ...] = ()


def first_line_is_json(stream: BinaryIO) -> bool:
    """Whether a file can be what it should be; the rest is looked at when a batch is made of it."""
    first = next(lines(stream), None)
    return first is not None and type(first[1]) is dict


def vet(stream: BinaryIO, form: str, endpoint: str, models: Container[str] | None, most_rows: int = 0) -> Vetted:
    """The whole file; `most_rows` 0 is any number."""
    read = parquet_rows if form == "parquet" else lines
    names: set[str] = set()
    wrong: list[Wrong] = []
    digests = array("q")
    rows = 0
    for number, value in read(stream):
        rows += 1
        if 0 < most_rows < rows:
            return Vetted(rows, None, (_too_many(most_rows),))
        found = value if isinstance(value, Wrong) else _judged(number, value, form, endpoint, models)
        if isinstance(found, Line):
            digests.append(hash(found.custom_id))
            if len(names) < 2:
                names.add(found.model)
        elif len(wrong) < WRONG_MAX:
            wrong.append(found)
    if not rows:
        wrong.append(Wrong("empty_file", "The input file holds no requests."))
    twice = _twice(digests)
    if twice and len(wrong) < WRONG_MAX:
        stream.seek(0)
        wrong += _repeated(read(stream), twice)
    wrong.sort(key=lambda each: each.line or 0)
    return Vetted(rows, names.pop() if len(names) == 1 else None, tuple(wrong[:WRONG_MAX]))


def lines(stream: BinaryIO) -> Read:
    """A JSONL file's lines; blank ones count and are no requests."""
    number = 0
    while text := stream.readline(ROW_MAX_BYTES + 1):
        number += 1
        if len(text) > ROW_MAX_BYTES and not text.endswith(b"\n"):
            yield number, unreadable(number, len(text) + _rest(stream))
            continue
        if number == 1:
            text = text.removeprefix(BOM)
        if text.isspace() or not text:
            continue
        try:
            yield number, _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            yield number, unreadable(number)


def _rest(stream: BinaryIO) -> int:
    """Skips what is left of a line."""
    skipped = 0
    while text := stream.readline(1 << 20):
        skipped += len(text)
        if text.endswith(b"\n"):
            break
    return skipped


def parquet_rows(stream: BinaryIO) -> Read:
    """A Parquet file's rows as records; columns that are nobody's parameters are not read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(stream, buffer_size=64 << 10, pre_buffer=False)
        wanted = [name for name in file.schema_arrow.names if name in _COLUMNS]
        for batch in file.iter_batches(PARQUET_ROWS, columns=wanted, use_threads=False):
            for record in batch.to_pylist():
                number += 1
                yield number, {name: from_cell(name, value) for name, value in record.items() if value is not None}
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        reason = str(error).split("\n")[0][:200]
        yield number + 1, Wrong("invalid_request", f"The Parquet file cannot be read: {reason}.", None, number + 1)


def _judged(number: int, record: Any, form: str, endpoint: str, models: Container[str] | None) -> Line | Wrong:
    """A Parquet row may leave out method and url, then it asks for a chat completion, as it does for whoever prepares it;
    or hold a prompt or messages in columns of its own."""
    if form == "jsonl" or "body" in record:
        return checked(number, record if form == "jsonl" else {**PARQUET, **record}, endpoint, models)
    row = parse_record(number, record)
    if isinstance(row, BadRow):
        return Wrong("invalid_request", row.message, None, number)
    body = {"model": row.model, **row.body}
    return checked(number, {**PARQUET, "custom_id": row.custom_id, "body": body}, endpoint, models)


def _twice(digests: array[int]) -> set[int]:
    """Those that occur more than once; eight bytes a line."""
    import numpy as np

    ordered = np.sort(np.frombuffer(digests, np.int64))
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def _repeated(read: Read, twice: set[int]) -> list[Wrong]:
    """The lines whose custom_id really was there before."""
    seen: set[str] = set()
    found: list[Wrong] = []
    for number, value in read:
        custom_id = value.get("custom_id") if isinstance(value, dict) else None
        if isinstance(custom_id, str) and hash(custom_id) in twice:
            if custom_id in seen:
                found.append(repeated(number, custom_id))
            seen.add(custom_id)
        if len(found) >= WRONG_MAX:
            break
    return found


def _too_many(most: int) -> Wrong:
    return Wrong("too_many_requests", f"The input file holds more than {most:,} requests, which is the limit here.")
