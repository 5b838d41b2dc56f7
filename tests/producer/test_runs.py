"""What is done to a run by its name: cancelled, retried, followed, listed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pipelines.errors import UsageError
from pipelines.types import Options
from producer import intake, runs
from producer.queue import Redis
from producer.records import Records
from tests.producer.intake_records import KEYS, NOW_MS, end, publish, start


async def test_cancel_marks_and_rings_once(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    await redis.delete(KEYS.wake)
    for _ in range(2):
        seen = await intake.cancel(redis, KEYS, made.run_id)
        assert (seen.status, seen.cancel) == ("cancelling", "1")
    assert await redis.llen(KEYS.wake) == 1


async def test_cancel_leaves_an_ended_run_alone(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    await end(redis, made.run_id, "completed")
    assert (await intake.cancel(redis, KEYS, made.run_id)).status == "completed"
    assert await redis.smembers(KEYS.open_runs) == set()


async def test_retry_asks_failed_rows_again(redis: Redis, records: Records) -> None:
    made = await start(redis, records, options=Options(deadline_s=60.0))
    with pytest.raises(UsageError, match="is in_progress"):
        await intake.retry(redis, KEYS, records, made.run_id, NOW_MS)
    await end(redis, made.run_id, "completed", failed=2, cursor='{"row":9}')
    publish(records, made.run_id)
    await redis.expire(KEYS.run(made.run_id), 60)  # as an inbox run that has ended
    seen = await intake.retry(redis, KEYS, records, made.run_id, NOW_MS + 500)
    assert await redis.ttl(KEYS.run(made.run_id)) == -1, "it does not go while it is asked again"
    assert (seen.status, seen.failed, seen.deadline_ms) == ("in_progress", 0, NOW_MS + 60_500)
    assert json.loads(await redis.hget(KEYS.run(made.run_id), "redo") or "") == ["failed"]
    assert await redis.smembers(KEYS.open_runs) == {made.run_id}


async def test_each_retry_begins_at_a_cursor_of_its_own(redis: Redis, records: Records) -> None:
    """Who slept since the one before compares what he read with it, and must find another."""
    made, cursors = await start(redis, records), []
    publish(records, made.run_id)
    for _ in range(2):
        await end(redis, made.run_id, "completed", failed=2, cursor='{"row":9,"redo":1}')
        await intake.retry(redis, KEYS, records, made.run_id, NOW_MS)
        cursors.append(json.loads(await redis.hget(KEYS.run(made.run_id), "cursor") or ""))
    assert [each["row"] for each in cursors] == [9, 9] and cursors[0] != cursors[1]


async def test_retry_needs_something_to_retry(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    await end(redis, made.run_id, "completed", failed=3, summary='{"failed":0}')
    with pytest.raises(UsageError, match=r"no failed rows to retry$"):
        await intake.retry(redis, KEYS, records, made.run_id, NOW_MS)
    for status in ("cancelled", "expired"):
        await end(redis, made.run_id, status, failed=0, summary="")
        with pytest.raises(UsageError, match=f"what was not answered is {status}; submit it again to have it asked"):
            await intake.retry(redis, KEYS, records, made.run_id, NOW_MS)


async def test_retry_needs_the_results_of_before(redis: Redis, records: Records) -> None:
    """A worker reads there which rows had failed."""
    made = await start(redis, records)
    await end(redis, made.run_id, "completed", failed=3)
    with pytest.raises(UsageError, match=rf"has lost results/run={made.run_id}/results\.parquet: put it back"):
        await intake.retry(redis, KEYS, records, made.run_id, NOW_MS)
    assert not await redis.smembers(KEYS.open_runs)
    publish(records, made.run_id)
    await end(redis, made.run_id, "failed", failed=3, aside="1")
    with pytest.raises(UsageError, match="was set aside: submit it again, it begins anew"):
        await intake.retry(redis, KEYS, records, made.run_id, NOW_MS)


@pytest.mark.parametrize("name", ["nope", "../x", "", "a b"])
async def test_an_unknown_run_is_named(redis: Redis, records: Records, name: str) -> None:
    for call in (
        runs.get(redis, KEYS, name),
        intake.cancel(redis, KEYS, name),
        intake.retry(redis, KEYS, records, name, 1),
    ):
        with pytest.raises(UsageError, match="spillway status"):
            await call


async def test_follow_ends_with_the_end(redis: Redis, records: Records) -> None:
    made = await start(redis, records, estimate=(10, 100))

    async def work() -> None:
        await asyncio.sleep(0.03)
        await redis.hset(KEYS.run(made.run_id), mapping={"ok": 4, "duplicate": 1, "rows": 5, "cost_pusd": 10**13})
        await asyncio.sleep(0.03)
        await end(redis, made.run_id, "completed", summary='{"rows":5}')

    task = asyncio.create_task(work())
    views = [seen async for seen in runs.follow(redis, KEYS, made.run_id, every_s=0.01)]
    await task
    assert (views[0].total, views[0].done) == (10, 0)
    assert any(seen.done == 5 and seen.total == 10 and not seen.ended for seen in views)
    assert views[-1].ended
    assert (views[-1].total, views[-1].cost_pusd, views[-1].summary) == (5, 10**13, {"rows": 5})
    assert [seen.ended for seen in views].count(True) == 1


@pytest.mark.parametrize(
    ("counted", "done"),
    [
        ({"asked": 129, "duplicate": 171}, 0),
        ({"asked": 129, "duplicate": 171, "ok": 43}, 43 + 57),
        ({"asked": 129, "duplicate": 171, "ok": 100, "failed": 9, "refused": 20}, 300),
        ({"asked": 0, "duplicate": 300, "borrowed": 300}, 0),
        ({"asked": 0, "duplicate": 300, "borrowed": 300, "freed": 120, "lent": 120}, 120),
        ({"asked": 0, "duplicate": 300, "borrowed": 300, "freed": 300, "lent": 300}, 300),
        ({"asked": 30, "duplicate": 270, "borrowed": 300, "freed": 300}, 0),
        ({"asked": 30, "duplicate": 270, "borrowed": 300, "freed": 300, "ok": 30}, 300),
        ({"asked": 100, "duplicate": 200, "borrowed": 100, "ok": 50}, 50 + 50),
        ({"asked": 129, "duplicate": 9, "invalid": 12, "summary": '{"rows": 300, "ok": 129, "duplicate": 159}'}, 300),
        ({"duplicate": 171}, 171),
    ],
    ids=[
        "nothing answered", "a third answered", "all ended", "the other run has no answer", "some of its answers",
        "all of its answers", "it ended without", "and they were asked", "both kinds", "ended", "as older records say it",
    ],
)  # fmt: skip
def test_a_duplicate_is_done_when_its_leader_has_an_answer(counted: dict[str, Any], done: int) -> None:
    found = runs.view("20260301-080000-abc123", {"status": "in_progress", "rows": "300", "prepared": "1"} | counted)
    assert found.done == done
    again = runs.of_record({"run_id": found.run_id, "seen": found.counted, "status": "in_progress"})
    assert found.summary or again.done == done, "stopped here, it is shown by its record"


async def test_runs_are_listed_newest_first(redis: Redis, records: Records) -> None:
    made = [(await start(redis, records, client=f"c{n}", now_ms=NOW_MS + n)).run_id for n in range(3)]
    assert [seen.run_id for seen in await runs.list_runs(redis, KEYS)] == made[::-1]
    assert [seen.client for seen in await runs.list_runs(redis, KEYS, limit=1)] == ["c2"]
