"""What is known without Redis of a data root, a local folder or an object-store URL, and of its runs: `runs/<id>.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from pipelines import paths, performance, wire
from pipelines.errors import StoreError
from pipelines.performance import Performance
from producer.store import Store

PERFORMANCE_BYTES = 16 << 20

NOBODYS = "nobodys"
"""The id of a run that never is: to look for instead of somebody else's takes as long as to look for one that is not there."""


class Records:
    """The records of one data root."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.store = Store(root)

    def path(self, name: str) -> str:
        """Where a file of the data root is."""
        return self.store.path(name)

    def write(self, run_id: str, record: dict[str, Any]) -> None:
        """There whole or not at all; StoreError with the remedy."""
        self._write(paths.run_record(run_id), record)

    def _write(self, name: str, value: dict[str, Any]) -> None:
        with self.store.create(name) as out:
            out.write(wire.dump(value))

    def _read(self, name: str) -> Any:
        """What a JSON file holds; FileNotFoundError, StoreError, or ValueError for what is no JSON."""
        with self.store.open(name) as stream:
            return wire.load(bytes(stream.read()))

    def read(self, run_id: str) -> dict[str, Any] | None:
        """A run's record; None when there is none, or it is not one."""
        if not paths.is_run_id(run_id):
            return None
        try:
            record = self._read(paths.run_record(run_id))
        except (OSError, StoreError, ValueError, RecursionError):
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
        self.store.delete(paths.run_record(run_id))

    def rehearsal(self) -> str | None:
        """The scenario that is rehearsed in this data root; None in one of real runs."""
        try:
            mark = self._read(paths.rehearsal())
        except (ValueError, RecursionError):
            mark = None  # damaged, and still a mark
        except (OSError, StoreError):
            return None
        return str(mark.get("scenario", "")) if isinstance(mark, dict) else ""

    def mark_rehearsal(self, scenario: str) -> None:
        """Says that stand-in servers answer here."""
        self._write(paths.rehearsal(), {"scenario": scenario})

    def performance(self) -> Performance:
        """What was measured of local models; ConfigError when the file is not ours."""
        try:
            with self.store.open(paths.performance()) as stream:
                return performance.read(bytes(stream.read(PERFORMANCE_BYTES)))
        except FileNotFoundError:
            return performance.read(None)

    def write_performance(self, found: Performance) -> None:
        with self.store.create(paths.performance()) as out:
            out.write(msgspec.json.format(msgspec.json.encode(found)) + b"\n")

    def ids(self) -> list[str]:
        """Every run with a record, newest first (ids begin with their time)."""
        names = self.store.names("runs")
        return sorted((name.removesuffix(".json") for name in names if name.endswith(".json")), reverse=True)

    def has_parts(self, run_id: str) -> bool:
        """Whether anything of a run has been settled."""
        return any(name.endswith(".parquet") for name in self.store.names(paths.parts_dir(run_id)))

    def with_fingerprint(self, fingerprint: str, known: Iterable[str]) -> dict[str, Any] | None:
        """The newest run of that fingerprint that Redis, which knows `known`, has lost."""
        skip = set(known)
        for run_id in self.ids():
            record = self.read(run_id) if run_id not in skip else None
            if record and record.get("fingerprint") == fingerprint:
                return record
        return None
