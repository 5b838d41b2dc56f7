"""The producer's connection to Redis: opened, checked, closed; trouble becomes one line. Nothing is enqueued here."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

from redis.asyncio import Redis as Client
from redis.asyncio import from_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError as RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pipelines.errors import QueueError

__all__ = ["Redis", "RedisError", "connected", "now_ms", "without_password"]

if TYPE_CHECKING:

    class Redis(Client):
        """redis-py 5 annotates its asyncio client as if it were both synchronous and not; here what we call is not."""

        async def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...
        async def hdel(self, name: str, *keys: str) -> int: ...
        async def hget(self, name: str, key: str) -> str | None: ...
        async def hgetall(self, name: str) -> dict[str, str]: ...
        async def hkeys(self, name: str) -> list[str]: ...
        async def hlen(self, name: str) -> int: ...
        async def hmget(self, name: str, keys: list[str], *args: list[str]) -> list[str | None]: ...
        async def hset(
            self, name: str, key: str | None = None, value: str | None = None, mapping: dict[Any, Any] | None = None,
            items: list[Any] | None = None,
        ) -> int: ...  # fmt: skip
        async def hvals(self, name: str) -> list[str]: ...
        async def lrange(self, name: str, start: int, end: int) -> list[str]: ...
        async def scard(self, name: str) -> int: ...
        async def sismember(self, name: str, value: str) -> Literal[0, 1]: ...
        async def smembers(self, name: str) -> set[str]: ...
        async def srem(self, name: str, *values: Any) -> int: ...

else:
    Redis = Client

PATIENCE = 6
"""Tries within one command: a restart of Redis is survived, a wrong address is told within seconds."""


@asynccontextmanager
async def connected(url: str, *, text: bool = True) -> AsyncIterator[Redis]:
    """A client that answers text, or bytes; QueueError when Redis cannot be reached, is lost for long, or refuses."""
    try:
        redis: Redis = from_url(
            url,
            decode_responses=text,
            encoding_errors="replace",
            retry=Retry(ExponentialBackoff(cap=1, base=0.05), PATIENCE),
            retry_on_error=[RedisConnectionError, RedisTimeoutError, OSError],
            socket_connect_timeout=5,
            health_check_interval=30,
        )
    except ValueError as error:
        raise QueueError(
            f"redis_url {without_password(url)} is not an address: {error}; see docs/configuration.md"
        ) from None
    try:
        await redis.ping()
        yield redis
    except AuthenticationError as error:
        raise QueueError(
            f"Redis at {without_password(url)} refuses: {error}; check the password in redis_url"
        ) from None
    except (RedisConnectionError, RedisTimeoutError, ssl.SSLError, ConnectionError) as error:
        what = f"cannot reach Redis at {without_password(url)}: {error}"
        raise QueueError(f"{what}; start it, or mend redis_url (--redis)") from None
    except RedisError as error:
        raise QueueError(f"Redis at {without_password(url)} refuses: {error}") from None
    finally:
        await redis.aclose()


async def now_ms(redis: Redis) -> int:
    """Redis' clock: the only one that hosts share."""
    seconds, micros = await redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


def without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.split('://')[0]}://…@{tail}" if at else url
