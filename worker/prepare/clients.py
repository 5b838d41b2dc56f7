"""The clients whose runs this process prepares: one lease and one index each, shared by all of a client's runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from pipelines import wire
from worker.context import Context
from worker.dedupe.known import Known
from worker.lease import Leases, beside
from worker.prepare.sift import Asker, Sifter

SYNC_S = 60.0
"""An index that is in use forgets answers that became too old this often."""
PREPARING_S = 86_400


class _Held(msgspec.Struct):
    """An index, what it was made for, and when it was last brought up to date."""

    known: Known
    mode: str
    synced_s: float


class Clients:
    """`forget(client)` is called when others may have prepared the client's runs since we did."""

    def __init__(self, context: Context, sifter: Sifter, forget: Callable[[str], None]) -> None:
        self._context, self._sifter, self._forget = context, sifter, forget
        self._leases = Leases(context.scripts, context.keys, "prepare", context.owner)
        self._held: dict[tuple[str, str | None], _Held] = {}
        routes = context.settings.routes
        self._reuse_ms = {name: round(route.reuse_for * 1000) for name, route in routes.items()}

    async def prepare(self, client: str, work: Callable[[], Awaitable[bool]]) -> bool:
        """What `work` returns, done while the client is ours; False when it is somebody else's."""
        lease, ours = await self._leases.take(client)
        if lease is None or not ours:
            self._drop(client)
        if lease is None:
            return False
        if not ours:
            pipe, keys = self._context.redis.pipeline(transaction=True), self._context.keys
            pipe.hset(keys.preparing, client, self._context.owner)
            pipe.expire(keys.preparing, PREPARING_S)
            await pipe.execute()
        try:
            done = await beside(lease, work())
        except BaseException:  # an index may be changed by half, and is only a cache
            self._drop(client)
            raise
        if done is None:
            self._drop(client)
            return False
        self._leases.used(client)
        return done

    async def rest(self, *, everything: bool = False) -> None:
        """Gives back the clients that had no work for a while, and their memory."""
        for client in await self._leases.rest(everything=everything):
            self._drop(client)

    async def known(self, asker: Asker, *, fresh: bool) -> Known | None:
        """The index for a run, up to date; None for a run that looks for no duplicates. A fresh run has one of its own."""
        mode = self._sifter.mode(asker)
        if mode == "off":
            return None
        name = (asker.client, asker.id if fresh else None)
        held = self._held.get(name)
        if held is None or (mode == "semantic" and held.mode != mode):
            if held is not None:
                self._forget(asker.client)  # the client's other runs go over to the larger index
            index = self._sifter.index(mode)
            known = Known(self._context.store, asker.client, index, self._reuse_ms, alone=name[1])
            held = self._held[name] = _Held(known, mode, 0.0)
        await self._sync(asker.client, held)
        return held.known

    async def refresh(self, asker: Asker, *, fresh: bool) -> None:
        """Brings an index that has been in use for a while up to date."""
        held = self._held.get((asker.client, asker.id if fresh else None))
        if held is not None and asyncio.get_running_loop().time() - held.synced_s > SYNC_S:
            await self._sync(asker.client, held)

    def done(self, run_id: str) -> None:
        """A run is prepared: an index that was only its own is not needed any more."""
        self._held = {name: held for name, held in self._held.items() if name[1] != run_id}

    async def _sync(self, client: str, held: _Held) -> None:
        open_rows = await self._open_rows(client)
        await asyncio.to_thread(held.known.sync, open_rows, self._context.clock.now_ms())
        held.synced_s = asyncio.get_running_loop().time()

    async def _open_rows(self, client: str) -> dict[str, int]:
        """The client's open runs and how many rows of each are prepared."""
        redis, keys = self._context.redis, self._context.keys
        ids = [run.decode(errors="replace") for run in await redis.smembers(keys.open_runs)]
        pipe = redis.pipeline(transaction=False)
        for run in ids:
            pipe.hmget(keys.run(run), "client", "cursor")
        found = {}
        for run, reply in zip(ids, await pipe.execute(raise_on_error=False) if ids else [], strict=True):
            if isinstance(reply, list) and (reply[0] or b"default").decode(errors="replace") == client:
                found[run] = _row(reply[1])
        return found

    def _drop(self, client: str) -> None:
        self._held = {name: held for name, held in self._held.items() if name[0] != client}
        self._forget(client)


def _row(cursor: bytes | None) -> int:
    try:
        return int(wire.load(cursor)["row"]) if cursor else 0
    except (ValueError, TypeError, KeyError, RecursionError, msgspec.MsgspecError):
        return 0
