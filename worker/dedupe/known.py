"""What a client has asked before: the duplicate index over its open runs and its ended runs within `reuse_for`.

Held by the one worker that prepares the client's runs, and nothing but a cache: all of it is read again from chunk parts,
below the runs' cursors, and from the results of ended runs. What is broken there is left out: its prompts are asked again.
Blocking, but for `learned`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import itemgetter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import paths
from worker.dedupe import answered
from worker.dedupe.ended import ended_since
from worker.dedupe.index import DuplicateIndex, Screened
from worker.dedupe.lost import find_again
from worker.store import Store

SMALL, MERGED_RUNS = 2_048, 64
"""So many runs of fewer rows become one file."""

Parts = Iterator[tuple[str, pa.Table]]
"""Runs and what they hold, a piece at a time."""


class Known:
    """`reuse_ms` says for each route how long an ended run's answers are reused; `alone` names a run that starts afresh."""

    def __init__(
        self, store: Store, client: str, index: DuplicateIndex, reuse_ms: Mapping[str, int], alone: str | None = None
    ) -> None:
        self.index = index
        self._store, self._client, self._reuse_ms, self._alone = store, client, reuse_ms, alone
        self._open: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._rows: dict[str, int] = {}
        self._merged: dict[str, answered.Runs] = {}
        self._synced_ms = 0

    def learned(self, run_id: str, rows: int, screened: Screened | None) -> None:
        """A chunk of ours was committed; `rows` is the cursor's row behind it."""
        if screened is not None:
            self.index.commit(screened, run_id)
        self._open[run_id] = self._rows[run_id] = rows

    def sync(self, open_rows: Mapping[str, int], now_ms: int) -> None:
        """Takes and forgets what others did meanwhile; `open_rows` are the client's open runs and their cursors' rows."""
        marked, merged = ({}, {}) if self._alone else self._recent(now_ms)
        ended = {run: when for run, when in {**merged, **marked}.items() if run not in open_rows}
        self._forget(open_rows, ended, now_ms)
        new = {run: when for run, when in ended.items() if run not in self._ended}
        self.index.restore_all(self._unknown(open_rows, new, marked, now_ms))
        self._ended |= {run: self._until_ms(when, now_ms) for run, when in new.items()}
        ahead = {run: rows for run, rows in self._mine(open_rows).items() if rows > self._open.get(run, 0)}
        self._open |= ahead
        self._rows |= ahead
        self._synced_ms = now_ms
        self._merge(
            [(when, run) for run, when in marked.items() if self._rows.get(run, SMALL) < SMALL and run in ended]
        )

    def _forget(self, open_rows: Mapping[str, int], ended: Mapping[str, int], now_ms: int) -> None:
        """Runs that are too old, that go on, or that ended with prompts that were not answered. And open ones of which Redis
        forgot chunks: their rows come again, and would be taken for duplicates of themselves."""
        stale = {run for run, until_ms in self._ended.items() if run not in ended or until_ms <= now_ms}
        left = {run for run in self._open if run not in open_rows and not (run in ended and self._all_good(run))}
        set_back = {run for run, rows in self._open.items() if rows > open_rows.get(run, rows)}
        if stale or left or set_back:
            self.index.forget(frozenset(stale | left | set_back))
        for run in set(self._open) - open_rows.keys() - left:
            self._ended[run] = self._until_ms(ended[run], now_ms)
        self._open = {run: rows for run, rows in self._open.items() if run in open_rows and run not in set_back}
        self._ended = {run: until_ms for run, until_ms in self._ended.items() if run not in stale}
        self._rows = {run: rows for run, rows in self._rows.items() if run in open_rows or run in ended}

    def _merge(self, small: list[tuple[int, str]]) -> None:
        """Many small runs become one file, so that the next holder need not open each of them."""
        if len(small) >= MERGED_RUNS:
            name = answered.merge(self._store, self._client, sorted(small), self._answered)
            self._merged[name] = answered.runs_of(self._store, name)

    def _recent(self, now_ms: int) -> tuple[answered.Runs, answered.Runs]:
        """The client's ended runs: those with a name of their own, newest first, and those in merged files."""
        since_ms = now_ms - max(self._reuse_ms.values(), default=0)
        find_again(self._store, since_ms, now_ms)
        names = answered.merged_since(self._store, self._client, since_ms)
        self._merged = {
            name: self._merged[name] if name in self._merged else answered.runs_of(self._store, name) for name in names
        }
        merged = {run: when for runs in self._merged.values() for run, when in runs.items() if when > since_ms}
        return {run: when for when, run in ended_since(self._store, self._client, since_ms)}, merged

    def _until_ms(self, when_ms: int, now_ms: int) -> int:
        """When the next route's answers of a run become too old."""
        left = [when_ms + keep for keep in self._reuse_ms.values() if when_ms + keep > now_ms]
        return min(left, default=now_ms)

    def _mine(self, open_rows: Mapping[str, int]) -> Mapping[str, int]:
        """The open runs that are looked into."""
        return {run: rows for run, rows in open_rows.items() if self._alone in (None, run)}

    def _unknown(self, open_rows: Mapping[str, int], ended: answered.Runs, marked: answered.Runs, now_ms: int) -> Parts:
        """What the index has not seen yet, newest first; read as it is asked for."""
        for run, rows in sorted(self._mine(open_rows).items(), reverse=True):
            yield from self._of_open(run, rows)
        sources = [(when, self._of_ended(run, when, now_ms)) for run, when in ended.items() if run in marked]
        for name, runs in self._merged.items():
            wanted = {run: when for run, when in ended.items() if run in runs and run not in marked}
            if wanted:
                sources.append((max(wanted.values()), self._of_merged(name, wanted, now_ms)))
        for when, parts in sorted(sources, key=itemgetter(0), reverse=True):
            if when > self._synced_ms or not self.index.full:  # what did not fit before would push out what is newer
                yield from parts

    def _of_open(self, run: str, rows: int) -> Parts:
        for name in reversed(self._store.names(paths.chunks_dir(run))):
            new = self._open.get(run, 0) <= paths.first_row(name) < rows
            if new and (table := self._store.sound_table(name, columns=self.index.needs)) is not None:
                yield run, table

    def _of_ended(self, run: str, when_ms: int, now_ms: int) -> Parts:
        rows, good = 0, self._answered(run)
        for name in reversed(self._store.names(paths.chunks_dir(run))):
            table = self._store.sound_table(name, columns=["route", *self.index.needs])
            if table is None:
                continue
            rows += table.num_rows
            table = table.filter(pa.array(np.isin(table["row"].to_numpy(), good)))
            yield run, self._young(table, when_ms, now_ms)
        self._rows[run] = rows

    def _of_merged(self, name: str, runs: answered.Runs, now_ms: int) -> Parts:
        for run, table in answered.tables_of(self._store, name, runs, ["route", *self.index.needs]):
            yield run, self._young(table, runs[run], now_ms)

    def _young(self, table: pa.Table, when_ms: int, now_ms: int) -> pa.Table:
        """Only the rows whose route still reuses answers of that time."""
        routes = [route for route, keep in self._reuse_ms.items() if when_ms + keep > now_ms]
        return table.filter(pc.is_in(table["route"], value_set=pa.array(routes, pa.string())))

    def _answered(self, run: str) -> np.ndarray:
        """Rows of an ended run that were asked and answered."""
        table = self._store.sound_table(paths.results(run), columns=["row", "status"])
        if table is None:
            return np.empty(0, np.int64)
        rows: np.ndarray = table.filter(pc.equal(table["status"], "ok"))["row"].to_numpy()
        return rows

    def _all_good(self, run: str) -> bool:
        """Whether every prompt of an ended run was answered."""
        table = self._store.sound_table(paths.results(run), columns=["status"])
        return table is not None and set(pc.unique(table["status"]).to_pylist()) <= {"ok", "duplicate", "invalid"}
