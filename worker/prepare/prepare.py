"""Reads the next chunk of a run's source, finds duplicates, assigns routes, cuts batches, commits exactly once.

Read top to bottom: `Preparer.step` picks a run, `_chunk` is the way of a chunk, sift.py the way of its rows.
The chunk part is written before the commit, and the commit compares the cursor: a worker that slept commits nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial
from typing import Any

import msgspec

from pipelines import paths, told, wire
from pipelines.errors import LeaseLost, SourceError
from worker.aside import Strikes
from worker.context import Context
from worker.dedupe.encode import Encoder
from worker.dedupe.known import Known
from worker.fence import fence
from worker.money.ledger import Ledger
from worker.prepare.ahead import HIGH_WATER_BYTES, HIGH_WATER_ROWS, ahead_rows
from worker.prepare.chunk import Chunk
from worker.prepare.clients import Clients
from worker.prepare.ids import Ids
from worker.prepare.inboxes import Inboxes
from worker.prepare.lost import Lost, remember
from worker.prepare.part import forget, from_row, rates_of, write
from worker.prepare.promote import Promoters, batch_arguments
from worker.prepare.published import paused, rows_per_s
from worker.prepare.redo import Redo
from worker.prepare.sift import Asker, Indexes, Sifter
from worker.queue import noted
from worker.sources.source import Cursor, Reader, template_of

log = logging.getLogger("spillway.prepare")

FIRST_ROWS, EMBEDDED_ROWS, CHUNK_ROWS = 256, 512, 2048
FIRST_BYTES, EMBEDDED_BYTES, CHUNK_BYTES = 256 << 10, 1 << 20, 8 << 20
"""Proofs and embedding take longest: smaller chunks keep the lanes fed meanwhile, and the first calls wait for the first chunk."""
REST_S = 0.1  # unless something arrives
FIELDS = (
    "prepared", "held_rows", "held_bytes", "blocked", "cancel", "client", "wanted", "audit_wanted", "out_rows", "out_bytes", "deadline_ms",
)  # fmt: skip
"""What is out is with a provider."""


class Progress(msgspec.Struct):
    """What this process holds of a run it prepares, up to `row`; thrown away whenever a commit is lost."""

    row: int
    asker: Asker
    reader: Reader
    indexes: Indexes
    known: Known | None
    embeds: bool
    fresh: bool
    forgotten: list[str]  # chunk parts at the cursor and beyond, of which a Redis that was killed knows nothing
    redo: Redo | None = None


class Waiting(msgspec.Struct, frozen=True):
    """A run that has something to prepare."""

    rows: int  # prepared and not answered; what has fewest comes first
    id: str
    client: str
    prepared: bool  # its source is read to the end, or Redis holds enough of it
    wanted: int  # followers that must be asked
    audits: int  # reuses that are to be audited
    timed: bool  # it has a deadline


class Preparer:
    """Prepares every open run of this Redis whose client nobody else prepares for."""

    def __init__(self, context: Context, ledger: Ledger, encoder: Encoder) -> None:
        self.context = context
        self._sifter = Sifter(context.settings, ledger, encoder, context.targets.window)
        self._clients = Clients(context, self._sifter, self._forget)
        self._progress: dict[str, Progress] = {}
        self._promoters = Promoters(context, self._sifter)
        self._lost, self._inboxes = Lost(context), Inboxes(context)
        self._strikes = Strikes(context, "prepare")

    async def step(self) -> None:
        """One chunk of the run that needs it most, or a short rest."""
        await self._lost.look()
        for run in await self._unprepared():
            try:
                worked = await self._clients.prepare(run.client, partial(self._work, run))
                self._strikes.fine(run.id)
                if worked:
                    return
            except SourceError as error:
                await self._fail(run.id, error)
            except LeaseLost:  # we slept: the chunk is somebody else's
                self._progress.pop(run.id, None)
            except Exception as error:
                self._progress.pop(run.id, None)
                await self._strikes.strike(run.id, error)
        await self.rest()
        await self.context.redis.blpop([self.context.keys.arrived], timeout=REST_S)

    async def rest(self, *, everything: bool = False) -> None:
        """Gives back the clients that had no work for a while."""
        await self._clients.rest(everything=everything)

    def _forget(self, client: str) -> None:
        """Somebody else may have prepared the client's runs meanwhile."""
        self._progress = {run: each for run, each in self._progress.items() if each.asker.client != client}

    async def _work(self, run: Waiting) -> bool:
        if run.wanted and await self._promoters.ask(run.id, self._asker):
            return True
        if run.audits and await self._promoters.audit(run.id, self._asker):
            return True
        return not run.prepared and await self._chunk(run.id)

    async def _fail(self, run_id: str, error: SourceError) -> None:
        """A source that cannot be read on ends the run: what was answered is kept, the rest is not guessed."""
        log.error("run %s: %s", run_id, error)
        self._progress.pop(run_id, None)
        ended = {"cancel": "failed", "status": "finalizing", "prepared": "1", "error": str(error)}
        args = noted(ended, seen={"prepared": "0"})  # else somebody else has read it to its end, or it is gone
        await self.context.scripts.note(keys=[self.context.keys.run(run_id)], args=args)

    async def _unprepared(self) -> list[Waiting]:
        """Open runs with source or followers left, below the high-water mark, each and together; fewest waiting rows first."""
        redis, keys = self.context.redis, self.context.keys
        ids = sorted(run.decode(errors="replace") for run in await redis.smembers(keys.open_runs))
        pipe = redis.pipeline(transaction=False)
        for run_id in ids:
            pipe.hmget(keys.run(run_id), *FIELDS)
        self._promoters.keep(set(ids))
        open_runs: list[Waiting] = []
        held_rows = held_bytes = 0
        for run_id, reply in zip(ids, await pipe.execute(raise_on_error=False), strict=True):
            try:
                if isinstance(reply, Exception):
                    raise reply
                prepared, held, size, blocked, cancel, client, wanted, audits, out, out_size, deadline = reply
                more = int(wanted or 0), int(audits or 0)
                rows, size_bytes = int(held or 0) - int(out or 0), int(size or 0) - int(out_size or 0)
            except Exception as error:
                await self._strikes.strike(run_id, error)
                continue
            if not blocked:
                held_rows, held_bytes = held_rows + rows, held_bytes + size_bytes
            ready = prepared == b"1" or (not cancel and (rows >= HIGH_WATER_ROWS or size_bytes >= HIGH_WATER_BYTES))
            if (not ready or (any(more) and not cancel)) and paths.is_run_id(run_id):
                name = (client or b"default").decode(errors="replace")
                open_runs.append(Waiting(0 if cancel else rows, run_id, name, ready, *more, bool(deadline)))
        rate = await self._rows_per_s()

        def has_room(run: Waiting) -> bool:
            most = ahead_rows(rate, run.timed)
            full = held_rows >= most or held_bytes >= HIGH_WATER_BYTES
            return not full or run.rows < min(most // len(open_runs), FIRST_ROWS)

        return sorted(filter(has_room, open_runs), key=lambda run: (run.rows, run.id))

    async def _rows_per_s(self) -> float:
        """What the lanes really answer together; also learns each route's rate."""
        rows = await rows_per_s(self.context)
        for name, found in self.context.settings.routes.items():
            lane = [self.context.targets.order_rate(name), *(rows.get(target, 0.0) for target in found.targets)]
            self._sifter.rates[name] = next((rate for rate in lane if rate), 0.0)
        return sum(rows.values())

    # -- a chunk ---------------------------------------------------------------------------------------------------

    async def _chunk(self, run_id: str) -> bool:
        """Prepares and commits one chunk; False when there was nothing to do or somebody else did it."""
        context, keys = self.context, self.context.keys
        raw, prepared, generation, cancel, redo, inbox = await context.redis.hmget(
            keys.run(run_id), "cursor", "prepared", "generation", "cancel", "redo", "inbox"
        )
        if raw is None or prepared == b"1":  # since the look that brought us here
            return False
        at = _cursor(raw)
        sources, whole = await self._inboxes.readable(run_id, raw, at, inbox) if inbox else ((), True)
        if sources is None:
            return await self._inboxes.seal(run_id)
        progress = self._progress.get(run_id)
        if progress is None or progress.row != at.row:  # else a Redis that forgot our last chunks
            progress = await self._open(run_id, at)
        if redo:
            return await self._redo_chunk(progress, raw, int(generation or 0), wire.load(redo))
        if inbox:
            progress.reader.grow(sources)
        await self._clients.refresh(progress.asker, fresh=progress.fresh)
        await self._count_rules()
        self._sifter.paused = await paused(context)
        limits = (EMBEDDED_ROWS, EMBEDDED_BYTES) if progress.embeds else (CHUNK_ROWS, CHUNK_BYTES)
        limits = (FIRST_ROWS, FIRST_BYTES) if at.row == 0 else limits
        rows, after = await asyncio.to_thread(progress.reader.read, at, *limits)
        name, ask = paths.chunk(run_id, 0, at.row), cancel in (None, b"", b"0")
        if name in progress.forgotten:
            self._sifter.rates |= await asyncio.to_thread(rates_of, context.store, name)
        chunk = await asyncio.to_thread(
            self._sifter.sift, progress.asker, progress.indexes, rows, int(generation or 0), ask=ask
        )
        if rows:
            ours = fence(context, f"prepare:{progress.asker.client}", run_id, {"cursor": raw})
            await asyncio.to_thread(write, context.store, name, chunk, at, self._sifter.rates, ours)
            await asyncio.to_thread(forget, context.store, progress.forgotten, at.row, at.row + len(rows), ours)
        last = after is None and whole
        following = after or Cursor(progress.reader.count, 0, at.row + len(rows))
        committed = await self._commit(run_id, raw, msgspec.to_builtins(following), last, chunk)
        if not committed:
            self._progress.pop(run_id, None)
            return False
        await asyncio.to_thread(self._learn, progress, following.row, chunk)
        if last:
            self._progress.pop(run_id, None)
            self._clients.done(run_id)
        return True

    @staticmethod
    def _learn(progress: Progress, rows: int, chunk: Chunk) -> None:
        """The chunk was committed."""
        progress.row = rows
        if progress.known is not None:
            progress.known.learned(progress.asker.id, rows, chunk.screened)
        if chunk.ids is not None:
            progress.indexes.ids.learn(chunk.ids)

    def _today(self) -> str:
        return self.context.clock.date(self.context.settings.spillway.timezone)

    async def _count_rules(self) -> None:
        """How often each limited rule may still be used today."""
        limits = {i: r.daily_limit for i, r in enumerate(self.context.settings.rules) if r.daily_limit is not None}
        if not limits:
            return
        used = await self.context.redis.hgetall(self.context.keys.rules(self._today()))
        self._sifter.rules_left = {i: limit - int(used.get(str(i).encode(), 0)) for i, limit in limits.items()}

    async def _open(self, run_id: str, at: Cursor) -> Progress:
        """Starts or resumes a run here: its reader, and what is known from committed chunk parts."""
        asker, reader = await self._asker(run_id)
        fresh = await self.context.redis.hget(self.context.keys.run(run_id), "fresh") == b"1"
        known = await self._clients.known(asker, fresh=fresh)
        indexes = Indexes(known.index if known else None, Ids())
        embeds = self._sifter.mode(asker) == "semantic"
        forgotten = await asyncio.to_thread(from_row, self.context.store, run_id, at.row)
        progress = Progress(at.row, asker, reader, indexes, known, embeds, fresh, forgotten)
        if at.row:
            await asyncio.to_thread(indexes.ids.restore, self.context.store, run_id, at.row)
        else:
            await remember(self.context, run_id)
        self._progress[run_id] = progress
        return progress

    async def _asker(self, run_id: str) -> tuple[Asker, Reader]:
        run = await self.context.run(run_id)
        sources = wire.unpack_sources(await self.context.redis.hget(self.context.keys.run(run_id), "sources"))
        template = template_of(run.options)
        return Asker(run_id, run.client, run.options, template), Reader(sources, template)

    async def _commit(self, run_id: str, before: bytes, after: Any, last: bool, chunk: Chunk) -> bool:
        keys = self.context.keys
        counters = [part for item in sorted(chunk.counts.items()) for part in item]
        limits = ["" if rule.daily_limit is None else rule.daily_limit for rule in self.context.settings.rules]
        uses = [part for i, count in sorted(chunk.rules.items()) for part in (i, count, limits[i])]
        names = [keys.run(run_id), keys.waiting(run_id), keys.wake, keys.rules(self._today())]
        args: list[Any] = [before, wire.dump(after), int(last), len(counters) // 2, *counters, len(chunk.rules), *uses]
        batch_names, batch_args = batch_arguments(keys, chunk)
        names, args = names + batch_names, [*args, *batch_args, told.sorted_out(run_id, chunk.columns)]
        committed = bool(await self.context.scripts.commit_chunk(keys=names, args=args))
        if committed:
            self.context.again.remember_step("commit_chunk", names, args)
        return committed

    # -- asking again ----------------------------------------------------------------------------------------------

    async def _redo_chunk(self, progress: Progress, raw: bytes, generation: int, statuses: list[str]) -> bool:
        """One chunk of a retry or resume: rows that ended in one of `statuses` are asked again."""
        if progress.redo is None or progress.redo.generation != generation:
            progress.redo = await asyncio.to_thread(Redo, self.context.store, progress.asker.id, generation, statuses)
        state = wire.load(raw)
        position = int(state.get("redo", 0)) if isinstance(state, dict) else 0
        rows, routes, last, follow = await asyncio.to_thread(progress.redo.read, progress.reader, position)
        chunk = Chunk({}, [], Counter(asked=-follow, duplicate=follow), Counter())
        asked = await asyncio.to_thread(self._sifter.ask_again, progress.asker, rows, routes)
        self._sifter.cut(progress.asker, asked, generation, position, chunk)
        after = {**state, "redo": position + 1}
        committed = await self._commit(progress.asker.id, raw, after, last, chunk)
        if not committed or last:
            self._progress.pop(progress.asker.id, None)
        return committed


def _cursor(raw: bytes) -> Cursor:
    """Where a run stands; how far a retry has come is in there too, and is redo's matter."""
    return msgspec.convert(wire.load(raw), Cursor) if raw else Cursor()
