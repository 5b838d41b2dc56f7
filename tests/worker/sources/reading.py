"""Files of every form, written and read as a source is."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import zstandard

from pipelines import files, wire
from pipelines.rendering import Template
from pipelines.types import BadRow, Row, Source
from worker.sources.source import Cursor, Reader

ALL = (1 << 20, 1 << 40)


def source(path: Path) -> Source:
    suffixes = path.name.split(".")
    compression = suffixes[-1] if suffixes[-1] in ("gz", "zst") else ""
    size, form = path.stat().st_size, suffixes[-2 if compression else -1]
    with path.open("rb") as stream:
        return Source(str(path), form, compression, size, path.stat().st_mtime_ns, files.digest(stream, size))


def write(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        content = zstandard.ZstdCompressor().compress(content)
    path.write_bytes(content)
    return path


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def read(*paths: Path, template: Template | None = None) -> list[Row | BadRow]:
    rows, cursor = Reader(tuple(source(path) for path in paths), template).read(Cursor(), *ALL)
    assert cursor is None
    return rows


def said(rows: list[Row | BadRow]) -> list[str]:
    """The prompt of each row, or the code of what is wrong with it."""
    return [row.body["messages"][-1]["content"] if isinstance(row, Row) else row.code for row in rows]


def walk(reader: Reader, max_rows: int, *, restart: bool) -> tuple[list[Row | BadRow], list[Cursor]]:
    """Reads all in steps; with `restart`, through a new reader and a cursor from JSON each time."""
    rows: list[Row | BadRow] = []
    cursor: Cursor | None = Cursor()
    cursors: list[Cursor] = []
    while cursor is not None:
        cursors.append(cursor)
        if restart:
            reader = Reader(reader._sources, reader._template)
            cursor = Cursor(**wire.load(wire.dump(cursor)))
        part, cursor = reader.read(cursor, max_rows, 1 << 40)
        rows += part
    return rows, cursors
