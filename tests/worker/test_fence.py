"""The fence on a real Redis: it holds for who has the lease and knows the run as it is, and no file of others falls behind it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import paths
from pipelines.errors import LeaseLost
from pipelines.settings import parse_settings
from tests.support_redis import redis_server
from worker.context import Context
from worker.fence import Fence, fence, no_fence
from worker.queue import connect
from worker.settle.audits import Audits
from worker.settle.ending import End, _forget_parts_above
from worker.store import Store

RUN = "20261126-010203-abcdef"


async def test_it_holds_while_the_lease_is_ours_and_the_run_is_as_it_was(tmp_path: Path) -> None:
    with redis_server() as url:
        redis = await connect(url)
        context = Context(parse_settings({"spillway": {"data": str(tmp_path)}}), redis, url)
        lease, run = context.keys.lease("settle"), context.keys.run(RUN)
        await redis.hset(run, mapping={"generation": 1, "parts": 1})
        ours = fence(context, "settle", RUN, {"generation": b"1"})
        with pytest.raises(LeaseLost, match=RUN):
            await asyncio.to_thread(ours)
        await redis.set(lease, context.owner)
        await asyncio.to_thread(ours)
        await redis.hset(run, "generation", 2)  # a retry
        with pytest.raises(LeaseLost):
            await asyncio.to_thread(ours)
        for number in (1, 2):
            context.store.write_table(paths.part(RUN, f"{number:08}"), pa.table({"row": [number]}))
        await End(context, Audits(context)).forget_parts(RUN)
        assert context.store.names(paths.parts_dir(RUN)) == [paths.part(RUN, "00000001")], (
            "who settles now forgets them"
        )
        await redis.aclose()


def test_parts_of_a_later_retry_are_not_forgotten_by_who_slept(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for name in (paths.part(RUN, "00000004"), paths.costs_part("2026-11-26", RUN, "00000004")):
        store.write_table(name, pa.table({"row": [1]}))

    def slept() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        _forget_parts_above(store, RUN, 3, slept)
    assert len(store.names(paths.parts_dir(RUN))) == 1
    _forget_parts_above(store, RUN, 3, no_fence)
    assert store.names(paths.parts_dir(RUN)) == []


async def test_it_falls_with_the_task_that_made_it_though_the_next_one_has_the_lease_again(context: Context) -> None:
    """The thread that writes outlives its task, and would publish what it had read before the lease was lost."""
    await context.redis.set(context.keys.lease("settle"), context.owner)
    begun, goes_on = threading.Event(), threading.Event()
    said: list[str] = []

    def write(ours: Fence) -> None:
        begun.set()
        goes_on.wait(10)
        try:
            context.store.write_bytes("old", b"", ours)
        except LeaseLost as error:
            said.append(str(error))

    async def step() -> None:
        await asyncio.to_thread(write, fence(context, "settle", RUN, {"generation": None}))

    task = asyncio.create_task(step())
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    goes_on.set()
    while not said and not context.store.exists("old"):
        await asyncio.sleep(0.01)
    assert said and not context.store.names("")
