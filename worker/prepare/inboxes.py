"""Inbox runs, whose source grows segment by segment while small submissions come in: which segments there are, and that the
end of one is certain before it is taken for the end.

A segment is a file under the data root, named in Redis once it is written. A run that takes no more is given every segment
on the disk, so that a Redis which forgot its last seconds loses none of those that were acknowledged.
"""

from __future__ import annotations

import asyncio
import io

from pipelines import files, paths, wire
from pipelines.types import Source
from worker.context import Context
from worker.sources.source import Cursor
from worker.store import Store

SEALED = b"sealed"


class Inboxes:
    """Of every open run."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def sources(self, run_id: str) -> tuple[Source, ...]:
        """The segments by now."""
        raw = await self._context.redis.hget(self._context.keys.run(run_id), "sources")
        return wire.unpack_sources(raw or b"[]")

    async def readable(
        self, run_id: str, cursor: bytes, at: Cursor, inbox: bytes
    ) -> tuple[tuple[Source, ...] | None, bool]:
        """The segments that the chunk at a cursor may read, the same for everybody who ever writes that chunk; and whether
        they are all that there will be. None while there is nothing new. `inbox` was read before."""
        sources = await self.sources(run_id)
        if inbox != SEALED and at.source >= len(sources):
            return None, False
        keys = [self._context.keys.run(run_id)]
        count = int(await self._context.scripts.upto(keys=keys, args=[cursor, len(sources)]))
        return (sources[:count], inbox == SEALED and count == len(sources)) if count >= 0 else (None, False)

    async def seal(self, run_id: str) -> bool:
        """True once nothing can be added any more: `sources` are then all that there will be. False while it is open."""
        keys, scripts = [self._context.keys.run(run_id)], self._context.scripts
        if not await scripts.seal(keys=keys, args=["", 0]):
            return False
        known = await self.sources(run_id)
        found = await asyncio.to_thread(segments, self._context.store, run_id, known)
        cut_at = await self._context.redis.hget(keys[0], "cut_at")
        found = found[: int(cut_at)] if cut_at else found
        return bool(await scripts.seal(keys=keys, args=[wire.pack_sources(found), len(found)]))


def segments(store: Store, run_id: str, known: tuple[Source, ...] = ()) -> tuple[Source, ...]:
    """`known` and what is on the disk behind them. Blocking."""
    names = store.names(paths.inbox_dir(run_id))
    return known + tuple(_source(store, name) for name in names[len(known) :])


def _source(store: Store, name: str) -> Source:
    content = store.read_bytes(name)
    return Source(store.path(name), "jsonl", "", len(content), 0, files.digest(io.BytesIO(content), len(content)))
