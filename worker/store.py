"""The data root, a local folder or an object-store URL: whole files in, whole files out, atomically."""

from __future__ import annotations

import errno
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from pipelines.errors import Missing, StoreError

log = logging.getLogger("spillway.store")

ROW_GROUP_ROWS = 8192


class Store:
    """Files by their names from pipelines.paths."""

    def __init__(self, url: str) -> None:
        self.url = url
        if "://" in url:
            with _said(url, "use the data root"):
                self.fs, self.root = pafs.FileSystem.from_uri(url)
        else:
            self.fs, self.root = pafs.LocalFileSystem(), str(Path(url).resolve())
        self.local = isinstance(self.fs, pafs.LocalFileSystem)

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self.fs.get_file_info(self.path(name)).type == pafs.FileType.File)

    def there(self) -> bool:
        """Whether this is a data root in use; else all of it is gone, or not mounted."""
        return bool(self.fs.get_file_info(self.path("runs")).type == pafs.FileType.Directory)

    def names(self, folder: str) -> list[str]:
        """Whole files in a folder, sorted; none when the folder is missing. What a killed writer left is no file."""
        found = self.fs.get_file_info(pafs.FileSelector(self.path(folder), allow_not_found=True))
        whole = (info for info in found if info.type == pafs.FileType.File and info.extension != "tmp")
        return sorted(f"{folder}/{info.base_name}" for info in whole)

    def folders(self, folder: str) -> list[str]:
        """Folders in a folder, sorted."""
        found = self.fs.get_file_info(pafs.FileSelector(self.path(folder), allow_not_found=True))
        return sorted(f"{folder}/{info.base_name}" for info in found if info.type == pafs.FileType.Directory)

    def delete(self, name: str) -> None:
        if self.exists(name):
            self.fs.delete_file(self.path(name))

    def delete_all(self, folder: str) -> None:
        """Every whole file in a folder."""
        for name in self.names(folder):
            self.delete(name)

    def write_table(self, name: str, table: pa.Table, ours: Callable[[], None] = lambda: None) -> None:
        """zstd Parquet, there whole or not at all; `ours` is asked at the last moment, and what it raises leaves the file as it
        was."""

        def body(target: str) -> None:
            pq.write_table(
                table,
                target,
                filesystem=self.fs,
                compression="zstd",
                compression_level=1,
                row_group_size=ROW_GROUP_ROWS,
                write_page_checksum=True,
            )

        self._replace(name, body, ours)

    def write_bytes(self, name: str, data: bytes, ours: Callable[[], None] = lambda: None) -> None:
        """A file, there whole or not at all; `ours` as above."""

        def body(target: str) -> None:
            with self.fs.open_output_stream(target) as out:
                out.write(data)

        self._replace(name, body, ours)

    def read_bytes(self, name: str) -> bytes:
        with _found(name), self.fs.open_input_stream(self.path(name)) as stream:
            return bytes(stream.read())

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        with self.open_parquet(name) as file:  # not pq.read_table: it loads the dataset library, 10 MB of memory
            return file.read(columns=columns)

    def sound_table(self, name: str, columns: list[str] | None = None) -> pa.Table | None:
        """`read_table` for what can be done without: None, and a line in the log, where the file is gone or broken. Raises
        where it is the store that fails."""
        try:
            return self.read_table(name, columns)
        except Missing:
            return None
        except (pa.ArrowException, OSError) as error:
            self.read_bytes(name)
            log.warning("%s is broken and left out: %s", name, error)
            return None

    def open_parquet(self, name: str) -> pq.ParquetFile:
        """Reading it raises where a page is not as it was written."""
        with _found(name):
            return pq.ParquetFile(self.path(name), filesystem=self.fs, page_checksum_verification=True)

    @contextmanager
    def parquet_writer(
        self, name: str, schema: pa.Schema, ours: Callable[[], None] = lambda: None
    ) -> Iterator[pq.ParquetWriter]:
        """A file written piece by piece; it appears under its name only when all of it is there; `ours` as above."""
        target = self._staging(name) if self.local else f"{self.path(name)}.{secrets.token_hex(4)}.tmp"
        with _said(self.path(name)):
            try:
                with pq.ParquetWriter(
                    target,
                    schema,
                    filesystem=self.fs,
                    compression="zstd",
                    compression_level=1,
                    write_page_checksum=True,
                ) as out:
                    yield out
                self._publish(target, name, ours)
            except BaseException:
                self._discard(target)
                raise

    def _replace(self, name: str, body: Callable[[str], None], ours: Callable[[], None]) -> None:
        target = self._staging(name)
        with _said(self.path(name)):
            try:
                if not self.local:  # an object is there once it is written
                    ours()
                body(target)
                self._publish(target, name, ours)
            except BaseException:
                self._discard(target)
                raise

    def _discard(self, target: str) -> None:
        """On an object store closing a stream completes its object, so only a staged one may go."""
        if self.local:
            Path(target).unlink(missing_ok=True)
        elif target.endswith(".tmp"):
            self.fs.delete_file(target)

    def _staging(self, name: str) -> str:
        if not self.local:
            return self.path(name)  # an object appears when its upload is complete
        final = Path(self.path(name))
        with _said(str(final.parent)):
            final.parent.mkdir(parents=True, exist_ok=True)
        # Not by the process' number: on two hosts, or in two containers, processes have the same one.
        return f"{final}.{secrets.token_hex(4)}.tmp"

    def _publish(self, target: str, name: str, ours: Callable[[], None]) -> None:
        if self.local:
            fd = os.open(target, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            ours()
            Path(target).replace(self.path(name))
        elif target != self.path(name):
            ours()
            self.fs.move(target, self.path(name))


@contextmanager
def _found(name: str) -> Iterator[None]:
    """Missing where the file is not there."""
    try:
        yield
    except FileNotFoundError:
        raise Missing(f"{name} is not there") from None


@contextmanager
def _said(what: str, doing: str = "write") -> Iterator[None]:
    """Turns an operating system's refusal into one line with the remedy."""
    try:
        yield
    except OSError as error:
        remedy = {
            errno.ENOSPC: "the disk is full: free space and run the same command again",
            errno.EACCES: "no permission: check the owner of the data root",
            errno.ENOTDIR: "a file stands where a folder is needed: move it away, or choose another --data",
            errno.EEXIST: "a file stands where a folder is needed: move it away, or choose another --data",
            errno.EROFS: "the file system is read-only: choose another --data",
        }.get(error.errno or 0, "check the data root (--data)")
        raise StoreError(f"cannot {doing} {what}: {error.strerror or error}; {remedy}") from None
