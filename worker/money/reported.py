"""What providers say was spent with our keys today; it counts for the emergency cut-off, whoever spent it.

A provider tells a key's whole spend, so the day's is the difference from the first look of the day, kept in Redis.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module

from pipelines.sections import Target
from worker.backends.http import Web
from worker.context import Context

log = logging.getLogger("spillway.reported")

LOOK_EVERY_S = 30.0
LOOK_S = 5.0
KEEP_S = 3 * 86_400

Spent = Callable[[Web, Target], Awaitable[int | None]]
"""A provider's own file may say what a key has spent so far, in nano-dollars; None when it does not tell now."""


class Reported:
    """Asks each key once in a while, beside the loop that wants to know."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._due = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._asked = _keys(context)

    async def spent_nusd(self, day: str) -> int:
        """What is known of today's spend, over all keys that tell; starts the next look when it is due."""
        if not self._asked:
            return 0
        now = asyncio.get_running_loop().time()
        if now >= self._due and (self._looking is None or self._looking.done()):
            self._due = now + LOOK_EVERY_S
            self._looking = asyncio.create_task(self.look(day))
            self._context.background.add(self._looking)
            self._looking.add_done_callback(self._context.background.discard)
        said = await self._context.redis.hgetall(self._context.keys.reported(day))
        return sum(_since_first(value) for value in said.values())

    async def look(self, day: str) -> None:
        """Asks every key once."""
        redis, key = self._context.redis, self._context.keys.reported(day)
        async with Web(LOOK_S) as web:
            for name, (target, ask) in self._asked.items():
                now_nusd = await ask(web, target)
                if now_nusd is None:
                    continue
                first = (await redis.hget(key, name) or str(now_nusd).encode()).split()[0]
                await redis.hset(key, name, b"%s %d" % (first, now_nusd))
                await redis.expire(key, KEEP_S)


def _keys(context: Context) -> dict[str, tuple[Target, Spent]]:
    """One target per key; the key's name in Redis tells nothing of it."""
    found: dict[str, tuple[Target, Spent]] = {}
    for target in context.settings.targets.values():
        ask: Spent | None = getattr(import_module(f"worker.backends.{target.kind}"), "spent_nusd", None)
        if ask is not None and target.key:
            digest = hashlib.blake2b(f"{target.base_url} {target.key}".encode(), digest_size=8).hexdigest()
            found.setdefault(f"{target.kind}:{digest}", (target, ask))
    return found


def _since_first(value: bytes) -> int:
    """The difference of `first now`; nothing for what is not ours."""
    try:
        first, now = (int(part) for part in value.split())
    except ValueError:
        return 0
    return max(0, now - first)
