"""Names the files of a run and takes their fingerprints; reads no rows (that is the worker's part).

What is in a file is content.py's matter. Remote objects are reached through pyarrow, imported only for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from pipelines import files
from pipelines.errors import NothingMatches, SourceError
from pipelines.files import reason, shown_url
from pipelines.types import Source
from producer import content


def resolve(sources: Iterable[str], base: Path | None = None) -> tuple[Source, ...]:
    """The files that these paths, globs and URLs name, in order; one that is named twice is taken once.

    Raises SourceError for the first that is missing, empty, or not what its name says."""
    urls: dict[str, None] = {}
    for text in sources:
        try:
            urls.update(dict.fromkeys(expand(text, base)))
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
            content.check(stream, source)
    except OSError as exc:
        raise _unreadable(url, exc) from exc
    return source


def _unreadable(url: str, exc: OSError) -> SourceError:
    return SourceError(f"{shown_url(url)[:200]}: cannot be read ({reason(exc, url)}); check the path and permissions")


def estimate(source: Source) -> tuple[int, int]:
    """About how many rows and decompressed bytes (content.size)."""
    with _open(source.url)[0] as stream:
        return content.size(stream, source)


def lines(source: Source) -> int:
    """How many lines a file has that is not compressed; reads it whole, in blocks."""
    with _open(source.url)[0] as stream:
        return sum(block.count(b"\n") for block in iter(lambda: stream.read(content.HEAD_BYTES), b""))


# -- names -------------------------------------------------------------------------------------------------------------


def expand(text: str, base: Path | None = None) -> list[str]:
    """Absolute paths or URLs, sorted where a glob names them; NothingMatches, or SourceError for what is no file."""
    base = base or Path.cwd()
    if text.startswith("file://"):
        text = unquote(urlsplit(text).path)
    if "://" in text:
        return _expand_remote(text) if has_magic(urlsplit(text).path) else [text]
    path = base / Path(text).expanduser()
    if not path.exists() and has_magic(text):
        names = glob(str(Path(text).expanduser()), root_dir=base, recursive=True)  # noqa: PTH207  # absolute ones too
        found = sorted(_absolute(base / name) for name in names if not (base / name).is_dir())
        if not found:
            raise NothingMatches(f"{text}: no file matches this pattern (looked in {base}); correct it")
        return found
    if path.is_dir():
        raise SourceError(f"{path}: is a directory; name its files, e.g. {text.rstrip('/') or path}/*.jsonl")
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
        raise NothingMatches(f"{shown_url(url)}: no object matches this pattern; correct it")
    return [f"{scheme}://{root}/{name}{mark}{query}" for name in found]


def _matches(name: tuple[str, ...], pattern: PurePosixPath) -> bool:
    return PurePosixPath(*name).match(str(pattern))


# -- bytes -------------------------------------------------------------------------------------------------------------


def written(url: str) -> tuple[int, int]:
    """A file's size in bytes and the time (ns) at which it was last written."""
    stream, size_bytes, mtime_ns = _open(url)
    stream.close()
    return size_bytes, mtime_ns


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
