"""The connection to Redis and the Lua scripts beside it: the only worker file that imports the redis client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeAlias

from arq.connections import RedisSettings
from redis.asyncio import from_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pipelines import wire
from pipelines.errors import QueueError

__all__ = [
    "OPEN",
    "NoScriptError",
    "Pipeline",
    "Redis",
    "RedisError",
    "ResponseError",
    "Scripts",
    "arq_settings",
    "connect",
    "noted",
    "redis_now_us",
    "shut_down",
]

Redis: TypeAlias = Any
Pipeline: TypeAlias = Any
"""redis-py 5 annotates its asyncio client as if it were both synchronous and not; to a checker it is anything."""

_RETRY_ON: list[type[Exception]] = [RedisConnectionError, RedisTimeoutError, OSError]


async def connect(url: str, *, decode: bool = False, retries: int = 20) -> Redis:
    """A client that survives a restart of Redis; QueueError when it never answers."""
    redis: Redis = from_url(
        url,
        decode_responses=decode,
        retry=Retry(ExponentialBackoff(cap=2, base=0.1), retries),
        retry_on_error=_RETRY_ON,
        retry_on_timeout=True,
        socket_connect_timeout=5,
        health_check_interval=30,
    )
    try:
        await redis.ping()
    except (RedisError, OSError) as error:
        await redis.aclose()
        raise QueueError(
            f"cannot reach Redis at {_safe(url)}: {error}. Is it running, and is redis_url right?"
        ) from None
    return redis


def shut_down(url: str) -> None:
    """Stops a Redis of ours; its append-only file has everything. One that is gone already is fine."""
    from redis import Redis as Plain

    with contextlib.suppress(RedisError, OSError), Plain.from_url(url, socket_timeout=5) as redis:
        redis.shutdown(nosave=True)


def _safe(url: str) -> str:
    """The URL without its password."""
    head, at, tail = url.rpartition("@")
    return f"{head.split('://')[0]}://…@{tail}" if at else url


def arq_settings(url: str) -> RedisSettings:
    """ARQ's own form of the same address and the same patience."""
    settings = RedisSettings.from_dsn(url)
    settings.conn_retries = 30
    settings.retry = Retry(ExponentialBackoff(cap=2, base=0.1), 20)
    settings.retry_on_error = _RETRY_ON
    settings.retry_on_timeout = True
    return settings


async def redis_now_us(redis: Redis) -> int:
    """Redis' clock: the only one that decides anything between machines."""
    seconds, micros = await redis.time()
    return int(seconds) * 1_000_000 + int(micros)


OPEN = f" {' '.join(wire.RUN_OPEN)} "
"""The states of an open run as scripts want them: each between blanks."""


def noted(said: Mapping[str, Any], *, seen: Mapping[str, Any] | None = None, statuses: str = OPEN) -> list[Any]:
    """What note.lua wants to say of a run that has one of these statuses and these fields as they were seen ('' none)."""
    parts = [part for pair in (seen or {}).items() for part in pair]
    return [statuses, len(parts) // 2, *parts, *(part for pair in said.items() for part in pair)]


UNLESS_CALLED = "if #KEYS == 0 then return 0 end\n"
"""Makes a script load itself when it is run without keys. SCRIPT LOAD would do, but Redis 6 writes that into its
append-only file, and a Redis that was started anew must not know them."""


class Scripts:
    """The Lua scripts, called by their file name: `await scripts.ring(keys=[...], args=[...])`.

    A Redis that was started anew knows none; `gate` is what must have happened before it may know them again.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.gate: Callable[[], Awaitable[None]] | None = None
        folder = Path(__file__).parent / "scripts"
        self._texts = {path.stem: UNLESS_CALLED + path.read_text() for path in sorted(folder.glob("*.lua"))}
        self._shas = {
            name: sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in self._texts.items()
        }
        self._loading = asyncio.Lock()

    def __getattr__(self, name: str) -> Any:
        if name not in self._shas:
            raise AttributeError(name)

        async def call(*, keys: list[str], args: list[Any]) -> Any:
            while True:
                try:
                    return await self.redis.evalsha(self._shas[name], len(keys), *keys, *args)
                except NoScriptError:
                    await self.load()

        return call

    async def now(self, name: str, keys: list[str], args: list[Any]) -> Any:
        """One call with the script's text, whatever Redis knows."""
        return await self.redis.eval(self._texts[name], len(keys), *keys, *args)

    async def load(self) -> None:
        """Puts every script into Redis, so that pipelines may call them by hash; behind the gate."""
        async with self._loading:
            if all(await self.redis.script_exists(*self._shas.values())):
                return
            if self.gate is not None:
                await self.gate()
            for text in self._texts.values():
                await self.redis.eval(text, 0)

    def queue(self, pipe: Pipeline, name: str, keys: list[str], args: list[Any]) -> None:
        """Adds one call to a pipeline; NoScriptError after a Redis restart means: `load` and repeat."""
        pipe.evalsha(self._shas[name], len(keys), *keys, *args)
