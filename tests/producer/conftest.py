"""One Redis server for all tests of the producer, empty at the beginning of each test that asks for it; records, and inbox runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import Redis as Plain

from pipelines import wire
from producer.inbox import Inboxes
from producer.queue import Redis, connected
from producer.records import Records
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


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(str(tmp_path / "data"))


@pytest.fixture
async def inboxes(redis: Redis, records: Records) -> AsyncIterator[Inboxes]:
    found = Inboxes(redis, wire.Keys("test-inbox"), records, "channel", 30.0)
    yield found
    await found.close()


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for sources, beside `data` in the folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"
