"""What others spent today with our keys, as providers tell it; it counts for the emergency cut-off.

A provider tells a key's whole spend, so the day's is the difference from the first look of the day, kept in Redis; of that we
take what our own calls with the key have cost since, which workers count as they go.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipelines.config.sections import Target
from worker.context import Context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.backends.http import Web

    Spent = Callable[[Web, Target], Awaitable[int | None]]
    """A provider's own file may say what a key has spent so far, in nano-dollars; None when it does not tell now."""

log = logging.getLogger("spillway.reported")

LOOK_EVERY_S = 30.0
LOOK_S = 5.0
KEEP_S = 3 * 86_400
OWN = b"own "


class Reported:
    """Asks each key once in a while, beside the loop that wants to know."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._due = 0.0
        self._looking: asyncio.Task[None] | None = None

    @cached_property
    def _asked(self) -> dict[str, tuple[Target, Spent]]:
        """Found when somebody wants to know, for it loads the providers' files."""
        return _keys(self._context)

    async def others_nusd(self, day: str) -> int:
        """What is known of today's spend of others, over all keys that tell; starts the next look when it is due."""
        if not self._asked:
            return 0
        now = asyncio.get_running_loop().time()
        if now >= self._due and (self._looking is None or self._looking.done()):
            self._due = now + LOOK_EVERY_S
            self._looking = asyncio.create_task(self.look(day))
            self._context.background.add(self._looking)
            self._looking.add_done_callback(self._context.background.discard)
        said = await self._context.redis.hgetall(self._context.keys.reported(day))
        return sum(
            _of_others(value, said.get(OWN + name, b"0")) for name, value in said.items() if not name.startswith(OWN)
        )

    async def look(self, day: str) -> None:
        """Asks every key once."""
        from worker.backends.http import Web

        redis, key = self._context.redis, self._context.keys.reported(day)
        async with Web(LOOK_S) as web:
            for name, (target, ask) in self._asked.items():
                now_nusd = await ask(web, target)
                if now_nusd is None:
                    continue
                known, own = await redis.hmget(key, name, OWN + name.encode())
                first, since = (known or b"%d %s" % (now_nusd, own or b"0")).split()[:2]
                pipe = redis.pipeline(transaction=True)
                pipe.hset(key, name, b"%s %s %d" % (first, since, now_nusd))
                pipe.expire(key, KEEP_S)
                await pipe.execute()


def key_of(target: Target) -> str | None:
    """A name for the key of a target whose provider tells what it has spent; it says nothing of the key itself."""
    if not target.key or _asker(target.kind) is None:
        return None
    digest = hashlib.blake2b(f"{target.base_url} {target.key}".encode(), digest_size=8).hexdigest()
    return f"{target.kind}:{digest}"


def count(pipe: Any, key: str, own: Mapping[str, int]) -> None:
    """Adds to a pipeline what our calls with each key have cost, nano-dollars; `key` is the day's."""
    for name, nusd in own.items():
        pipe.hincrby(key, OWN + name.encode(), nusd)
        pipe.expire(key, KEEP_S)


def _asker(kind: str) -> Spent | None:
    ask: Spent | None = getattr(import_module(f"worker.backends.{kind}"), "spent_nusd", None)
    return ask


def _keys(context: Context) -> dict[str, tuple[Target, Spent]]:
    """One target per key."""
    found: dict[str, tuple[Target, Spent]] = {}
    for target in context.settings.targets.values():
        name, ask = key_of(target), _asker(target.kind)
        if name is not None and ask is not None:
            found.setdefault(name, (target, ask))
    return found


def _of_others(value: bytes, own: bytes) -> int:
    """Of `first own_at_first now`: what came to the key since, less our own; nothing for what is not ours."""
    try:
        first, since, now = (int(part) for part in value.split())
        return max(0, now - first - (int(own) - since))
    except ValueError:
        return 0
