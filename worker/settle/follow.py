"""A run's links as its chunk parts hold them, beside how their leaders ended: what must be asked, what is copied.

Blocking: everything here belongs into a thread. Which rows are due is pipelines/follow.py's matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.follow import ALONE, CLOSED, FELL, KINDS, NONE, OK, Links, due, substitutes, takers, twin
from worker.chunks import Layout
from worker.settle.answers import Answers
from worker.store import Store

COLUMNS = ["row", "leader_row", "leader_run", "link_kind", "route", "link_key"]
"""The last one is not in older parts."""
Over = Mapping[str, NDArray[np.int64]]
"""Other runs that nobody waits for any more, by rows of theirs that are waited for all the same."""
ALL = np.empty(0, np.int64)
"""Of an Over: none is."""
FEW = 10_000
"""Followers that are asked at once: their names stand in Redis until they are settled."""


class Again(NamedTuple):
    """A run's generation, and with which ends of earlier ones rows are asked again in it."""

    generation: int = 0
    statuses: Sequence[str] = ()


class LinkTable:
    """The links of some chunk parts; `runs[0]` is the followers' own run."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self.runs = [run_id]
        self.routes: list[str] = []
        self._parts: list[Links] = []
        self._routes: list[NDArray[np.uint16]] = []
        self._read: set[str] = set()

    def read(self, names: Iterable[str]) -> bool:
        """Takes the chunk parts that were not read yet; whether there were any links in them."""
        before = len(self._parts)
        for name in names:
            if name not in self._read:
                self._read.add(name)
                table = self._store.read_table(name, columns=COLUMNS)
                table = table.filter(pc.is_valid(table["leader_row"]))
                if table.num_rows:
                    self._parts.append(self._links(table))
                    self._routes.append(self._numbers(table["route"].to_pylist()))
        return len(self._parts) > before

    @property
    def links(self) -> Links:
        if len(self._parts) > 1:
            self._parts = [Links(*(np.concatenate(columns) for columns in zip(*self._parts, strict=True)))]
        if not self._parts:
            rows = np.empty(0, np.int64)
            return Links(rows.astype(np.int32), rows, rows, rows.astype(np.uint8), rows.astype(np.uint64))
        return self._parts[0]

    @property
    def route(self) -> NDArray[np.uint16]:
        """Of each link the number of its route."""
        self._routes = [np.concatenate([*self._routes, np.empty(0, np.uint16)])]
        return self._routes[0]

    def _numbers(self, routes: list[str | None]) -> NDArray[np.uint16]:
        self.routes += sorted({route or "" for route in routes} - set(self.routes))
        number = {route: at for at, route in enumerate(self.routes)}
        return np.array([number[route or ""] for route in routes], np.uint16)

    def _links(self, table: pa.Table) -> Links:
        runs, count = table["leader_run"].to_pylist(), table.num_rows
        rows = table["row"].to_numpy()
        kinds = [KINDS.get(kind, ALONE) for kind in table["link_kind"].to_pylist()]
        keys = table["link_key"].to_pylist() if "link_key" in table.column_names else [None] * count
        return Links(
            np.fromiter((self._number(run) for run in runs), np.int32, count),
            table["leader_row"].to_numpy(),
            rows,
            np.array(kinds, np.uint8),
            np.fromiter(map(twin, kinds, rows.tolist(), keys), np.uint64, count),
        )

    def _number(self, run: str | None) -> int:
        if run is None or run == self.runs[0]:
            return 0
        if run not in self.runs:
            self.runs.append(run)
        return self.runs.index(run)


class Following:
    """The links of a run under way, and what has become of their leaders."""

    def __init__(self, store: Store, run_id: str) -> None:
        self.run_id = run_id
        self._store = store
        self._layout = Layout(store, run_id)
        self._table = LinkTable(store, run_id)
        self._answers = {run_id: Answers(store, run_id)}
        self._unread: dict[
            int, NDArray[np.int64]
        ] = {}  # by generation, that of the last look alone: rows that cannot be asked
        self.lent = 0
        """Followers of other runs' rows that have an answer, at the last look."""

    @property
    def others(self) -> Sequence[str]:
        """The other runs whose answers are waited for."""
        return self._table.runs[1:]

    @property
    def borrowed(self) -> int:
        """Followers of other runs' rows."""
        return int((self._table.links.run > 0).sum())

    def prepared(self, committed_rows: int) -> None:
        """Takes the links of the chunks that were prepared since the last look."""
        self._table.read(part.name for part in self._layout.parts(committed_rows))

    def answered(self, generation: int) -> None:
        """Takes what was settled since the last look, here and in the runs of other leaders. Who is asked again may be so because
        an answer there could not be read."""
        for run in self.others:
            self._answers.setdefault(run, Answers(self._store, run, ours=False, whole=generation > 0))
        for answers in self._answers.values():
            answers.read()

    def due(
        self, asked: dict[int, bytes], again: Mapping[str, Again], over: Over
    ) -> tuple[list[int], NDArray[np.intp]]:
        """Rows to ask now, and which links wait for another run.

        `asked` are the rows promoted already, but for those that are settled; `again` says of each run, this one too, which rows it asks again.
        """
        links, own = self._table.links, self._answers[self.run_id]
        leaders = self._ends(self.run_id, links.leader, again)
        for number, run in enumerate(self.others, start=1):
            of = links.run == number
            found = self._ends(run, links.leader[of], again)
            pending = np.isin(links.leader[of], over[run], invert=True) * np.uint8(FELL) if run in over else NONE
            leaders[of] = np.where(found == OK, OK, np.where((found == NONE) | (found == CLOSED), pending, FELL))
        followers = self._ends(self.run_id, links.follower, again)
        generation = again[self.run_id].generation
        # given up by an earlier end of the run, and asked no more
        left = (leaders == CLOSED) & ~own.since(links.leader, generation)
        leaders[left & own.again(links.follower, *again[self.run_id])] = FELL
        followers[(followers == CLOSED) & own.since(links.follower, generation)] = FELL
        followers[np.isin(links.follower, self._unread.get(generation, ()))] = FELL
        busy = np.isin(links.follower, list(asked))
        rows = due(links, leaders, followers, busy)
        unended = (followers == NONE) | (followers == CLOSED)
        self.lent = int(((links.run > 0) & (leaders == OK)).sum())
        waiting = np.flatnonzero((links.run > 0) & (leaders == NONE) & ~busy & unended)
        return rows[: max(0, FEW - len(asked))], waiting

    def would_ask(self, waiting: NDArray[np.intp], out: Over | None = None) -> Counter[str]:
        """Rows by route that these links would ask if nobody waited any more, one of equal ones; with `out` those alone whose leaders
        are among these rows."""
        links = self._table.links
        if out is not None:
            runs = [(number, out[run]) for number, run in enumerate(self.others, start=1) if run in out]
            among = [(links.run[waiting] == number) & np.isin(links.leader[waiting], rows) for number, rows in runs]
            waiting = waiting[np.logical_or.reduce(among)] if among else waiting[:0]
        counts = np.bincount(self._table.route[takers(links, waiting)], minlength=len(self._table.routes))
        return Counter(dict(zip(self._table.routes, counts.tolist(), strict=True)))

    def _ends(self, run: str, rows: NDArray[np.int64], again: Mapping[str, Again]) -> NDArray[np.uint8]:
        """How rows of a run ended; as long as they are to be asked again, or their leader is, that is not known yet."""
        found = self._answers[run].status(rows)
        found[self._answers[run].again(rows, *again.get(run, Again()))] = NONE
        return found

    def settled(self, asked: Mapping[int, bytes], generation: int) -> list[int]:
        """Which of the rows promoted in this generation need not be named any more: they have ended, or cannot be read, which is
        kept here."""
        rows = np.array(sorted(asked), np.int64)
        unread = np.array([row for row, state in asked.items() if state == b"x"], np.int64)
        self._unread = {generation: np.union1d(self._unread.get(generation, unread), unread)}
        done: list[int] = rows[self._answers[self.run_id].since(rows, generation) | np.isin(rows, unread)].tolist()
        return done


class Copies:
    """Whose answer goes to whom at a run's end: per run of the leaders, leader rows (sorted) and their followers."""

    def __init__(self, store: Store, run_id: str, chunks: Sequence[str], parts: Sequence[str]) -> None:
        table = LinkTable(store, run_id)
        table.read(chunks)
        links = table.links
        self.of: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        for number, run in enumerate(table.runs):
            at = links.run == number
            leaders, followers = links.leader[at], links.follower[at]
            if number == 0:
                sources, served = substitutes(links, self._answered(store, parts, links.follower))
                leaders, followers = np.concatenate([leaders, sources]), np.concatenate([followers, served])
            order = np.lexsort((followers, leaders))
            self.of[run] = leaders[order], followers[order]

    @staticmethod
    def _answered(store: Store, parts: Sequence[str], followers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Followers that were asked themselves, and answered."""
        if not len(followers):
            return np.empty(0, np.int64)
        follows = np.zeros(int(followers.max()) + 1, bool)
        follows[followers] = True
        found = [np.empty(0, np.int64)]
        for name in parts:
            table = store.read_table(name, columns=["row", "status"])
            rows = table.filter(pc.equal(table["status"], "ok"))["row"].to_numpy()
            rows = rows[rows < len(follows)]
            found.append(rows[follows[rows]])
        return np.unique(np.concatenate(found))


def best_last(answers: pa.Table) -> pa.Table:
    """Sorted by row, the one that speaks for its row last: an answer before a failure, its own before a copy, the last
    generation."""
    good, own = pc.equal(answers["status"], "ok"), pc.is_null(answers["leads"])
    keyed = answers.append_column("good", pc.cast(good, pa.int8())).append_column("own", pc.cast(own, pa.int8()))
    order = pc.sort_indices(keyed, [(name, "ascending") for name in ("row", "good", "own", "generation")])
    return answers.take(order)
