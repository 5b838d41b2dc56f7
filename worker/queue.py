"""The connection to Redis and the Lua scripts beside it: the only worker file that imports the redis client."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, TypeAlias

from arq.connections import RedisSettings
from redis.asyncio import from_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pipelines.errors import QueueError

__all__ = [
    "NoScriptError",
    "Pipeline",
    "Redis",
    "RedisError",
    "Scripts",
    "arq_settings",
    "connect",
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


class Scripts:
    """The Lua scripts, called by their file name: `await scripts.ring(keys=[...], args=[...])`."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        folder = Path(__file__).parent / "scripts"
        self._scripts = {path.stem: redis.register_script(path.read_text()) for path in sorted(folder.glob("*.lua"))}

    def __getattr__(self, name: str) -> Any:
        try:
            return self._scripts[name]
        except KeyError:
            raise AttributeError(name) from None

    async def load(self) -> None:
        """Puts every script into Redis, so that pipelines may call them by hash."""
        for script in self._scripts.values():
            await self.redis.script_load(script.script)

    def queue(self, pipe: Pipeline, name: str, keys: list[str], args: list[Any]) -> None:
        """Adds one call to a pipeline; NoScriptError after a Redis restart means: `load` and repeat."""
        pipe.evalsha(self._scripts[name].sha, len(keys), *keys, *args)
