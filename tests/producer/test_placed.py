"""Who sends a submission with its key again finds the row of the first one, wherever the server died; and nothing where there is none."""

from __future__ import annotations

import asyncio
import inspect
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import paths, wire
from pipelines.errors import QueueError
from producer import placed
from producer.inbox import Inboxes, _Inbox
from producer.placed import Place
from producer.queue import Redis
from producer.records import Records

KEYS = wire.Keys("test-inbox")
NAME = KEYS.api_once("acme", "place of a submission")
ROW = b'{"body":{}}'


async def find(redis: Redis, records: Records) -> Place | None:
    return await placed.find(redis, KEYS, records.store, NAME)


async def test_it_is_where_its_submitter_was_told(redis: Redis, records: Records, inboxes: Inboxes) -> None:
    assert await find(redis, records) is None
    others = [inboxes.submit("acme", [ROW, ROW]) for _ in range(3)]
    *_, place = await asyncio.gather(*others, inboxes.submit("acme", [ROW], name=NAME))
    assert place.row == 6
    assert await find(redis, records) == place
    assert await redis.hget(KEYS.run(place.run_id), "inbox") != "closing", "who repeats a request ends nothing"
    assert 0 < await redis.ttl(NAME) <= placed.KEPT_S


async def test_a_place_that_an_older_server_noted_is_known_for_its_day(
    redis: Redis, records: Records, inboxes: Inboxes
) -> None:
    """It noted a place when its row was in, and not which segment it was in."""
    place = await inboxes.submit("acme", [ROW])
    await redis.set(NAME, f"{place.run_id} {place.row}", ex=placed.KEPT_S)
    assert await find(redis, records) == place


async def cut_off(inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str) -> str:
    """A submission whose server comes no further than this step; the run that was open."""
    first, real = await inboxes.submit("acme", [ROW]), getattr(owner, step)

    async def last(*args: Any) -> None:
        await real(*args)
        raise OSError("killed")

    def last_of_a_thread(*args: Any) -> None:
        real(*args)
        raise OSError("killed")

    with monkeypatch.context() as there, pytest.raises(QueueError):
        there.setattr(owner, step, last if inspect.iscoroutinefunction(real) else last_of_a_thread)
        await inboxes.submit("acme", [ROW], name=NAME)
    return first.run_id


async def test_a_row_that_was_never_written_is_nowhere(
    redis: Redis, records: Records, inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cut_off(inboxes, monkeypatch, placed, "note")
    assert await redis.exists(NAME) and await find(redis, records) is None
    again = await inboxes.submit("acme", [ROW], name=NAME)
    assert await find(redis, records) == again


async def test_a_row_of_which_nobody_was_told_is_there(
    redis: Redis, records: Records, inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await cut_off(inboxes, monkeypatch, _Inbox, "_append")
    assert await find(redis, records) == Place(run_id, 1)


async def test_a_row_that_is_on_the_disk_alone_is_brought_in_now(
    redis: Redis, records: Records, inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await cut_off(inboxes, monkeypatch, _Inbox, "_write")
    assert await redis.hget(KEYS.run(run_id), "segments") == "1"
    assert await find(redis, records) == Place(run_id, 1)
    assert await redis.hget(KEYS.run(run_id), "inbox") == "closing", (
        "whoever repeats it need not wait for the run's time"
    )
    assert await find(redis, records) == Place(run_id, 1), "a third time"


async def test_a_row_that_was_refused_is_nowhere_though_it_is_on_the_disk(
    redis: Redis, records: Records, inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await cut_off(inboxes, monkeypatch, _Inbox, "_write")
    await redis.hset(KEYS.run(run_id), "cut_at", 1)
    assert await find(redis, records) is None


async def test_a_row_of_which_nobody_was_told_is_there_whatever_a_model_refused(
    redis: Redis, records: Records, inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers count in the run's `refused` what a model would not answer: that is no place where the run is cut off."""
    await inboxes.submit("acme", [ROW])
    run_id = await cut_off(inboxes, monkeypatch, _Inbox, "_write")
    await redis.hincrby(KEYS.run(run_id), "refused", 1)
    assert await find(redis, records) == Place(run_id, 2)


@pytest.mark.parametrize("rows", [1, 2])
async def test_a_run_that_redis_forgot_is_known_by_its_results(
    redis: Redis, records: Records, inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Its segments are gone with it."""
    run_id = await cut_off(inboxes, monkeypatch, _Inbox, "_write")
    results = Path(records.path(paths.results(run_id)))
    results.parent.mkdir(parents=True)
    pl.DataFrame({"row": range(rows), "cost_usd": [Decimal("0.0")] * rows}).write_parquet(results)
    for segment in Path(records.path(paths.inbox_dir(run_id))).iterdir():
        segment.unlink()
    assert await find(redis, records) is None, "Redis knows the run, and that it came in without this row"
    await redis.delete(KEYS.run(run_id))
    assert await find(redis, records) == (Place(run_id, 1) if rows == 2 else None)
