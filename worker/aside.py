"""Sets aside what cannot be read in Redis, a batch, a run or a shared key: one line in the log, others' work goes on.

Redis is trusted with nothing but bytes: whoever can write to it may break runs, but runs nothing and stops nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import NamedTuple

from pipelines import paths
from pipelines.errors import Missing, SpillwayError
from pipelines.printable import one_line
from worker.context import Context
from worker.queue import Redis, RedisError

log = logging.getLogger("spillway.aside")

STRIKES = 4
"""Failures in a row after which a run is set aside: a passing race heals by itself."""
MISSING_S = 30.0
"""How long a file may be missing until its run is set aside: another host's may be seen late."""
KEEP_S = 30 * 86_400


def left(run_id: str) -> str:
    """Its name among the orphans, as long as it has no results: it may have no batch there."""
    return f"{run_id}.aside"


def said(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(str(error))[:300]}"


async def batch(context: Context, batch_id: str, error: BaseException) -> None:
    """The batch goes to settle as it is; its rows end `failed`."""
    run_id, keys = batch_id.partition(".")[0], context.keys
    reason = f"the batch cannot be read in Redis ({said(error)})"
    log.error("batch %s is set aside: %s", one_line(batch_id)[:100], reason)
    names = [keys.batch(batch_id), keys.waiting(run_id), keys.rung, keys.drained(run_id), keys.wake, keys.poison]
    await context.scripts.aside(keys=names, args=[batch_id, reason, KEEP_S])


async def run(context: Context, run_id: str, error: BaseException) -> None:
    """The run ends `failed`; what it holds stays for a person to look at, for a while."""
    redis, keys = context.redis, context.keys
    what = "a file of it is gone" if isinstance(error, Missing) else "its record in Redis cannot be used"
    reason = f"{what} ({said(error)}); --fresh runs the source again"
    log.error("run %s is set aside: %s", one_line(run_id)[:100], reason)
    if not paths.is_run_id(run_id):
        await redis.srem(keys.open_runs, run_id)
        return
    for key, kind in ((keys.run(run_id), b"hash"), (keys.waiting(run_id), b"zset"), (keys.drained(run_id), b"list"),
                      (keys.parts(run_id), b"hash"), (keys.promoted(run_id), b"hash")):  # fmt: skip
        found = await redis.type(key)
        if found not in (b"none", kind):
            await _rename(redis, key)
        elif key != keys.run(run_id):
            await redis.expire(key, KEEP_S)
    ended = {
        "status": "failed",
        "cancel": "failed",
        "prepared": "1",  # no further chunk is committed
        "error": reason,
        "finished_ms": context.clock.now_ms(),
        "blocked": "",
        "summary": "",  # as far as it came: settle's matter
        "aside": "1",  # the same command begins anew: what this one holds goes away
    }
    await redis.hset(keys.run(run_id), mapping=ended)
    await leave(context, run_id)


async def leave(context: Context, run_id: str) -> None:
    """What a run that is set aside holds goes some day; what its batches were paid for is booked first (settle/orphans.py). Safe to
    repeat."""
    redis, keys = context.redis, context.keys
    async for key in redis.scan_iter(match=f"{keys.batch(run_id)}.*", count=1000):
        name = key.decode(errors="replace").removeprefix(keys.batch(""))
        head = await redis.hget(key, "head") if await redis.type(key) == b"hash" else None
        pipe = redis.pipeline(transaction=True)
        pipe.expire(key, KEEP_S)  # release.lua gives back none that will go
        if head is not None:
            pipe.hset(keys.orphans, name, head)
            pipe.expire(keys.orphans, KEEP_S)
        await pipe.execute()
    async for key in redis.scan_iter(match=f"{keys.journal(run_id)}.*", count=1000):
        await redis.expire(key, KEEP_S)
    await redis.hset(keys.orphans, left(run_id), "")
    await redis.expire(keys.orphans, KEEP_S)
    await redis.srem(keys.open_runs, run_id)  # last: who dies before it leaves it to the next settler
    context.forget_run(run_id)


async def _rename(redis: Redis, key: str) -> None:
    """Out of the way, and gone some day."""
    pipe = redis.pipeline(transaction=True)
    pipe.rename(key, f"{key}:aside")
    pipe.expire(f"{key}:aside", KEEP_S)
    with contextlib.suppress(RedisError):  # another worker was faster
        await pipe.execute()


async def shared(context: Context) -> None:
    """What all runs share, if another kind of value stands there: it goes aside, and workers begin it anew. Budgets stay
    as they are: one that cannot be read admits nothing."""
    redis, keys = context.redis, context.keys
    day = context.clock.date(context.settings.spillway.timezone)
    wanted = {
        b"string": [keys.id],
        b"set": [keys.open_runs, keys.orders, keys.recalled, keys.counted],
        b"zset": [keys.all_runs, keys.rung, keys.given, keys.hooks, keys.local_queue, keys.cloud_queue],
        b"list": [keys.wake, keys.arrived],
        b"hash": [
            keys.fingerprints, keys.workers, keys.targets, keys.lanes, keys.poison, keys.orphans, keys.paused, keys.preparing,
            keys.alerts(day), keys.prices(context.clock.date("UTC")), keys.reported(day), keys.rules(day), keys.audits(day),
            *(of(name) for name in context.settings.targets for of in (keys.slots, keys.rate)),
        ],
    }  # fmt: skip
    kinds = {key: kind for kind, names in wanted.items() for key in names}
    pipe = redis.pipeline(transaction=False)
    for key in kinds:
        pipe.type(key)
    for key, found in zip(kinds, await pipe.execute(), strict=True):
        if found not in (b"none", kinds[key]):
            log.error("%s holds a %s, which is not ours; set aside", key, found.decode())
            await _rename(redis, key)


class Struck(NamedTuple):
    """How often a run failed in a row, and since when."""

    times: int
    since_s: float


class Strikes:
    """How often each run made one part of the worker fail, in a row."""

    def __init__(self, context: Context, who: str) -> None:
        self._context, self._who = context, who
        self._struck: dict[str, Struck] = {}

    def fine(self, run_id: str) -> None:
        self._struck.pop(run_id, None)

    async def strike(self, run_id: str, error: Exception) -> None:
        """Notes a failure, and sets the run aside for the last; raises it again when it is not the run's fault."""
        if await self.is_last(run_id, error):
            await run(self._context, run_id, error)

    async def is_last(self, run_id: str, error: Exception) -> bool:
        """Notes a failure; whether there were enough by now. Raises it again when it is not the run's fault: Redis, the data
        root, the disk."""
        missing = isinstance(error, Missing) and await asyncio.to_thread(self._context.store.there)
        if isinstance(error, RedisError | OSError | SpillwayError) and not (missing or is_hostile(error)):
            raise error
        now_s = time.monotonic()
        before = self._struck.get(run_id, Struck(0, now_s))
        struck = self._struck[run_id] = before._replace(times=before.times + 1)
        if struck.times <= STRIKES:
            log.warning("run %s: %s failed: %s", one_line(run_id)[:100], self._who, said(error))
        if struck.times < STRIKES or (missing and now_s - struck.since_s < MISSING_S):
            return False
        self.fine(run_id)
        return True


def is_hostile(error: BaseException) -> bool:
    """What Redis answers when a key holds another kind of value than ours, or a number that is none."""
    text = str(error)
    return isinstance(error, RedisError) and any(
        word in text for word in ("WRONGTYPE", "not an integer", "not a number")
    )
