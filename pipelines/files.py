"""What the name, the header and the content of a source file say about it; no file is opened here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import urlsplit

from pipelines.errors import SourceError
from pipelines.types import Source

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
COMPRESSIONS = {".gz": "gz", ".zst": "zst"}
SUPPORTED = ".jsonl, .ndjson, .json (one object a line), .csv (each also with .gz or .zst), .parquet"

WHOLE_DIGEST_BYTES = 64 << 20
SAMPLES, SAMPLE_BYTES = 64, 64 << 10
BLOCK_BYTES = 1 << 20
DELIMITERS = (",", ";", "\t")


def delimiter(first_line: str) -> str:
    """The first of comma, semicolon and tab that the header holds; a single column has none and needs none."""
    return next((mark for mark in DELIMITERS if mark in first_line), ",")


def column_names(fields: Sequence[str], where: str) -> tuple[str, ...]:
    """Raises SourceError when these fields cannot name columns; a column without a name gets its number as one."""
    names = tuple(field.strip() or f"column_{number}" for number, field in enumerate(fields, 1))
    if not any(field.strip() for field in fields):
        raise SourceError(f"{where}: the first line names no columns; a CSV file must begin with a header")
    if "\0" in "".join(names):
        raise SourceError(f"{where}: the first line holds NUL bytes; this is not a CSV file in UTF-8")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise SourceError(f"{where}: the header names the column {repeated[0][:60]!r} twice; rename one of them")
    return names


def form(url: str) -> tuple[str, str]:
    """Format and compression by the name's ending. Raises SourceError when it has none that can be read."""
    path = PurePosixPath(urlsplit(url).path if "://" in url else url)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = COMPRESSIONS.get(suffixes.pop(), "") if suffixes and suffixes[-1] in COMPRESSIONS else ""
    kind = FORMATS.get(suffixes[-1]) if suffixes else None
    if kind is None:
        raise SourceError(f"{shown_url(url)}: the name ends in no supported format; rename it to one of {SUPPORTED}")
    if kind == "parquet" and compression:
        raise SourceError(f"{shown_url(url)}: Parquet is compressed inside; unpack the .{compression} first")
    return kind, compression


def digest(stream: BinaryIO, size_bytes: int) -> str:
    """Names a file's content, as read from its open stream: of large files the size and samples."""
    found = blake2b(size_bytes.to_bytes(8, "big"), digest_size=16)
    if size_bytes <= WHOLE_DIGEST_BYTES:
        while block := stream.read(BLOCK_BYTES):
            found.update(block)
        return found.hexdigest()
    last = size_bytes - SAMPLE_BYTES
    for offset in [0, *(last * number // (SAMPLES + 1) for number in range(1, SAMPLES + 1)), last]:
        stream.seek(offset)
        found.update(stream.read(SAMPLE_BYTES))
    return found.hexdigest()


def changed(old: Source, now: Source) -> str | None:
    """What differs between two looks at one file, in words. Only where the digest is of samples does the time count."""
    if old.size_bytes != now.size_bytes:
        return f"its size was {old.size_bytes} bytes and is {now.size_bytes}"
    if old.digest != now.digest:
        return "its content changed (the size is the same)"
    if old.size_bytes > WHOLE_DIGEST_BYTES and old.mtime_ns != now.mtime_ns:
        return "it was written again (size and samples are the same)"
    return None


def shown_url(url: str) -> str:
    """A path or URL for messages, without the credentials that it may hold."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def reason(exc: BaseException, url: str) -> str:
    """Why a file could not be read, on one line and without what `shown_url` hides."""
    text = str(getattr(exc, "strerror", None) or exc) or type(exc).__name__
    return " ".join(text.replace(url, shown_url(url)).split())[:200]
