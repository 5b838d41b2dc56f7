"""Followers that become work of their own: their rows are read again from the source, cut into batches, committed once."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pipelines import wire
from pipelines.audit import Reuse, asked_rows
from pipelines.errors import SourceError
from pipelines.types import Row
from worker.chunks import Layout
from worker.context import Context
from worker.prepare.chunk import Chunk
from worker.prepare.redo import rows_of
from worker.prepare.sift import Asker, Sifter
from worker.sources.source import Reader
from worker.store import Store

log = logging.getLogger("spillway.promote")

MOST_ROWS = 512
"""Rows that are read and committed in one step."""
Asking = Callable[[str], Awaitable[tuple[Asker, Reader]]]
"""Who asks in a run, and its source."""


class Promoter:
    """Of one run; blocking, to be run in a thread."""

    def __init__(self, store: Store, sifter: Sifter, asker: Asker, reader: Reader, layout: Layout) -> None:
        self._store, self._sifter, self._asker, self._reader = store, sifter, asker, reader
        self._layout = layout

    def followers(self, rows: list[int], generation: int) -> tuple[Chunk, list[int]]:
        """Batches of these rows, which nobody answered, and which of them these are: others cannot be read any more."""
        chunk = Chunk({}, [], Counter(), Counter())
        asked = self._cut(rows, generation, chunk, "p", "answer")
        chunk.counts.update(asked=len(asked), duplicate=-len(asked))
        return chunk, asked

    def audits(self, reused: Sequence[Reuse], generation: int) -> Chunk:
        """Batches of audit calls for what can still be read; a row that is asked twice is in two."""
        chunk = Chunk({}, [], Counter(), Counter())
        for mark, rows in zip(("a", "aa"), asked_rows(reused), strict=True):
            self._cut(rows, generation, chunk, mark, "audit")
        chunk.counts["audit_open"] = len(chunk.batches)
        return chunk

    def _cut(self, rows: list[int], generation: int, chunk: Chunk, mark: str, purpose: str) -> list[int]:
        """On the routes that the rows were given; the rows that could be read."""
        asked = []
        for name, wanted in self._by_chunk(rows).items():
            found, routes = self._read(name, sorted(wanted))
            asked += self._sifter.ask_again(self._asker, found, routes)
        if asked:
            self._sifter.cut(self._asker, asked, generation, rows[0], chunk, mark=mark, purpose=purpose)
        return [each.item.row for each in asked]

    def _read(self, name: str, wanted: list[int]) -> tuple[list[Row], list[str]]:
        """Of some rows of a chunk those before the first that cannot be read any more: behind it there is no way."""
        try:
            return rows_of(self._store, self._reader, name, set(wanted))
        except SourceError as error:
            log.warning("run %s: not all rows can be asked: %s", self._asker.id, error)
        count = bisect_left(range(1, len(wanted)), True, key=lambda count: self._is_gone(name, wanted[count - 1]))
        return rows_of(self._store, self._reader, name, set(wanted[:count]))

    def _is_gone(self, name: str, row: int) -> bool:
        try:
            rows_of(self._store, self._reader, name, {row})
        except SourceError:
            return True
        return False

    def _by_chunk(self, rows: list[int]) -> dict[str, set[int]]:
        parts = self._layout.parts()
        firsts = [part.first for part in parts]
        found: dict[str, set[int]] = defaultdict(set)
        for row in rows:
            found[parts[bisect_right(firsts, row) - 1].name].add(row)
        return found


class Promoters:
    """Beside the preparer, for the runs that it prepares."""

    def __init__(self, context: Context, sifter: Sifter) -> None:
        self._context, self._sifter = context, sifter
        self._layouts: dict[str, Layout] = {}

    def keep(self, run_ids: set[str]) -> None:
        """Forgets the runs that are not open any more."""
        self._layouts = {run: layout for run, layout in self._layouts.items() if run in run_ids}

    async def ask(self, run_id: str, asker: Asking) -> bool:
        """Asks some of the wanted followers; those that cannot be read any more share their leader's fate."""
        context, keys = self._context, self._context.keys
        states = await context.redis.hgetall(keys.promoted(run_id))
        wanted = sorted(int(row) for row, state in states.items() if state == b"w")[:MOST_ROWS]
        if not wanted:
            return False
        promoter, generation = await self._promoter(run_id, asker)
        chunk, rows = await asyncio.to_thread(promoter.followers, wanted, generation)
        if gone := sorted(set(wanted) - set(rows)):
            log.warning("run %s: %d followers cannot be asked", run_id, len(gone))
            await context.scripts.unasked(keys=[keys.promoted(run_id), keys.run(run_id)], args=gone)
        if not rows:
            return True
        counters = [part for item in sorted(chunk.counts.items()) for part in item]
        batch_names, batch_args = batch_arguments(keys, chunk)
        names = [keys.run(run_id), keys.waiting(run_id), keys.wake, keys.promoted(run_id), *batch_names]
        args = [len(rows), *rows, len(counters) // 2, *counters, *batch_args]
        return await self._committed("ask", names, args)

    async def audit(self, run_id: str, asker: Asking) -> bool:
        """Asks the reuses that were chosen for it, and what they are compared with, as far as they can still be read."""
        context, keys = self._context, self._context.keys
        plan = await context.redis.hget(keys.run(run_id), "audit")
        reused = [Reuse(*each) for each in wire.load(plan or b"[]")]
        promoter, generation = await self._promoter(run_id, asker)
        chunk = await asyncio.to_thread(promoter.audits, reused, generation)
        counters = [part for item in sorted(chunk.counts.items()) for part in item]
        names, arguments = batch_arguments(keys, chunk)
        names = [keys.run(run_id), keys.waiting(run_id), keys.wake, *names]
        return await self._committed("audit", names, [len(counters) // 2, *counters, *arguments])

    async def _committed(self, script: str, names: list[str], args: list[Any]) -> bool:
        """Compared before anything moves, so it may be said again to a Redis that forgot it."""
        committed = bool(await getattr(self._context.scripts, script)(keys=names, args=args))
        if committed:
            self._context.again.remember_step(script, names, args)
        return committed

    async def _promoter(self, run_id: str, asker: Asking) -> tuple[Promoter, int]:
        """One of this step's own, with the sources that the run has by now, and the run's generation."""
        generation = await self._context.redis.hget(self._context.keys.run(run_id), "generation")
        store = self._context.store
        layout = self._layouts.setdefault(run_id, Layout(store, run_id))
        return Promoter(store, self._sifter, *await asker(run_id), layout), int(generation or 0)


def batch_arguments(keys: wire.Keys, chunk: Chunk) -> tuple[list[str], list[Any]]:
    """A chunk's batches as the scripts that commit them take them: keys, then id, score, head and payload of each."""
    names = [keys.batch(head.id) for head, _ in chunk.batches]
    each = [
        (head.id, head.cloud_pusd / max(head.work, 1e-9), wire.pack_head(head), load) for head, load in chunk.batches
    ]
    return names, [part for arguments in each for part in arguments]
