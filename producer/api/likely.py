"""Tells in the log of POSTs that were likely sent twice: the same body by the same client within a minute, without a key.

It merges nothing and delays nobody: what was made is noted, and asked about in one step for all that came meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from pipelines import wire
from producer.queue import Redis, RedisError

log = logging.getLogger("spillway.api")

LIKELY_S = 60
GATHER_S = 0.1
MOST = 4096
"""Notes that wait; while Redis cannot be reached, what is more is not told."""

# KEYS: bodies  ARGV: 1 seconds, then what was made of each -> what was made of the same body before; '' for none, and for one
# that was told of already: a client that says the same thing a thousand times is told of once a minute
_SEEN = """
local told = {}
for i, name in ipairs(KEYS) do
  local first = redis.call('GET', name)
  if not first then redis.call('SET', name, ARGV[i + 1], 'EX', ARGV[1])
  elseif first ~= '' then redis.call('SET', name, '', 'KEEPTTL') end
  told[i] = first or ''
end
return told
"""


class _Note(NamedTuple):
    client: str
    path: str
    digest: str
    made: str


class Likely:
    """One server's; what several servers were sent is known by Redis."""

    def __init__(self, redis: Redis, keys: wire.Keys) -> None:
        self._redis, self._keys = redis, keys
        self._notes: list[_Note] = []

    def note(self, client: str, path: str, digest: str, made: str) -> None:
        if len(self._notes) < MOST:
            self._notes.append(_Note(client, path, digest, made))

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(GATHER_S)
            await self.tell()

    async def tell(self) -> None:
        """Of all that is noted."""
        notes, self._notes = self._notes, []
        if not notes:
            return
        names = [self._keys.api_once(each.client, f"body {each.path} {each.digest}") for each in notes]
        try:
            found = await self._redis.eval(_SEEN, len(names), *names, str(LIKELY_S), *(each.made for each in notes))
        except (RedisError, OSError) as error:
            log.warning("whether %d requests were sent twice is not known: %s", len(notes), error)
            return
        for each, first in zip(notes, found, strict=True):
            if first:
                log.warning(
                    "%s %s by %s: likely a duplicate of %s; an Idempotency-Key would merge them",
                    each.path, each.made, each.client, first,
                )  # fmt: skip
