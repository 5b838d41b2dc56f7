"""Finds batches that nobody works on (a dead worker's, a forgotten ring's) and gives them back; sets poison aside.

It only looks at what Redis says, twice or more before it takes a batch from somebody; what to run next is plan's matter.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipelines import wire
from pipelines.journal import fold
from worker import aside
from worker.beat import Beat, bury
from worker.context import Context
from worker.timing import LEASE_MS

log = logging.getLogger("spillway.heal")

LOOKS = 3
"""A holder that does not name its batch in so many of its heartbeats, each seen at a look of its own, has lost it. One
heartbeat counts once: the last one of a worker that pauses may be older than its claim. Who is silent is forgotten first,
and loses its batches a look later: after an outage of Redis everybody is silent for a moment."""
POISON_TRIES = 3
POISON_KEEP_S = 30 * 86_400


class Strikes(NamedTuple):
    """At how many looks a holder did not name its batch, and in which heartbeat the last time."""

    times: int = 0
    beat: int = -1


class Healer:
    """Looks at all rung batches; what it remembers are only its last looks."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._strikes: dict[tuple[bytes, bytes], Strikes] = {}

    async def look(self, beats: dict[str, Beat]) -> None:
        """One look; an error of Redis in the middle makes it forget the earlier ones."""
        strikes, self._strikes = self._strikes, {}
        await bury(self._context)
        redis, keys = self._context.redis, self._context.keys
        known = {owner.decode() for owner in await redis.hkeys(keys.workers)}
        seen: dict[tuple[bytes, bytes], Strikes] = {}
        for batch, since, fields in await self._rung():
            if isinstance(fields, Exception) or not _is_ours(batch, fields):
                await aside.batch(
                    self._context, batch.decode(errors="replace"), wire.Unreadable("its fields are not ours")
                )
                await self._unlist(batch)
                continue
            epoch, holder, lanes, head = fields
            if epoch is None:
                await self._unlist(batch)
                continue
            if not holder:
                if self._context.clock.now_ms() - since > LEASE_MS:
                    await self._give_back(batch, epoch, lanes, head, "never taken", holder="nobody")
                continue
            owner = holder.decode()
            beat = beats.get(owner)
            if beat is not None and batch.decode() in beat.batches:
                continue
            before = strikes.get((batch, epoch), Strikes())
            if beat is not None and beat.number != before.beat:
                before = Strikes(before.times + 1, beat.number)
            seen[batch, epoch] = before
            if owner not in known or before.times >= LOOKS:
                await self._take(batch, epoch, lanes, head, owner)
        await self._forget(known - beats.keys())
        self._strikes = seen

    async def _unlist(self, batch: bytes) -> None:
        keys = self._context.keys
        await self._context.scripts.unlist(
            keys=[keys.batch(batch.decode(errors="replace")), keys.rung], args=[batch, 0]
        )

    async def _rung(self) -> list[tuple[bytes, float, Any]]:
        redis, keys = self._context.redis, self._context.keys
        rung = await redis.zrange(keys.rung, 0, -1, withscores=True)
        pipe = redis.pipeline(transaction=False)
        for batch, _ in rung:
            pipe.hmget(keys.batch(batch.decode(errors="replace")), "epoch", "holder", "lanes", "head")
        replies = await pipe.execute(raise_on_error=False) if rung else []
        return [(batch, since, fields) for (batch, since), fields in zip(rung, replies, strict=True)]

    async def _take(self, batch: bytes, epoch: bytes, lanes: bytes, head: bytes, owner: str) -> None:
        """From a worker that is gone: back to waiting, or aside when it is the batch that ends its workers."""
        redis, keys = self._context.redis, self._context.keys
        name = batch.decode()
        tries, before = await redis.hmget(keys.batch(name), "tries", "progress")
        journal = await redis.lrange(keys.journal(name), 0, -1)
        done = len(fold(wire.readable_entries(journal)).done)
        noted: dict[str, str | int] = {}
        if done > int(before or 0):
            noted = {"tries": 0, "progress": done, "left": max(1, wire.unpack_head(head).rows - done)}
        elif int(tries or 0) >= POISON_TRIES:
            reason = f"its worker died {int(tries)} times without one more answer; the last was {owner}"
            pipe = redis.pipeline(transaction=True)
            pipe.hset(keys.poison, name, reason)
            pipe.expire(keys.poison, POISON_KEEP_S)
            await pipe.execute()
            log.error("batch %s is set aside: %s", name, reason)
            await self._give_back(batch, epoch, lanes, head, "set aside", "drained", noted={"poison": reason})
            return
        await self._give_back(batch, epoch, lanes, head, f"worker {owner} is gone", noted=noted)

    async def _give_back(
        self, batch: bytes, epoch: bytes, lanes: bytes, head: bytes, why: str, state: str = "waiting", *,
        holder: str = "", noted: Mapping[str, str | int] | None = None,
    ) -> None:  # fmt: skip
        redis, keys, name = self._context.redis, self._context.keys, batch.decode()
        log.info("batch %s: %s; %s", name, why, "back to waiting" if state == "waiting" else state)
        seen = wire.unpack_head(head)
        score = seen.cloud_pusd / max(seen.work, 1e-9)
        names = [keys.batch(name), keys.waiting(seen.run), keys.rung, keys.drained(seen.run), keys.wake]
        more = [part for pair in (noted or {}).items() for part in pair]
        await self._context.scripts.release(keys=names, args=[epoch, name, state, lanes, score, holder, "", *more])
        await redis.zrem(keys.local_queue, keys.job(name, int(epoch)))
        await redis.zrem(keys.cloud_queue, keys.job(name, int(epoch)))

    async def _forget(self, silent: set[str]) -> None:
        """Their heartbeats have lapsed; who comes back says so with its next one."""
        if silent:
            await self._context.redis.hdel(self._context.keys.workers, *silent)


def _is_ours(batch: bytes, fields: list[bytes | None]) -> bool:
    """Whether a batch can be given back: a name and figures as we write them, or nothing at all."""
    epoch, holder, lanes, head = fields
    if epoch is None and head is None:
        return True
    try:
        batch.decode()
        (holder or b"").decode()
        wire.unpack_head(head or b"")
        return epoch is not None and epoch.isdigit() and lanes is not None
    except ValueError:
        return False
