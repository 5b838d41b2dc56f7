"""One step at a time across servers: a named lease on Redis' clock, renewed while the step lives.

A lease saves work; what must not happen twice is safe to repeat by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipelines import wire
from producer.queue import Redis, RedisError

LEASE_MS = 15_000

# KEYS: 1 lease  ARGV: 1 owner  2 ms, 0 gives it back  -> 1 when it was ours
_LEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
"""


@asynccontextmanager
async def held(redis: Redis, keys: wire.Keys, name: str, lease_ms: int = LEASE_MS) -> AsyncIterator[bool]:
    """Whether the lease is ours for the block: False while somebody else holds it. Who is killed in the block keeps
    others out for `lease_ms`."""
    owner, key = secrets.token_hex(8), keys.lease(name)
    if not await redis.set(key, owner, nx=True, px=lease_ms):
        yield False
        return
    renewing = asyncio.create_task(_renew(redis, key, owner, lease_ms))
    try:
        yield True
    finally:
        renewing.cancel()
        with contextlib.suppress(RedisError, OSError):  # it lapses by itself; how the block ended is what counts
            await redis.eval(_LEASE, 1, key, owner, "0")


async def _renew(redis: Redis, key: str, owner: str, lease_ms: int) -> None:
    ours = True
    while ours:
        await asyncio.sleep(lease_ms / 3000)
        with contextlib.suppress(RedisError, OSError):  # ours until Redis says that it is not
            ours = bool(await redis.eval(_LEASE, 1, key, owner, str(lease_ms)))
