"""What the name and the header of a source file say about it; no file is opened here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from pipelines.errors import SourceError

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
COMPRESSIONS = {".gz": "gz", ".zst": "zst"}
SUPPORTED = ".jsonl, .ndjson, .json (one object a line), .csv (each also with .gz or .zst), .parquet"

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
