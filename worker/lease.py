"""Named leases (one scheduler, one settler, one preparer per client) on Redis' clock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipelines import wire
from worker.queue import RedisError, Scripts
from worker.timing import LEASE_MS

log = logging.getLogger("spillway.lease")

T = TypeVar("T")


class Lease:
    """One name that at most one process holds; a holder that cannot renew stops in time."""

    def __init__(self, scripts: Scripts, keys: wire.Keys, name: str, owner: str) -> None:
        self._scripts, self._key, self._owner = scripts, keys.lease(name), owner
        self.name = name
        self.renewed_s = -math.inf
        """When it was taken or renewed last, on this process' clock: it is ours for LEASE_MS from then on."""

    async def take(self) -> bool:
        """Takes or renews; False: somebody else holds it."""
        return await self._hold()

    async def renew(self) -> bool:
        """Renews what was never lost. False: it lapsed, and whoever may have had it meanwhile has changed what we knew."""
        return await self._hold("held")

    async def _hold(self, *only: str) -> bool:
        now_s = time.monotonic()
        if not await self._scripts.lease(keys=[self._key], args=[self._owner, LEASE_MS, *only]):
            return False
        self.renewed_s = now_s
        return True

    async def give_back(self) -> None:
        await self._scripts.unlease(keys=[self._key], args=[self._owner])


class Leases:
    """Leases that are taken as work comes and given back when it has not come for a while."""

    IDLE_S = 10.0

    def __init__(self, scripts: Scripts, keys: wire.Keys, prefix: str, owner: str) -> None:
        self._scripts, self._keys, self._prefix, self._owner = scripts, keys, prefix, owner
        self._held: dict[str, Lease] = {}
        self._used_s: dict[str, float] = {}

    async def take(self, name: str) -> tuple[Lease | None, bool]:
        """The lease, or None while somebody else holds it; and whether it was ours all the time since the last call."""
        now = time.monotonic()
        lease = self._held.get(name) or Lease(self._scripts, self._keys, f"{self._prefix}:{name}", self._owner)
        ours = now - lease.renewed_s < LEASE_MS / 2000
        if now - lease.renewed_s > LEASE_MS / 5000:
            if not await lease.take():
                self._drop(name)
                return None, False
            self._held[name] = lease
        self._used_s[name] = now
        return lease, ours

    def used(self, name: str) -> None:
        """A step that it was taken for has ended."""
        if name in self._held:
            self._used_s[name] = time.monotonic()

    async def rest(self, *, everything: bool = False) -> list[str]:
        """Renews what is held and gives back what was of no use for a while; names what is not ours any more."""
        gone = []
        for name, lease in list(self._held.items()):
            now = time.monotonic()
            if everything or now - self._used_s[name] > self.IDLE_S:
                await lease.give_back()
            elif now - lease.renewed_s <= LEASE_MS / 5000 or await lease.renew():
                continue
            self._drop(name)
            gone.append(name)
        return gone

    def _drop(self, name: str) -> None:
        self._held.pop(name, None)
        self._used_s.pop(name, None)


async def repeat(name: str, work: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    """Runs `work` (one step of a loop) again and again; what fails is tried again after a pause."""
    while not stopping.is_set():
        try:
            await work()
        except (RedisError, OSError) as error:
            log.warning("%s: %s", name, error)
            await _pause(stopping, 1.0)
        except Exception:
            log.exception("%s failed; trying again", name)
            await _pause(stopping, 2.0)


async def hold(
    lease: Lease,
    work: Callable[[], Awaitable[None]],
    stopping: asyncio.Event,
    rest: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """`repeat` while the lease is ours; waits for it otherwise. `rest` is done at the end, if it is ours then.

    A step may be long: the lease is renewed beside it, and lost leases cancel the step.
    """

    async def step() -> None:
        if await lease.take():
            await beside(lease, work())
        else:
            await _pause(stopping, LEASE_MS / 5000)

    await repeat(lease.name, step, stopping)
    with contextlib.suppress(RedisError, OSError):
        if rest is not None and await lease.renew():
            await rest()
        await lease.give_back()


async def beside(lease: Lease, work: Awaitable[T]) -> T | None:
    """What `work` returns, with the lease renewed beside it; None when the lease was lost and the work cancelled."""
    step = asyncio.ensure_future(work)
    try:
        while True:
            done, _ = await asyncio.wait({step}, timeout=LEASE_MS / 3000)
            if done:
                return step.result()
            if not await lease.renew():
                log.warning("%s: the lease was lost; stopping this step", lease.name)
                return None
    finally:
        if not step.done():
            step.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await step


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
