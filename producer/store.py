"""The files of a data root as bytes, a local folder or an object-store URL: written whole or not at all, read as streams.

pyarrow reaches object stores and is imported only for them. Parquet is for others.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from pipelines.errors import StoreError
from pipelines.files import reason, shown_url

BLOCK_BYTES = 1 << 20
"""What is read of an object at once."""
_REMEDIES = {
    errno.ENOSPC: "the disk is full: free space",
    errno.EACCES: "no permission: check its owner",
    errno.EPERM: "no permission: check its owner",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away, or choose another place",
    errno.EEXIST: "a file stands where a folder is needed: move it away, or choose another place",
    errno.EISDIR: "it is a folder: name a file",
    errno.EROFS: "the file system is read-only: choose another place",
}


class Store:
    """Files by their names from pipelines.paths. Blocking: a server asks it in threads."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.remote = "://" in root

    def path(self, name: str) -> str:
        """Where a file of the data root is."""
        return f"{self.root.rstrip('/')}/{name}" if self.remote else str(Path(self.root).resolve() / name)

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """A stream whose file appears when the block ends well, and not at all otherwise. StoreError with the remedy."""
        target = self.path(name)
        if self.remote:
            with _said(target), self._creating(target) as out:
                yield out
            return
        with whole_file(Path(target), target) as staging, staging.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _creating(self, target: str) -> Iterator[BinaryIO]:
        """On an object store closing a stream completes its object: one that is not wanted goes again."""
        store, where = _filesystem(target)
        out = store.open_output_stream(where)
        try:
            yield cast(BinaryIO, out)
        except BaseException:
            with contextlib.suppress(OSError):
                out.close()
                store.delete_file(where)
            raise
        out.close()

    def open(self, name: str) -> BinaryIO:
        """For reading, anywhere in the file. FileNotFoundError when there is none; other trouble is a StoreError."""
        target = self.path(name)
        with _said(target, "read"):
            return opened(target)

    def copy(self, name: str, to: str) -> None:
        """The same bytes under another name too, without reading them where that can be. FileNotFoundError, StoreError."""
        source, target = self.path(name), self.path(to)
        with _said(target, "read" if self.remote else "copy"):
            if self.remote:
                store, where = _filesystem(source)
                store.copy_file(where, _filesystem(target)[1])
                return
            try:
                os.link(source, target)
            except FileExistsError:
                pass
            except FileNotFoundError:
                raise
            except OSError:  # a file system without hard links
                with whole_file(Path(target), target) as staging:
                    shutil.copyfile(source, staging)

    def exists(self, name: str) -> bool:
        if not self.remote:
            return Path(self.path(name)).is_file()
        store, where = _filesystem(self.path(name))
        return bool(store.get_file_info(where).is_file)

    def delete(self, name: str) -> None:
        """A file that is not there is deleted already."""
        target = self.path(name)
        with _said(target, "delete"), contextlib.suppress(FileNotFoundError):
            if not self.remote:
                Path(target).unlink()
                return
            store, where = _filesystem(target)
            store.delete_file(where)

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted, without the folder; none when it is missing. What a killed writer
        left is no file."""
        if not self.remote:
            inside = Path(self.path(folder))
            names = [entry.name for entry in inside.iterdir() if entry.is_file()] if inside.is_dir() else []
        else:
            from pyarrow import fs

            store, where = _filesystem(self.path(folder))
            found = store.get_file_info(fs.FileSelector(where, allow_not_found=True))
            names = [info.base_name for info in found if info.is_file]
        return sorted(name for name in names if not name.endswith(".tmp"))

    def sweep(self, folder: str, before_s: float) -> None:
        """Deletes what writers left half written that were killed before `before_s`, unix seconds; an object store keeps
        no such thing."""
        for left in () if self.remote else Path(self.path(folder)).glob(".*.tmp"):
            with contextlib.suppress(OSError):
                if left.stat().st_mtime < before_s:
                    left.unlink()


def opened(target: str) -> BinaryIO:
    """A file by its path or an object by its URL, for reading anywhere in it. OSError as it comes."""
    if "://" not in target:
        return Path(target).open("rb")
    store, where = _filesystem(target)
    # An object's own stream knows no lines, and asks the store anew for every read.
    return io.BufferedReader(store.open_input_file(where), BLOCK_BYTES)


def unwritable(target: str, error: OSError, doing: str = "write") -> StoreError:
    """One line for what the operating system refused."""
    remedy = _REMEDIES.get(error.errno or 0, "choose another place (--data, --out)")
    return StoreError(f"cannot {doing} {shown_url(target)}: {reason(error, target)}; {remedy}")


@contextmanager
def whole_file(target: Path, name: str) -> Iterator[Path]:
    """A path to write to; its file appears as `target` complete or not at all. `name` is what an error calls it."""
    staging = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    with _said(name):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield staging
            staging.replace(target)
        finally:
            with contextlib.suppress(OSError):
                staging.unlink()


@contextmanager
def _said(target: str, doing: str = "write") -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        if doing == "write":
            raise unwritable(target, FileNotFoundError(errno.ENOENT, "no such file or folder"), doing) from None
        raise
    except OSError as error:
        raise unwritable(target, error, doing) from None


def _filesystem(target: str) -> tuple[Any, str]:
    from pyarrow import fs

    return cast("tuple[Any, str]", fs.FileSystem.from_uri(target))
