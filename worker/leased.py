"""ARQ's worker with a short lease on each job, renewed while the job lives; ARQ is the doorbell, never the truth.

A batch's own epoch and holder (scripts/claim.lua) decide who may publish; the lease only decides when ARQ rings again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from arq.connections import ArqRedis, create_pool
from arq.constants import in_progress_key_prefix
from arq.worker import Worker, func

from pipelines import wire
from worker.aside import is_hostile
from worker.queue import RedisError, arq_settings
from worker.timing import JOB_LEASE_S

log = logging.getLogger("spillway.arq")

EXPIRES_MS = 30 * 86_400_000
JOB = "run_batch"


class LeasedWorker(Worker):
    """Its claim on a job lapses after JOB_LEASE_S without renewal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.in_progress_timeout_s = JOB_LEASE_S

    async def renew(self) -> None:
        """Keeps the leases of all jobs that run here; one pipeline."""
        if not self.tasks:
            return
        pipe = self.pool.pipeline(transaction=False)
        for job_id in list(self.tasks):
            pipe.pexpire(in_progress_key_prefix + job_id, int(JOB_LEASE_S * 1000))
        await pipe.execute()

    async def keep_leases(self) -> None:
        while True:
            await asyncio.sleep(JOB_LEASE_S / 3)
            try:
                await self.renew()
            except (RedisError, OSError) as error:
                log.warning("leases: %s", error)


async def pool(redis_url: str) -> ArqRedis:
    """A pool to ring bells with; JSON, never pickle."""
    return await create_pool(
        arq_settings(redis_url),
        job_serializer=wire.dump,
        job_deserializer=wire.load,
        expires_extra_ms=EXPIRES_MS,
    )


def listen(
    redis_pool: ArqRedis, queue: str, run_batch: Callable[[str, int], Awaitable[None]], max_jobs: int
) -> LeasedWorker:
    """A worker on one queue whose only job is to run a batch."""

    async def job(_: dict[str, Any], batch_id: str, epoch: int) -> None:
        try:
            await run_batch(batch_id, epoch)
        except RedisError as error:
            if not is_hostile(error):
                raise
            log.error("batch %s: its keys or its run's hold what is not ours: %s", batch_id, error)

    work: Any = job  # ARQ's type wants a coroutine function that takes anything
    return LeasedWorker(
        functions=[func(work, name=JOB, timeout=604_800, max_tries=1000, keep_result=0)],
        queue_name=queue,
        redis_pool=redis_pool,
        handle_signals=False,
        max_jobs=max_jobs,
        poll_delay=0.04,
        queue_read_limit=1000,
        health_check_interval=10,
        health_check_key=f"{queue}:health",
        job_serializer=wire.dump,
        job_deserializer=wire.load,
        expires_extra_ms=EXPIRES_MS,
        keep_result=0,
        log_results=False,
        retry_jobs=True,
        max_tries=1000,
        job_timeout=604_800,
    )


async def ring(redis_pool: ArqRedis, keys: wire.Keys, lane: str, batch_id: str, epoch: int) -> None:
    """Puts a rung batch into its lane's queue; ringing twice is harmless."""
    queue = keys.local_queue if lane == "local" else keys.cloud_queue
    await redis_pool.enqueue_job(JOB, batch_id, epoch, _job_id=keys.job(batch_id, epoch), _queue_name=queue)
