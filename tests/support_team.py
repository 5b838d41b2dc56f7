"""Several worker processes on one Redis server, as a team of hosts would be; stopped at the end of the block."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis

from pipelines import wire
from tests.support_program import Program, wait_until

KEYS = wire.Keys()


@contextmanager
def team(program: Program, redis_url: str, lanes: int = 2) -> Iterator[list[subprocess.Popen[str]]]:
    """One process for the flow, `lanes` of them for the calls; ready when all are known in Redis."""
    roles = ["prepare,schedule,settle", *["local,cloud"] * lanes]
    workers = [program.start("worker", "--redis", redis_url, "--roles", each) for each in roles]
    redis: Redis = Redis.from_url(redis_url)
    try:
        wait_until(lambda: redis.hlen(KEYS.workers) >= len(workers), 60)
        yield workers
    finally:
        redis.close()
        for worker in workers:
            worker.terminate()
        for worker in workers:
            try:
                worker.communicate(timeout=40)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.communicate()
