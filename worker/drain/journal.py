"""What happened to each prompt, appended to Redis in groups: one round trip carries every batch's news.

A call's intent is acknowledged, and its worst case reserved in every budget, before the call is sent; an outcome settles that and
needs no waiting (scripts/append.lua does both in one step). Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple, Protocol

from pipelines import wire
from pipelines.money import pusd_to_nusd_ceil
from pipelines.types import BatchHead, Called, Entry, Intent, Late
from worker.again import Again
from worker.aside import is_hostile
from worker.queue import NoScriptError, Redis, RedisError, Scripts

log = logging.getLogger("spillway.journal")


class Holding(Protocol):
    """What the journal must know of a batch that runs here."""

    id: str
    head: BatchHead
    epoch: int
    fenced: asyncio.Event


class Reply(NamedTuple):
    """What append.lua says: whether the batch is still ours, which intents were admitted, and the scope that refused one."""

    state: int
    admitted: bytes = b""
    tight: int = 0


class _Pending:
    """News of one batch and one set of budget scopes, not yet in Redis."""

    __slots__ = ("blobs", "entries", "holding", "intents", "number", "settled_nusd", "spent_nusd")

    def __init__(self, holding: Holding) -> None:
        self.holding = holding
        self.entries: list[Entry] = []
        self.intents: list[tuple[int, Intent, asyncio.Future[bool]]] = []
        self.settled_nusd = 0
        self.spent_nusd = 0
        self.number = 0
        self.blobs: list[bytes] = []


class Journal:
    """Group commit for all batches of this process."""

    def __init__(self, redis: Redis, keys: wire.Keys, scripts: Scripts, owner: str, again: Again | None = None) -> None:
        self._redis, self._keys, self._scripts, self._owner, self._again = redis, keys, scripts, owner, again
        self._pending: dict[tuple[str, tuple[str, ...]], _Pending] = {}
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._numbers = count()
        self.round_trips = 0

    def append(
        self, holding: Holding, scopes: tuple[str, ...], entries: Sequence[Entry], reserved_pusd: int, spent_pusd: int
    ) -> None:
        """Notes outcomes; `reserved_pusd` was taken with the intent and is now settled as `spent_pusd`."""
        pending = self._of(holding, scopes)
        pending.entries.extend(entries)
        if scopes:
            pending.settled_nusd += pusd_to_nusd_ceil(reserved_pusd)
            pending.spent_nusd += pusd_to_nusd_ceil(spent_pusd)

    async def intent(self, holding: Holding, scopes: tuple[str, ...], intent: Intent) -> bool:
        """True once the intent is in Redis and its worst case reserved; False: a budget refused, or we are fenced."""
        pending = self._of(holding, scopes)
        admitted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        amount = pusd_to_nusd_ceil(intent.bound_pusd) if scopes else 0
        pending.intents.append((amount, intent, admitted))
        return await admitted

    async def drained(self) -> None:
        """Returns when all that was noted so far is in Redis."""
        while self._pending or not self._idle.is_set():
            await self._idle.wait()
            await asyncio.sleep(0)

    def _of(self, holding: Holding, scopes: tuple[str, ...]) -> _Pending:
        name = (holding.id, scopes)
        pending = self._pending.get(name)
        if pending is None:
            pending = self._pending[name] = _Pending(holding)
            self._idle.clear()
            self._news.set()
        return pending

    async def run(self) -> None:
        """Flushes as long as there is news; what arrives during a round trip goes with the next."""
        while True:
            await self._news.wait()
            await asyncio.sleep(0)
            self._news.clear()
            pending, self._pending = self._pending, {}
            if pending:
                await self._flush(pending)
            if not self._pending:
                self._idle.set()

    async def _flush(self, groups: dict[tuple[str, tuple[str, ...]], _Pending]) -> None:
        for group in groups.values():
            group.number = next(self._numbers)
        while True:
            try:
                replies = await self._send(groups)
                break
            except NoScriptError:
                await self._scripts.load()
            except (RedisError, OSError) as error:
                log.warning("journal: %s; trying again, no call is sent meanwhile", error)
                await asyncio.sleep(0.5)
        for key, reply in zip(groups, replies, strict=True):
            await self._acknowledge(groups[key], key[1], reply)

    async def _send(self, groups: dict[tuple[str, tuple[str, ...]], _Pending]) -> list[Reply]:
        pipe = self._redis.pipeline(transaction=False)
        for (batch_id, scopes), group in groups.items():
            keys = [self._keys.batch(batch_id), self._keys.journal(batch_id), *scopes]
            group.blobs = [wire.pack_entries(group.entries) if group.entries else b""]
            group.blobs += [wire.pack_entries([intent]) for _, intent, _ in group.intents]
            epoch = str(group.holding.epoch)
            number = f"{self._owner}-{group.number}"
            args: list[object] = [epoch, group.blobs[0], group.settled_nusd, group.spent_nusd, number]
            for (amount, _, _), blob in zip(group.intents, group.blobs[1:], strict=True):
                args += (amount, blob)
            self._scripts.queue(pipe, "append", keys, args)
        self.round_trips += 1
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        return [self._refused(group, reply) for group, reply in zip(groups.values(), replies, strict=True)]

    def _refused(self, group: _Pending, reply: Any) -> Reply:
        """A batch whose keys hold what is not ours is lost to us, as if it were fenced; the others go on."""
        if not isinstance(reply, Exception):
            return Reply(*reply)
        if isinstance(reply, NoScriptError) or not is_hostile(reply):
            raise reply
        log.error("journal: batch %s cannot be written: %s", group.holding.id, reply)
        return Reply(-1)

    async def _tell_late(self, holding: Holding, late: list[Entry]) -> None:
        keys = [self._keys.batch(holding.id), self._keys.journal(holding.id)]
        try:
            await self._scripts.late(keys=keys, args=[wire.pack_entries(late)])
        except (RedisError, OSError) as error:
            log.warning("journal: %d late outcomes of %s stay `lost`: %s", len(late), holding.id, error)

    async def _acknowledge(self, group: _Pending, scopes: tuple[str, ...], reply: Reply) -> None:
        fenced = reply.state < 0
        fits = [not fenced and mark == ord("1") for mark in reply.admitted]
        fits += [False] * (len(group.intents) - len(fits))
        if self._again is not None and not fenced:
            blobs = tuple(blob for blob, kept in zip(group.blobs, (True, *fits), strict=True) if blob and kept)
            held = sum(amount for (amount, _, _), kept in zip(group.intents, fits, strict=True) if kept)
            held -= group.settled_nusd
            holding = group.holding
            self._again.remember(holding.head, holding.epoch, scopes, group.number, blobs, held, group.spent_nusd)
        if fenced:
            group.holding.fenced.set()
            late: list[Entry] = [Late(entry) for entry in group.entries if isinstance(entry, Called)]
            if late:
                await self._tell_late(group.holding, late)
        for (_, _, admitted), kept in zip(group.intents, fits, strict=True):
            if not admitted.done():
                admitted.set_result(kept)
