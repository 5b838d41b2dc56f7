"""Redis may be killed and come back without its last seconds: workers remember theirs and say them again.

A started Redis knows no scripts, and nothing that decides anything happens without one. So the scripts are the gate:
who misses them says its own tail again, waits for the others to do the same, and only then loads them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from pipelines import wire
from pipelines.types import BatchHead, Called, Entry, Intent, Late
from worker.money import budget
from worker.process import is_gone
from worker.queue import RedisError, ResponseError

if TYPE_CHECKING:
    from worker.context import Context

log = logging.getLogger("spillway.again")

KEEP_S = 6.0
"""`appendfsync everysec` may hold acknowledged writes back for two seconds; a busy disk for a little longer."""
FORGETS_S = 2.5
"""After so long it certainly is on the disk, where that is not very busy."""
OTHERS_S = 4.0
"""How long the other workers may take to find the Redis that came back: their connections try again every two seconds."""
ORPHAN_S = 86_400
SAID_KEEP_S = 600


class Said(NamedTuple):
    """One acknowledged flush of one batch: what again.lua needs, and when it was acknowledged."""

    at_s: float
    head: BatchHead
    epoch: int
    scopes: tuple[str, ...]
    number: int
    blobs: tuple[bytes, ...]
    reserved_nusd: int
    spent_nusd: int


class Step(NamedTuple):
    """One acknowledged call of a script that compares before it acts, so that saying it again is harmless."""

    at_s: float
    script: str
    keys: list[str]
    args: list[Any]


class Again:
    """The tail of what this process was told is kept."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tail: deque[Said] = deque()
        self._steps: deque[Step] = deque()
        self._run_id = self._opened = ""
        self.memory = ""
        """The name of what Redis remembers; the same in every life of it, until it is emptied."""
        self._synced = self._keeps = False
        self._telling = asyncio.Lock()

    @property
    def life(self) -> str:
        """What Redis calls the life of its process in which all was said again that this process knew."""
        return self._run_id

    @property
    def synced(self) -> bool:
        """Whether what Redis acknowledges is on its disk by then."""
        return self._synced

    def remember(
        self, head: BatchHead, epoch: int, scopes: tuple[str, ...], number: int, blobs: tuple[bytes, ...],
        reserved_nusd: int, spent_nusd: int,
    ) -> None:  # fmt: skip
        if self._synced:
            return
        now = time.monotonic()
        self._tail.append(Said(now, head, epoch, scopes, number, blobs, reserved_nusd, spent_nusd))

    def remember_step(self, script: str, keys: list[str], args: list[Any]) -> None:
        if not self._synced:
            self._steps.append(Step(time.monotonic(), script, keys, args))

    async def kept(self) -> None:
        """Returns when nothing that this process was told is kept can be forgotten any more: after it ends nobody says it
        again. Its heart must beat meanwhile."""
        until = time.monotonic() + KEEP_S
        while self._keeps and not self._synced and (now := time.monotonic()) < until:
            newest = max((notes[-1].at_s for notes in (self._tail, self._steps) if notes), default=0.0)
            if now - newest > FORGETS_S:
                return
            await asyncio.sleep(0.1)

    async def seen(self, run_id: str, *, synced: bool = False, keeps: bool = False) -> None:
        """The Redis that answers now, by its own name for its life; what is old is forgotten while that is the same.

        `synced`: it acknowledges nothing before that is on its disk, so there is nothing to remember from now on. `keeps`: it
        has a file at all.
        """
        if not run_id:
            return
        await self._tell(run_id)
        self._synced, self._keeps = synced, keeps
        late = time.monotonic() - KEEP_S
        for notes in (self._tail, self._steps):
            while notes and notes[0].at_s < late:
                notes.popleft()

    async def gate(self) -> None:
        """Call it when scripts are missing: returns when every worker that is there has said its tail again."""
        redis, keys = self._context.redis, self._context.keys
        run_id = await self._life()
        if run_id in ("", self._opened):
            return  # not told, or somebody flushed the scripts
        await self._tell(run_id)
        said = keys.again(run_id)
        pipe = redis.pipeline(transaction=True)
        pipe.sadd(said, self._context.owner)
        pipe.expire(said, SAID_KEEP_S)
        await pipe.execute()
        until = time.monotonic() + OTHERS_S
        while time.monotonic() < until and await self._missing(said):
            await asyncio.sleep(0.05)
        self._opened = run_id

    async def _tell(self, run_id: str) -> None:
        """Once for each life of Redis after the first that this process knew."""
        async with self._telling:
            if run_id != self._run_id:
                await self._name()
                if self._run_id:
                    await self._say(run_id)
            self._run_id = run_id

    async def _name(self) -> None:
        """Gives Redis' memory a name, or the one back that it had."""
        redis, key = self._context.redis, self._context.keys.id
        await redis.set(key, self.memory or uuid4().hex[:16], nx=True)
        self.memory = (await redis.get(key) or b"").decode(errors="replace")

    async def _life(self) -> str:
        """What Redis calls this life of its process; '' when it does not say."""
        try:
            return str((await self._context.redis.info("server")).get("run_id", ""))
        except ResponseError:
            return ""

    async def _missing(self, said: str) -> bool:
        redis, keys = self._context.redis, self._context.keys
        heard = await redis.smembers(said)
        workers = await redis.hgetall(keys.workers)
        return any(owner not in heard and not is_gone(raw) for owner, raw in workers.items())

    async def _say(self, run_id: str) -> None:
        now = time.monotonic()  # what is said now may be forgotten again
        self._tail = deque(said._replace(at_s=now) for said in self._tail)
        self._steps = deque(step._replace(at_s=now) for step in self._steps)
        tail, steps = list(self._tail), list(self._steps)
        for run in self._context.runs():  # a scope without its limit would admit nothing
            await budget.ensure(self._context.redis, self._context.keys, run.wanted_scopes(self._context.clock))
        forgotten = 0
        for step in steps:
            forgotten += await self._context.scripts.now(step.script, step.keys, step.args)
        cursors = await self._cursors({said.head.run for said in tail})
        for said in tail:
            name, all_ = said.head.id, self._context.keys
            keys = [all_.batch(name), all_.journal(name), all_.orphans, all_.counted, *said.scopes]
            entries = wire.readable_entries(said.blobs)
            args = [
                said.epoch, self._context.owner, said.number, wire.pack_entries(entries), wire.pack_entries(_late(entries)),
                said.reserved_nusd, said.spent_nusd, ORPHAN_S, name, wire.pack_head(said.head),
                int(not _was_committed(name, cursors)), *_calls(entries),
            ]  # fmt: skip
            try:
                forgotten += await self._context.scripts.now("again", keys, args)
            except RedisError as error:
                log.warning("batch %s: %s", name, error)
        if tail or steps:
            count = len(tail) + len(steps)
            log.warning("Redis was started anew (%s): %d of %d notes said again", run_id[:8], forgotten, count)

    async def _cursors(self, runs: set[str]) -> dict[str, bytes]:
        redis, keys = self._context.redis, self._context.keys
        return {run: await redis.hget(keys.run(run), "cursor") or b"" for run in runs}


def _late(entries: list[Entry]) -> list[Entry]:
    """For a batch that has another holder by now: what is money."""
    return [
        Late(entry) if isinstance(entry, Called) else entry
        for entry in entries
        if isinstance(entry, Called | Intent | Late)
    ]


def _calls(entries: list[Entry]) -> set[str]:
    return {entry.call for entry in entries if isinstance(entry, Called | Intent)}


def _was_committed(batch: str, cursors: dict[str, bytes]) -> bool:
    """Whether the chunk of a batch is behind its run's cursor; yes when that cannot be said."""
    run, generation, first_row, _ = batch.split(".")
    if generation != "0" or run not in cursors:
        return True
    try:
        cursor = wire.load(cursors[run]) if cursors[run] else {}
    except ValueError:
        return True
    at = cursor.get("row", 0) if isinstance(cursor, dict) else None
    return not isinstance(at, int) or int(first_row) < at
