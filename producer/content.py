"""Judges a source file by its first MiB, or a Parquet file by its footer: is it what its name says, and how many rows.

It gets an open stream and reads no rows. pyarrow is imported for Parquet files only.
"""

from __future__ import annotations

import csv
import io
import zlib
from pathlib import Path
from typing import BinaryIO

from pipelines import files
from pipelines.errors import SourceError
from pipelines.files import reason, shown_url
from pipelines.types import Source

HEAD_BYTES = 1 << 20
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "Parquet",
    b"PK\x03\x04": "zip",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_EXPECTED = {"gz": "gzip", "zst": "zstd"}


def check(stream: BinaryIO, source: Source) -> None:
    """Raises SourceError for what can be seen to be wrong without reading the rows, no rows at all included."""
    where = shown_url(source.url)
    stream.seek(0)
    packed = stream.read(HEAD_BYTES)
    kind = next((kind for magic, kind in MAGIC.items() if packed.startswith(magic)), "text")
    expected = "Parquet" if source.format == "parquet" else _EXPECTED.get(source.compression, "text")
    if kind != expected:
        raise SourceError(f"{where}: looks like {kind}, but its name says {expected}; rename or convert it")
    if source.format == "parquet":
        stream.seek(max(0, source.size_bytes - 4))
        if source.size_bytes < 12 or stream.read(4) != b"PAR1":
            raise SourceError(f"{where}: the end of the Parquet file is missing; copy it again")
        if _parquet_size(stream, source)[0] == 0:
            raise SourceError(f"{where}: has columns but no rows; put prompts into it or leave it out")
        return
    head, taken = _unpacked(packed, source)
    full = len(head) >= HEAD_BYTES
    whole = taken == source.size_bytes and not full
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text and full:
        raise SourceError(f"{where}: begins with over a MiB of blank lines; remove them")
    if not text and whole:
        if source.compression and _is_cut(packed, source.compression):
            raise SourceError(
                f"{where}: its end is missing, the {_EXPECTED[source.compression]} data is cut off; copy it again"
            )
        raise SourceError(f"{where}: the file is empty; put prompts into it or leave it out")
    if source.format == "csv":
        _check_header(head, where)
        if whole and _rows(head, "csv") == 0:
            raise SourceError(f"{where}: has a header but no rows; put prompts into it or leave it out")
    elif text.startswith(b"[") and ".json" in Path(where).suffixes:
        raise SourceError(f"{where}: holds a JSON array; write one object a line (jq -c '.[]' file.json > file.jsonl)")


def _is_cut(packed: bytes, compression: str) -> bool:
    """Whether compressed data ends before its own end."""
    if compression == "gz":
        unpacker = zlib.decompressobj(wbits=31)
        unpacker.decompress(packed)
        return not unpacker.eof
    import zstandard

    frame = zstandard.ZstdDecompressor().decompressobj()
    frame.decompress(packed)
    return not frame.eof


def _check_header(head: bytes, where: str) -> None:
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    first, _, _ = text.partition("\n")
    if any("\udc80" <= char <= "\udcff" for char in first):
        raise SourceError(f"{where}: the header is not UTF-8; convert the file to UTF-8")
    try:
        fields = next(csv.reader(io.StringIO(text, newline=""), delimiter=files.delimiter(first), strict=True), [])
    except csv.Error as exc:
        raise SourceError(f"{where}: the header is not CSV ({exc}); correct the first line") from exc
    files.column_names(fields, where)


def _unpacked(packed: bytes, source: Source) -> tuple[bytes, int]:
    """At most a MiB of the text that `packed` begins with, and how many bytes of `packed` that took."""
    try:
        if source.compression == "gz":
            unpacker = zlib.decompressobj(wbits=31)
            head = unpacker.decompress(packed, HEAD_BYTES)
            return head, len(packed) - len(unpacker.unconsumed_tail) - len(unpacker.unused_data)
        if source.compression == "zst":
            import zstandard

            stored = io.BytesIO(packed)
            with zstandard.ZstdDecompressor().stream_reader(stored, read_size=4096, read_across_frames=True) as reader:
                return reader.read(HEAD_BYTES), stored.tell()
    except Exception as exc:
        where = shown_url(source.url)
        raise SourceError(f"{where}: cannot be decompressed ({reason(exc, source.url)}); the file is damaged") from exc
    return packed, len(packed)


def size(stream: BinaryIO, source: Source) -> tuple[int, int]:
    """About how many rows and decompressed bytes: exact for Parquet and files under a MiB, else from the first MiB."""
    if source.format == "parquet":
        return _parquet_size(stream, source)
    head, taken = _unpacked(stream.read(HEAD_BYTES), source)
    if taken == source.size_bytes and len(head) < HEAD_BYTES:
        return _rows(head, source.format), len(head)
    size_bytes = source.size_bytes * len(head) // max(1, taken)
    sample = head[: head.rfind(b"\n") + 1] or head or b" "
    return max(1, _rows(sample, source.format) * size_bytes // len(sample)), size_bytes


def _rows(text: bytes, form: str) -> int:
    if form == "jsonl":
        return sum(1 for line in text.split(b"\n") if line and not line.isspace())
    lines = io.StringIO(text.decode("utf-8", "replace"), newline="")
    rows = 0
    try:
        rows = sum(1 for fields in csv.reader(lines) if fields)
    except csv.Error:
        rows = text.count(b"\n")
    return max(0, rows - 1)


def _parquet_size(stream: BinaryIO, source: Source) -> tuple[int, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.ParquetFile(stream).metadata
    except (OSError, pa.ArrowException) as exc:
        where = shown_url(source.url)
        raise SourceError(f"{where}: is no readable Parquet file ({reason(exc, source.url)}); write it again") from exc
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    return metadata.num_rows, sum(group.total_byte_size for group in groups)
