"""A real Redis for the tests of a module, and a worker's context on it; emptied before each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pipelines.settings import parse_settings
from tests.support_redis import redis_server
from worker.context import Context
from worker.queue import connect


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture
async def context(server: str, tmp_path: Path) -> AsyncIterator[Context]:
    """It knows the scripts and this life of Redis; its data root is the test's folder."""
    redis = await connect(server)
    await redis.flushall()
    found = Context(parse_settings({"spillway": {"data": str(tmp_path)}}), redis, server)
    await found.scripts.load()
    await found.again.seen("this life")
    yield found
    await redis.aclose()
