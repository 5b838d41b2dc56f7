"""Named leases (one scheduler, one settler, one preparer per client) on Redis' clock."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from pipelines import wire
from worker.queue import RedisError, Scripts
from worker.timing import LEASE_MS

log = logging.getLogger("spillway.lease")


class Lease:
    """One name that at most one process holds; a holder that cannot renew stops in time."""

    def __init__(self, scripts: Scripts, keys: wire.Keys, name: str, owner: str) -> None:
        self._scripts, self._key, self._owner = scripts, keys.lease(name), owner
        self.name = name

    async def take(self) -> bool:
        """Takes or renews; False: somebody else holds it."""
        return bool(await self._scripts.lease(keys=[self._key], args=[self._owner, LEASE_MS]))

    async def give_back(self) -> None:
        await self._scripts.unlease(keys=[self._key], args=[self._owner])


async def hold(lease: Lease, work: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    """Runs `work` (one step of a loop) again and again while the lease is ours; waits for it otherwise.

    A step may be long: the lease is renewed beside it, and lost leases cancel the step.
    """
    while not stopping.is_set():
        try:
            if not await lease.take():
                await _pause(stopping, LEASE_MS / 5000)
                continue
            await _beside(lease, work)
        except (RedisError, OSError) as error:
            log.warning("%s: %s", lease.name, error)
            await _pause(stopping, 1.0)
        except Exception:
            log.exception("%s failed; trying again", lease.name)
            await _pause(stopping, 2.0)
    with contextlib.suppress(RedisError, OSError):
        await lease.give_back()


async def _beside(lease: Lease, work: Callable[[], Awaitable[None]]) -> None:
    step = asyncio.ensure_future(work())
    while True:
        done, _ = await asyncio.wait({step}, timeout=LEASE_MS / 3000)
        if done:
            step.result()
            return
        if not await lease.take():
            log.warning("%s: the lease was lost; stopping this step", lease.name)
            step.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await step
            return


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
