"""Batches of a blocked run that wait after some of their prompts were answered: what was answered is settled without the rest.

Who follows those rows, in this run or another one, would wait for the end of the block, or pay for them once more.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple

import msgspec

from pipelines import wire
from pipelines.batch import rest
from pipelines.journal import fold
from pipelines.types import BatchHead
from worker.context import Context

log = logging.getLogger("spillway.settle")

LOOK_S = 1.0
FIELDS = ("epoch", "head", "payload")


async def came_back(context: Context, run_id: str) -> list[str]:
    """The run's batches that wait after some of their prompts were answered."""
    redis, keys = context.redis, context.keys
    waiting = [batch.decode(errors="replace") for batch in await redis.zrange(keys.waiting(run_id), 0, -1)]
    pipe = redis.pipeline(transaction=False)
    for batch in waiting:
        pipe.hget(keys.batch(batch), "left")
    lefts = await pipe.execute(raise_on_error=False) if waiting else []
    return [batch for batch, left in zip(waiting, lefts, strict=True) if isinstance(left, bytes) and left]


class Halves(NamedTuple):
    """Head and payload of what was answered of a batch, and of the others, which are a batch of another id."""

    answered: tuple[BatchHead, bytes]
    others: tuple[BatchHead, bytes]


class Partial:
    """For every blocked run of this settler."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._next_s: dict[str, float] = {}

    def keep(self, run_ids: set[str]) -> None:
        """Forgets the runs that are not open any more."""
        self._next_s = {run: due for run, due in self._next_s.items() if run in run_ids}

    async def look(self, run_id: str) -> int:
        """How many batches were parted."""
        now = asyncio.get_running_loop().time()
        if now < self._next_s.get(run_id, 0.0):
            return 0
        self._next_s[run_id] = now + LOOK_S
        return sum([await self._part(run_id, batch) for batch in await came_back(self._context, run_id)])

    async def _part(self, run_id: str, batch: str) -> bool:
        redis, keys = self._context.redis, self._context.keys
        pipe = redis.pipeline(transaction=False)
        pipe.hmget(keys.batch(batch), *FIELDS)
        pipe.lrange(keys.journal(batch), 0, -1)
        (epoch, head, payload), journal = await pipe.execute()
        halves = await asyncio.to_thread(_halves, head, payload, journal)
        if halves is None:
            return False
        (answered, first), (others, second) = halves
        names = [keys.batch(batch), keys.journal(batch), keys.run(run_id), keys.waiting(run_id), keys.drained(run_id)]
        more = len(first) + len(second) - len(payload)
        packed = wire.pack_head(answered), first, wire.pack_head(others), second
        names, args = [*names, keys.batch(others.id)], [batch, epoch, len(journal), others.id, *packed, more]
        parted = bool(await self._context.scripts.part_off(keys=names, args=args))
        if parted:
            self._context.again.remember_step("part_off", names, args)
            log.info(
                "run %s: %d answered rows of batch %s are settled, %d wait on",
                run_id,
                answered.rows,
                batch,
                others.rows,
            )
        return parted


def _halves(head: bytes | None, payload: bytes | None, journal: list[bytes]) -> Halves | None:
    """None where nothing was answered, where calls for one of the others were made, since their journal cannot be parted, and of audits,
    which nobody follows and whose batches are counted."""
    try:
        whole, items = wire.unpack_head(head or b""), wire.unpack_items(payload or b"")
    except wire.Unreadable:
        return None  # the scheduler sets it aside
    state = fold(wire.readable_entries(journal))
    answered = [item for item in items if item.row in state.done]
    others = [item for item in items if item.row not in state.done]
    called = {intent.row for intent in state.intents.values()}
    if (
        not answered
        or not others
        or whole.purpose == "audit"
        or whole.rows != len(items)
        or any(item.row in called for item in others)
    ):
        return None
    first, second = wire.pack_items(answered), wire.pack_items(others)
    return Halves(
        (_of(whole, len(answered), first), first),
        (_of(whole, len(others), second, id=f"{whole.id}r"), second),
    )


def _of(whole: BatchHead, rows: int, payload: bytes, **changed: Any) -> BatchHead:
    return msgspec.structs.replace(rest(whole, rows), payload_bytes=len(payload), **changed)
