"""The rows of JSONL and CSV files, one at a time from a byte offset, in constant memory; compressed files too.

Offsets count decompressed bytes. A compressed file is decompressed again from its start to reach an offset.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Generator, Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from msgspec.structs import replace
from pyarrow import fs

from pipelines import files
from pipelines.dialects.parameters import CELLS, flaw, from_cell
from pipelines.errors import SourceError
from pipelines.files import reason, shown_url
from pipelines.shard import ID_MAX_CHARS, ROW_MAX_BYTES, Problem
from pipelines.types import Source

BLOCK_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"

Entry = tuple[dict[str, Any] | Problem, int, int, int]
"""A record, or why there is none; the offset and the number of lines behind it; the bytes it took."""

_decode = msgspec.json.Decoder().decode


def open_raw(source: Source) -> pa.NativeFile:
    """The file's bytes as they are stored. Raises SourceError when it is not there, or not what it was at intake."""
    try:
        raw, size, mtime_ns = _stored(source.url)
        differs = _differs(source, size, mtime_ns)
    except (OSError, pa.ArrowException) as exc:
        where, why = shown_url(source.url), reason(exc, source.url)
        raise SourceError(f"{where}: cannot be opened ({why}); put the file back") from exc
    if differs:
        raw.close()
        where = shown_url(source.url)
        raise SourceError(f"{where}: changed since it was submitted ({differs}); restore it or submit a new run")
    return raw


def _stored(url: str) -> tuple[pa.NativeFile, int, int]:
    """A file, its size in bytes and when it was last written."""
    if "://" not in url:
        return (raw := pa.OSFile(url, "rb")), raw.size(), Path(url).stat().st_mtime_ns
    filesystem, path = fs.FileSystem.from_uri(url)
    return (raw := filesystem.open_input_file(path)), raw.size(), filesystem.get_file_info(path).mtime_ns or 0


def _differs(source: Source, size_bytes: int, mtime_ns: int) -> str | None:
    """What is not as it was at intake. An object's time is its store's word; that of a local file anybody can set back, so
    its content is read, once for each stamp."""
    if "://" in source.url and (size_bytes, mtime_ns) == (source.size_bytes, source.mtime_ns):
        return None
    same = size_bytes == source.size_bytes
    digest = _digest(source.url, size_bytes, (mtime_ns, *stamp(source))) if same else ""
    return files.changed(source, replace(source, size_bytes=size_bytes, mtime_ns=mtime_ns, digest=digest))


@lru_cache(maxsize=256)
def _digest(url: str, size_bytes: int, _stamp: tuple[int, ...]) -> str:
    with _stored(url)[0] as raw:
        return files.digest(raw, size_bytes)


def stamp(source: Source) -> tuple[int, ...]:
    """Another one whenever a local file was written, replaced or set back; always the same of an object, and of what is gone."""
    try:
        found = Path(source.url).stat() if "://" not in source.url else None
    except OSError:
        return ()
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino) if found is not None else ()


def blocks(source: Source, offset: int) -> Generator[list[bytes] | int]:
    """Lines without their newline, many at a time; a number stands for a line of that length, too long to hold."""
    with _stream(source, offset) as stream:
        parts: list[bytes] = []
        held = skipped = 0
        while block := stream.read(BLOCK_BYTES):
            end = block.rfind(b"\n")
            if end < 0:
                parts.append(block)
                held += len(block)
                if skipped or held > ROW_MAX_BYTES:
                    parts, held, skipped = [], 0, skipped + held
                continue
            first = 0
            if skipped:
                first = block.find(b"\n") + 1
                yield skipped + first - 1
                skipped = 0
            if first <= end:
                parts.append(block[first:end])
                yield from _split(b"".join(parts))
            parts, held = [block[end + 1 :]], len(block) - end - 1
        if skipped:
            yield skipped
        elif held:
            yield from _split(b"".join(parts))


def _split(text: bytes) -> Iterator[list[bytes] | int]:
    lines = text.split(b"\n")
    if len(lines[0]) > ROW_MAX_BYTES:  # only a line that spans blocks can be this long
        yield len(lines.pop(0))
    if lines:
        yield lines


def _stream(source: Source, offset: int) -> pa.NativeFile:
    raw = open_raw(source)
    if not source.compression:
        raw.seek(min(offset, source.size_bytes))
        return raw
    stream = pa.CompressedInputStream(raw, {"gz": "gzip", "zst": "zstd"}[source.compression])
    while offset > 0 and (skipped := stream.read(min(offset, BLOCK_BYTES))):
        offset -= len(skipped)
    return stream


# -- JSONL -------------------------------------------------------------------------------------------------------------


def jsonl(source: Source, offset: int, line: int) -> Iterator[Entry]:
    """Blank lines are no rows; every other line is one."""
    value: Any
    for block in blocks(source, offset):
        if isinstance(block, int):
            line, offset = line + 1, offset + block + 1
            yield too_large(block, f"line {line}"), offset, line, 1
            continue
        for text in block:
            size = len(text) + 1
            offset += size
            line += 1
            try:
                value = _decode(text)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                value = _second_look(text, f"line {line}")
                if value is None:
                    continue
            if type(value) is not dict and not isinstance(value, Problem):
                value = Problem("not_an_object", f"line {line} is JSON but no object; write one {{...}} a line")
            yield value, offset, line, size


def too_large(size_bytes: int, where: str) -> Problem:
    size_mb = size_bytes / (1 << 20)
    return Problem(
        "row_too_large", f"{where} has {size_mb:.0f} MiB; a row may have {ROW_MAX_BYTES >> 20} MiB: split it"
    )


def _second_look(text: bytes, where: str) -> Any:
    """What a line is that did not decode: blank (None), well but for a byte order mark, or a Problem, as named as can
    be. The second parser is slower and takes NaN, so that the message can name the field."""
    text = text.removeprefix(BOM).strip()
    if not text:
        return None
    try:
        return _decode(text)
    except UnicodeDecodeError as exc:
        code, message = "invalid_utf8", f"{where} is not UTF-8 ({exc.reason}); convert the file to UTF-8"
    except RecursionError:
        return Problem("too_deep", f"{where} is nested too deeply; flatten it")
    except msgspec.MsgspecError as exc:
        code, message = "not_json", f"{where} is not JSON ({exc}); write one {{...}} a line"
    try:
        record = json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return Problem(code, message)
    if code == "not_json" and (found := flaw(record)) is not None:
        code, message = found[0], found[1].encode("utf-8", "replace").decode()
    return Problem(code, message, _id_of(record))


def _id_of(record: Any) -> str | None:
    for name in ("custom_id", "id") if isinstance(record, dict) else ():
        value = record.get(name)
        if type(value) is int:
            return str(value)
        if value is not None and value != "":
            usable = isinstance(value, str) and value.isprintable() and len(value) <= ID_MAX_CHARS
            return value if usable and "\ufffd" not in value else None
    return None


# -- CSV ---------------------------------------------------------------------------------------------------------------


class _RowTooLargeError(Exception):
    """Raised through csv.reader, which forgets the row it was in."""


class _Feed:
    """Lines as text for csv.reader, which takes exactly those of one row; counts them."""

    def __init__(self, source: Source, offset: int, line: int) -> None:
        self.offset, self.line = offset, line
        self._blocks = blocks(source, offset)
        self._lines: Iterator[bytes] = iter(())
        self.begin()

    def begin(self) -> None:
        """Before each row."""
        self.size, self.first_line, self.undecodable = 0, self.line + 1, False

    def close(self) -> None:
        self._blocks.close()

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        text = next(self._lines, None)
        while text is None:
            block = next(self._blocks)
            if isinstance(block, int):
                self._count(block)
                raise _RowTooLargeError
            self._lines = iter(block)
            text = next(self._lines, None)
        self._count(len(text))
        if self.line == 1:
            text = text.removeprefix(BOM)
        if self.size > ROW_MAX_BYTES:
            raise _RowTooLargeError
        try:
            return text.decode() + "\n"
        except UnicodeDecodeError:
            self.undecodable = True
            return text.decode("utf-8", "replace") + "\n"

    def _count(self, length: int) -> None:
        self.offset, self.size, self.line = self.offset + length + 1, self.size + length + 1, self.line + 1


def csv_rows(source: Source, offset: int, line: int, content: AbstractSet[str]) -> Iterator[Entry]:
    """`offset` 0 is the header's; cells of the columns in `content` stay text, those of parameters become values."""
    csv.field_size_limit(ROW_MAX_BYTES)  # the default refuses prompts over 128 KiB; rows are bounded by the feed
    feed = _Feed(source, 0, 0)
    names, mark = _header(feed, shown_url(source.url))
    if offset > 0:
        feed.close()
        feed = _Feed(source, offset, line)
    cells = [name for name in names if name in CELLS and name not in content]
    reader = csv.reader(feed, delimiter=mark, strict=True)
    while True:
        feed.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except _RowTooLargeError:
            yield too_large(feed.size, f"line {feed.first_line}"), feed.offset, feed.line, 1
            continue
        except csv.Error as exc:
            problem = Problem("not_csv", f"line {feed.first_line} is not CSV ({exc}); correct its quotes")
            yield problem, feed.offset, feed.line, feed.size
            continue
        if fields:
            yield _record(names, fields, cells, feed), feed.offset, feed.line, feed.size


def _header(feed: _Feed, where: str) -> tuple[tuple[str, ...], str]:
    try:
        first = next(feed)
        mark = files.delimiter(first)
        fields = next(csv.reader(chain([first], feed), delimiter=mark, strict=True))
    except (StopIteration, _RowTooLargeError, csv.Error) as exc:
        raise SourceError(f"{where}: has no header that can be read; a CSV file must begin with one") from exc
    return files.column_names(fields, where), mark


def _record(names: tuple[str, ...], fields: list[str], cells: list[str], feed: _Feed) -> dict[str, Any] | Problem:
    where = f"line {feed.first_line}"
    if feed.undecodable:
        return Problem("invalid_utf8", f"{where} is not UTF-8; convert the file to UTF-8")
    if len(fields) != len(names):
        counts = f"{len(fields)} fields where the header has {len(names)}"
        return Problem("ragged_row", f"{where} has {counts}; quote fields that hold the delimiter")
    record: dict[str, Any] = dict(zip(names, fields, strict=True))
    for name in cells:
        record[name] = from_cell(name, record[name])
    return record
