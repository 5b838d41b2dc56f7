"""One Redis server for all tests of the producer, empty at the beginning of each test that asks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis as Plain

from producer.queue import Redis, connected
from tests.support_redis import redis_server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
def url(redis_url: str) -> str:
    with Plain.from_url(redis_url) as client:
        client.flushall()
    return redis_url


@pytest.fixture
async def redis(url: str) -> AsyncIterator[Redis]:
    async with connected(url) as client:
        yield client
