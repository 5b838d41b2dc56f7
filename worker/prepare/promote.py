"""Followers that become work of their own: their rows are read again from the source, cut into batches, committed once."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pipelines import paths, wire
from pipelines.audit import Reuse, asked_rows
from pipelines.errors import SourceError
from worker.chunks import Part, in_order
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

    def __init__(self, store: Store, sifter: Sifter, asker: Asker, reader: Reader) -> None:
        self._store, self._sifter, self._asker, self._reader = store, sifter, asker, reader
        self._names: list[str] = []
        self._parts: list[Part] = []

    def followers(self, rows: list[int], generation: int) -> Chunk:
        """Batches of these rows, which nobody answered; SourceError when they cannot be read any more."""
        chunk = Chunk({}, [], Counter(asked=len(rows), duplicate=-len(rows)), Counter())
        self._cut(rows, generation, chunk, "p", "answer")
        return chunk

    def audits(self, reused: Sequence[Reuse], generation: int) -> Chunk:
        """Batches of audit calls; a row that is asked twice is in two. SourceError as above."""
        chunk = Chunk({}, [], Counter(), Counter())
        for mark, rows in zip(("a", "aa"), asked_rows(reused), strict=True):
            self._cut(rows, generation, chunk, mark, "audit")
        chunk.counts["audit_open"] = len(chunk.batches)
        return chunk

    def _cut(self, rows: list[int], generation: int, chunk: Chunk, mark: str, purpose: str) -> None:
        """On the routes that the rows were given."""
        asked = []
        for name, wanted in self._by_chunk(rows).items():
            found, routes = rows_of(self._store, self._reader, name, wanted)
            asked += self._sifter.ask_again(self._asker, found, routes)
        if asked:
            self._sifter.cut(self._asker, asked, generation, rows[0], chunk, mark=mark, purpose=purpose)

    def _by_chunk(self, rows: list[int]) -> dict[str, set[int]]:
        names = self._store.names(paths.chunks_dir(self._asker.id))
        if names != self._names:
            self._names, self._parts = names, in_order(self._store, self._asker.id)
        firsts = [part.first for part in self._parts]
        found: dict[str, set[int]] = defaultdict(set)
        for row in rows:
            found[self._parts[bisect_right(firsts, row) - 1].name].add(row)
        return found


class Promoters:
    """Beside the preparer, for the runs that it prepares."""

    def __init__(self, context: Context, sifter: Sifter) -> None:
        self._context, self._sifter = context, sifter

    async def ask(self, run_id: str, asker: Asking) -> bool:
        """Asks some of the wanted followers; those that cannot be read any more share their leader's fate."""
        context, keys = self._context, self._context.keys
        states = await context.redis.hgetall(keys.promoted(run_id))
        rows = sorted(int(row) for row, state in states.items() if state == b"w")[:MOST_ROWS]
        if not rows:
            return False
        try:
            promoter, generation = await self._promoter(run_id, asker)
            chunk = await asyncio.to_thread(promoter.followers, rows, generation)
        except SourceError as error:
            log.warning("run %s: %d followers cannot be asked: %s", run_id, len(rows), error)
            await context.scripts.unasked(keys=[keys.promoted(run_id), keys.run(run_id)], args=rows)
            return True
        counters = [part for item in sorted(chunk.counts.items()) for part in item]
        batch_names, batch_args = batch_arguments(keys, chunk)
        names = [keys.run(run_id), keys.waiting(run_id), keys.wake, keys.promoted(run_id), *batch_names]
        args = [len(rows), *rows, len(counters) // 2, *counters, *batch_args]
        return await self._committed("ask", names, args)

    async def audit(self, run_id: str, asker: Asking) -> bool:
        """Asks the reuses that were chosen for it, and what they are compared with; none if they cannot be read any more."""
        context, keys = self._context, self._context.keys
        plan = await context.redis.hget(keys.run(run_id), "audit")
        reused = [Reuse(*each) for each in wire.load(plan or b"[]")]
        try:
            promoter, generation = await self._promoter(run_id, asker)
            chunk = await asyncio.to_thread(promoter.audits, reused, generation)
        except SourceError as error:
            log.warning("run %s: its reuses cannot be audited: %s", run_id, error)
            chunk = Chunk({}, [], Counter(), Counter())
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
        return Promoter(self._context.store, self._sifter, *await asker(run_id)), int(generation or 0)


def batch_arguments(keys: wire.Keys, chunk: Chunk) -> tuple[list[str], list[Any]]:
    """A chunk's batches as the scripts that commit them take them: keys, then id, score, head and payload of each."""
    names = [keys.batch(head.id) for head, _ in chunk.batches]
    each = [
        (head.id, head.cloud_pusd / max(head.work, 1e-9), wire.pack_head(head), load) for head, load in chunk.batches
    ]
    return names, [part for arguments in each for part in arguments]
