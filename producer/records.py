"""What is known of a run without Redis: `runs/<id>.json` under the data root, a local folder or an object-store URL."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines import paths, wire
from pipelines.errors import StoreError

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free space",
    errno.EACCES: "no permission: check the owner of the data root",
    errno.EPERM: "no permission: check the owner of the data root",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away, or choose another --data",
    errno.EEXIST: "a file stands where a folder is needed: move it away, or choose another --data",
    errno.EROFS: "the file system is read-only: choose another --data",
}


class Records:
    """The records of one data root."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._remote = "://" in root

    def path(self, name: str) -> str:
        """Where a file of the data root is."""
        return f"{self.root.rstrip('/')}/{name}" if self._remote else str(Path(self.root).resolve() / name)

    def write(self, run_id: str, record: dict[str, Any]) -> None:
        """There whole or not at all; StoreError with the remedy."""
        target = self.path(paths.run_record(run_id))
        try:
            if self._remote:
                self._write_remote(target, wire.dump(record))
            else:
                _write_local(Path(target), wire.dump(record))
        except OSError as error:
            raise unwritable(target, error) from None

    def read(self, run_id: str) -> dict[str, Any] | None:
        """A run's record; None when there is none, or it is not one."""
        if not paths.is_run_id(run_id):
            return None
        try:
            raw = self._read_bytes(self.path(paths.run_record(run_id)))
            record = wire.load(raw)
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and record.get("run_id") == run_id else None

    def reopen(self, run_id: str) -> None:
        """Says that an ended run goes on: nobody may take it for finished while Redis is not there to ask."""
        record = self.read(run_id)
        if record is not None:
            self.write(run_id, {**record, "status": "in_progress", "finished_ms": None, "summary": None})

    def close(self, run_id: str, status: str, finished_ms: int, summary: Mapping[str, Any] | None) -> None:
        """Says again how a run ended, when a command that reopened its record died before it told Redis."""
        record = self.read(run_id)
        if record is not None and record.get("status") != status:
            self.write(run_id, {**record, "status": status, "finished_ms": finished_ms, "summary": summary})

    def leave(self, run_id: str, seen: Mapping[str, Any]) -> None:
        """Notes how far a run had come when its command stopped following it."""
        record = self.read(run_id)
        if record is not None and not record.get("summary"):
            self.write(run_id, {**record, "seen": dict(seen)})

    def delete(self, run_id: str) -> None:
        if not self._remote:
            Path(self.path(paths.run_record(run_id))).unlink(missing_ok=True)

    def ids(self) -> list[str]:
        """Every run with a record, newest first (ids begin with their time)."""
        names = self._names("runs")
        return sorted((name.removesuffix(".json") for name in names if name.endswith(".json")), reverse=True)

    def has_parts(self, run_id: str) -> bool:
        """Whether anything of a run has been settled."""
        return any(name.endswith(".parquet") for name in self._names(paths.parts_dir(run_id)))

    def _names(self, folder: str) -> list[str]:
        where = self.path(folder)
        if not self._remote:
            return [path.name for path in Path(where).iterdir()] if Path(where).is_dir() else []
        from pyarrow import fs

        store, inside = fs.FileSystem.from_uri(where)
        return [info.base_name for info in store.get_file_info(fs.FileSelector(inside, allow_not_found=True))]

    def with_fingerprint(self, fingerprint: str, known: Iterable[str]) -> dict[str, Any] | None:
        """The newest run of that fingerprint that Redis, which knows `known`, has lost."""
        skip = set(known)
        for run_id in self.ids():
            record = self.read(run_id) if run_id not in skip else None
            if record and record.get("fingerprint") == fingerprint:
                return record
        return None

    def _read_bytes(self, target: str) -> bytes:
        if not self._remote:
            return Path(target).read_bytes()
        from pyarrow import fs

        store, where = fs.FileSystem.from_uri(target)
        with store.open_input_stream(where) as stream:
            return bytes(stream.read())

    def _write_remote(self, target: str, data: bytes) -> None:
        from pyarrow import fs

        store, where = fs.FileSystem.from_uri(target)
        with store.open_output_stream(where) as out:
            out.write(data)


def unwritable(target: str, error: OSError) -> StoreError:
    """One line for what the operating system refused."""
    remedy = _REMEDIES.get(error.errno or 0, "check the data root (--data)")
    return StoreError(f"cannot write {target}: {error.strerror or error}; {remedy}")


@contextmanager
def whole_file(target: Path, name: str) -> Iterator[Path]:
    """A path to write to; its file appears as `target` complete or not at all. `name` is what an error calls it."""
    staging = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield staging
        staging.replace(target)
    except OSError as error:
        raise unwritable(name, error) from None
    finally:
        with contextlib.suppress(OSError):
            staging.unlink()


def _write_local(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        with staging.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            staging.unlink()
        raise
