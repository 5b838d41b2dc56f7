"""Names the files of a run and takes their fingerprints; reads no rows (that is the worker's part).

Remote objects are reached through pyarrow, imported only for them and for the row counts of Parquet files.
"""

from __future__ import annotations

import csv
import io
import os
import zlib
from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

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


def resolve(sources: Iterable[str], base: Path | None = None) -> tuple[Source, ...]:
    """The files that these paths, globs and URLs name, in order; one that is named twice is taken once.

    Raises SourceError for the first that is missing, empty, or not what its name says."""
    urls: dict[str, None] = {}
    for text in sources:
        try:
            urls.update(dict.fromkeys(_expand(text, base or Path.cwd())))
        except OSError as exc:
            raise _unreadable(text, exc) from exc
    if not urls:
        raise SourceError(f"no source given; name a file, a glob or a URL ({files.SUPPORTED})")
    return tuple(inspect(url) for url in urls)


def inspect(url: str) -> Source:
    """One file as it is now; `url` is an absolute path or an object's URL."""
    form, compression = files.form(url)
    try:
        stream, size_bytes, mtime_ns = _open(url)
        with stream:
            if size_bytes == 0:
                raise SourceError(f"{shown_url(url)}: the file is empty; put prompts into it or leave it out")
            digest = files.digest(stream, size_bytes)
            source = Source(url, form, compression, size_bytes, mtime_ns, digest)
            _check(stream, source)
    except OSError as exc:
        raise _unreadable(url, exc) from exc
    return source


def _unreadable(url: str, exc: OSError) -> SourceError:
    return SourceError(f"{shown_url(url)[:200]}: cannot be read ({reason(exc, url)}); check the path and permissions")


def estimate(source: Source) -> tuple[int, int]:
    """About how many rows and decompressed bytes: exact for Parquet and files under a MiB, else from the first MiB."""
    if source.format == "parquet":
        return _parquet_size(source)
    with _open(source.url)[0] as stream:
        packed = stream.read(HEAD_BYTES)
    head, taken = _unpacked(packed, source)
    if taken == source.size_bytes and len(head) < HEAD_BYTES:
        return _rows(head, source.format), len(head)
    size_bytes = source.size_bytes * len(head) // max(1, taken)
    sample = head[: head.rfind(b"\n") + 1] or head or b" "
    return max(1, _rows(sample, source.format) * size_bytes // len(sample)), size_bytes


# -- names -------------------------------------------------------------------------------------------------------------


def _expand(text: str, base: Path) -> list[str]:
    """Absolute paths or URLs, sorted where a glob names them."""
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    if "://" in text:
        return _expand_remote(text) if has_magic(urlsplit(text).path) else [text]
    path = base / Path(text).expanduser()
    if not path.exists() and has_magic(text):
        names = glob(str(Path(text).expanduser()), root_dir=base, recursive=True)  # noqa: PTH207  # absolute ones too
        found = sorted(_absolute(base / name) for name in names if not (base / name).is_dir())
        if not found:
            raise SourceError(f"{text}: no file matches this pattern (looked in {base}); correct it")
        return found
    if path.is_dir():
        raise SourceError(f"{path}: is a directory; name its files, e.g. {text.rstrip('/')}/*.jsonl")
    if not path.exists():
        raise SourceError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise SourceError(f"{path}: is not a regular file; write its content to a file first")
    return [_absolute(path)]


def _absolute(path: Path) -> str:
    """Links are kept: the name given is the run's identity, and what it points to may have no ending."""
    return os.path.abspath(path)  # noqa: PTH100  # Path.absolute keeps `..`, Path.resolve follows links


def _expand_remote(url: str) -> list[str]:
    from pyarrow import fs

    scheme, _, rest = url.partition("://")
    pattern, mark, query = rest.partition("?") if "=" in rest else (rest, "", "")
    parts = PurePosixPath(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if has_magic(part))
    root = "/".join(parts[:fixed]).replace("//", "/")
    filesystem, path = _filesystem(f"{scheme}://{root}{mark}{query}")
    infos = filesystem.get_file_info(fs.FileSelector(path, recursive=len(parts) > fixed + 1))
    depth = len(PurePosixPath(path).parts)
    names = (PurePosixPath(info.path).parts[depth:] for info in infos if info.is_file)
    tail = PurePosixPath(*parts[fixed:])
    found = sorted("/".join(name) for name in names if len(name) == len(tail.parts) and _matches(name, tail))
    if not found:
        raise SourceError(f"{shown_url(url)}: no object matches this pattern; correct it")
    return [f"{scheme}://{root}/{name}{mark}{query}" for name in found]


def _matches(name: tuple[str, ...], pattern: PurePosixPath) -> bool:
    return PurePosixPath(*name).match(str(pattern))


# -- bytes -------------------------------------------------------------------------------------------------------------


def _open(url: str) -> tuple[BinaryIO, int, int]:
    """The file, its size in bytes and the time it was last written."""
    if "://" not in url:
        stat = Path(url).stat()
        return Path(url).open("rb"), stat.st_size, stat.st_mtime_ns
    filesystem, path = _filesystem(url)
    info = filesystem.get_file_info(path)
    if not info.is_file:
        raise SourceError(f"{shown_url(url)}: no such object; check the URL and credentials")
    return cast(BinaryIO, filesystem.open_input_file(path)), info.size, info.mtime_ns or 0


def _filesystem(url: str) -> tuple[Any, str]:
    import pyarrow as pa
    from pyarrow import fs

    try:
        filesystem, path = fs.FileSystem.from_uri(url)
    except (OSError, pa.ArrowException) as exc:
        known = "s3://, gs://, abfs://, hdfs:// and local paths can be read"
        raise SourceError(f"{shown_url(url)}: cannot be opened ({reason(exc, url)}); {known}") from exc
    return filesystem, path


def _check(stream: BinaryIO, source: Source) -> None:
    """Refuses what can be seen to be wrong without reading the rows."""
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
        return
    head, taken = _unpacked(packed, source)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text and taken == source.size_bytes:
        if source.compression and _is_cut(packed, source.compression):
            raise SourceError(
                f"{where}: its end is missing, the {_EXPECTED[source.compression]} data is cut off; copy it again"
            )
        raise SourceError(f"{where}: the file is empty; put prompts into it or leave it out")
    if source.format == "csv":
        _check_header(head, where)
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


# -- counts ------------------------------------------------------------------------------------------------------------


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


def _parquet_size(source: Source) -> tuple[int, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _open(source.url)[0] as stream:
            metadata = pq.ParquetFile(stream).metadata
    except (OSError, pa.ArrowException) as exc:
        where = shown_url(source.url)
        raise SourceError(f"{where}: is no readable Parquet file ({reason(exc, source.url)}); write it again") from exc
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    return metadata.num_rows, sum(group.total_byte_size for group in groups)
