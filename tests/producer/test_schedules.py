"""Schedules on a real Redis and real files, by a clock that the tests set: once per due time, whatever is killed."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.settings import parse_settings
from producer import schedules
from producer.queue import Redis
from producer.records import Records
from producer.schedules import Desk
from tests.producer.schedule_desk import DAY_MS, FIRST, KEYS, LINE, NOON, desk, end, files_of, ms, runs

# -- when ------------------------------------------------------------------------------------------------------------


async def test_it_fires_when_due_and_not_before(redis: Redis, inbox: Path) -> None:
    (inbox / "a.jsonl").write_text(LINE * 3)
    here = desk(redis, deadline="6h", labels=["x", "y"], client="acme", budget="2.50", dedupe="exact")
    assert await schedules.tick(here, NOON) == [], "a new schedule has missed nothing"
    assert await schedules.tick(here, FIRST - 1) == []
    (fired,) = await schedules.tick(here, FIRST)
    (run,) = await runs(redis)
    assert (run["id"], run["client"], run["status"]) == (fired.run_id, "acme", "in_progress")
    assert json.loads(run["options"]) == {
        "route": None, "template": None, "schema": None, "labels": ["x", "y"], "deadline_s": 21_600.0,
        "budget_nusd": 2_500_000_000, "dedupe": "exact", "keep_response": True,
    }  # fmt: skip
    assert (run["deadline_ms"], run["rows_estimate"]) == (str(FIRST + 21_600_000), "3")
    assert run["origin"] == f"nightly@{FIRST}" and run["fresh"] == ""
    assert (Records("data").read(run["id"]) or {})["origin"] == run["origin"]
    assert await redis.smembers(KEYS.open_runs) == {run["id"]} and await redis.llen(KEYS.wake) == 1
    assert await schedules.tick(here, FIRST + 1000) == [], "once"


async def test_missed_firings_are_caught_up_once(redis: Redis, inbox: Path) -> None:
    here = desk(redis)
    await schedules.tick(here, NOON)
    (inbox / "a.jsonl").write_text(LINE)
    late = FIRST + 9 * DAY_MS + 3_600_000
    (fired,) = await schedules.tick(here, late)
    assert (fired.due_ms, fired.at_ms) == (FIRST + 9 * DAY_MS, late)
    await end(redis)
    (inbox / "b.jsonl").write_text(LINE)
    assert await schedules.tick(here, late + 1) == []
    (fired,) = await schedules.tick(here, FIRST + 10 * DAY_MS)
    assert fired.due_ms == FIRST + 10 * DAY_MS


async def test_summer_time(redis: Redis, inbox: Path) -> None:
    (inbox / "a.jsonl").write_text(LINE)
    here = desk(redis, timezone="Europe/Berlin", cron="30 2 * * *")
    await schedules.tick(here, ms("2026-03-28T12:00+01:00"))
    assert await schedules.tick(here, ms("2026-03-29T01:59+01:00")) == []
    (fired,) = await schedules.tick(here, ms("2026-03-29T03:00+02:00"))
    await end(redis)
    assert fired.due_ms == ms("2026-03-29T03:00+02:00")
    assert await schedules.tick(here, ms("2026-03-29T23:00+02:00")) == []


async def test_never_two_at_once(redis: Redis, inbox: Path) -> None:
    here = desk(redis)
    await schedules.tick(here, NOON)
    (inbox / "a.jsonl").write_text(LINE)
    (first,) = await schedules.tick(here, FIRST)
    (inbox / "b.jsonl").write_text(LINE)
    assert await schedules.tick(here, FIRST + DAY_MS) == [], "its run is open"
    assert (await schedules.standing(here, "nightly", FIRST + DAY_MS)).late
    with pytest.raises(UsageError, match=f"{first.run_id} has not ended"):
        await schedules.fire(here, "nightly", FIRST + DAY_MS, by_hand=True)
    await end(redis, "expired")
    (second,) = await schedules.tick(here, FIRST + DAY_MS + 3_600_000)
    assert second.due_ms == FIRST + DAY_MS, "what was due meanwhile is caught up"
    assert [files_of(run) for run in await runs(redis)] == [["a.jsonl"], ["b.jsonl"]]


async def test_changed_times_are_not_caught_up(redis: Redis, inbox: Path) -> None:
    (inbox / "a.jsonl").write_text(LINE)
    await schedules.tick(desk(redis), NOON)
    now = FIRST + DAY_MS + 60_000
    assert await schedules.tick(desk(redis, cron="1 1 * * *"), now) == []
    (fired,) = await schedules.tick(desk(redis, cron="1 1 * * *"), now + DAY_MS)
    assert fired.due_ms == ms("2026-03-04T01:01+00:00")


# -- which files -------------------------------------------------------------------------------------------------------


async def test_only_files_that_are_new_or_changed(redis: Redis, inbox: Path) -> None:
    here = desk(redis)
    await schedules.tick(here, NOON)
    for name in ("a", "b", "c"):
        (inbox / f"{name}.jsonl").write_text(LINE)
    taken = []
    for day in range(5):
        await schedules.tick(here, FIRST + day * DAY_MS)
        found = await runs(redis)
        taken.append(files_of(found[-1]) if len(found) > len([one for one in taken if one]) else [])
        await end(redis)
        if day == 0:
            (inbox / "d.jsonl").write_text(LINE)
            (inbox / "a.jsonl").write_text(LINE.replace("one", "two"))  # of the same size
            os.utime(inbox / "b.jsonl", ns=(1, 1))  # touched, not changed
        if day == 1:
            (inbox / "c.jsonl").unlink()
        if day == 2:
            (inbox / "c.jsonl").write_text(LINE * 2)
    assert taken == [["a.jsonl", "b.jsonl", "c.jsonl"], ["a.jsonl", "d.jsonl"], [], ["c.jsonl"], []]
    history = await here.table.history("nightly")
    assert [one.message for one in history] == ["nothing new", "", "nothing new", "", ""]


async def test_a_file_that_cannot_be_used_holds_up_no_other(redis: Redis, inbox: Path) -> None:
    here = desk(redis, source=["inbox/*.jsonl", "inbox/*.parquet"])
    await schedules.tick(here, NOON)
    (inbox / "a.jsonl").write_text("")  # still being copied
    (inbox / "b.jsonl").write_text(LINE)
    (inbox / "c.parquet").write_bytes(b"PAR1 half of it")
    (fired,) = await schedules.tick(here, FIRST)
    assert [Path(source.url).name for source in fired.sources] == ["b.jsonl"]
    assert "2 files left" in fired.message and "is empty" in fired.message
    await end(redis)
    (inbox / "a.jsonl").write_text(LINE)
    (fired,) = await schedules.tick(here, FIRST + DAY_MS)
    assert [Path(source.url).name for source in fired.sources] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"source": "inbox/named.jsonl"}, "no such file"),
        ({"template": "nowhere.j2"}, "template nowhere.j2: cannot be read"),
        ({"template": "bad.j2"}, "template bad.j2, line 1"),
        ({"schema": "bad.json"}, "schema bad.json"),
    ],
)
async def test_a_firing_that_cannot_be_is_told_and_tried_at_the_next_time(
    redis: Redis, inbox: Path, schedule: dict[str, str], said: str
) -> None:
    Path("bad.json").write_text("{")
    Path("bad.j2").write_text("{% for %}")
    (inbox / "a.jsonl").write_text(LINE)
    here = desk(redis, **schedule)
    await schedules.tick(here, NOON)
    (fired,) = await schedules.tick(here, FIRST)
    assert not fired.run_id and said in fired.message
    assert await runs(redis) == [] and await schedules.tick(here, FIRST + 5_000) == []
    (inbox / "named.jsonl").write_text(LINE)
    for name in ("nowhere.j2", "bad.j2"):
        Path(name).write_text("{{ prompt }}")
    Path("bad.json").write_text('{"type": "object"}')
    (fired,) = await schedules.tick(here, FIRST + DAY_MS)
    assert fired.run_id
    assert [one.message[:7] for one in await here.table.history("nightly")] == ["", "failed:"]


async def test_one_schedule_in_trouble_holds_up_no_other(redis: Redis, inbox: Path) -> None:
    (inbox / "a.jsonl").write_text(LINE)
    times = {name: {"cron": "0 2 * * *", "source": "inbox/*.jsonl"} for name in ("bad", "good")}
    here = Desk(redis, KEYS, Records("data"), parse_settings({"schedules": times}))
    await schedules.tick(here, NOON)
    await redis.hset(KEYS.schedule("bad"), "firing", "{not ours")
    fired = await schedules.tick(here, FIRST)
    assert [one.schedule for one in fired] == ["bad", "good"], "what nobody wrote is forgotten"
    assert {run["origin"] for run in await runs(redis)} == {f"bad@{FIRST}", f"good@{FIRST}"}


# -- by hand, and several at once -----------------------------------------------------------------------------------


async def test_by_hand_takes_what_is_new_and_leaves_the_clock_alone(redis: Redis, inbox: Path) -> None:
    here = desk(redis)
    (inbox / "a.jsonl").write_text(LINE)
    fired = await schedules.fire(here, "nightly", NOON, by_hand=True)
    assert fired is not None and fired.cause == "hand" and fired.run_id
    await end(redis)
    (inbox / "b.jsonl").write_text(LINE)
    (by_clock,) = await schedules.tick(here, FIRST)
    assert [Path(source.url).name for source in by_clock.sources] == ["b.jsonl"]
    with pytest.raises(UsageError, match=r"no schedule 'night'; spillway\.toml has nightly"):
        await schedules.fire(here, "night", NOON, by_hand=True)


async def test_many_at_once_fire_once(redis: Redis, inbox: Path) -> None:
    here = desk(redis)
    await schedules.tick(here, NOON)
    (inbox / "a.jsonl").write_text(LINE)
    fired = await asyncio.gather(*(schedules.tick(here, FIRST) for _ in range(8)))
    assert len([one for each in fired for one in each]) == 1
    assert len(await runs(redis)) == 1 and len(await here.table.history("nightly")) == 1


async def test_keep_fires_what_is_due_once_nobody_else_does(
    redis: Redis, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "POLL_S", 0.02)
    here = desk(redis, cron="* * * * *")
    (inbox / "a.jsonl").write_text(LINE)
    await schedules.tick(here, ms("2020-01-01T00:00+00:00"))
    stopping = asyncio.Event()
    await redis.set(KEYS.lease("schedules"), "somebody else")
    keeper = asyncio.create_task(schedules.keep(here, stopping))
    await asyncio.sleep(0.3)
    assert await runs(redis) == [], "somebody else fires"
    await redis.delete(KEYS.lease("schedules"))
    for _ in range(500):
        if await here.table.history("nightly"):
            break
        await asyncio.sleep(0.02)
    stopping.set()
    await keeper
    assert len(await runs(redis)) == 1
    assert not await redis.exists(KEYS.lease("schedules"))


# -- what is kept ----------------------------------------------------------------------------------------------------


async def test_history_is_bounded_and_everything_expires(redis: Redis, inbox: Path) -> None:
    here = desk(redis, cron="* * * * *")
    await schedules.tick(here, NOON)
    for minute in range(1, 106):
        await schedules.tick(here, NOON + minute * 60_000)
    history = await here.table.history("nightly")
    assert len(history) == schedules.timetable.HISTORY == 100
    assert history[0].due_ms == NOON + 105 * 60_000, "newest first"
    (inbox / "a.jsonl").write_text(LINE)
    await schedules.tick(here, NOON + 106 * 60_000)
    for key in (KEYS.schedule("nightly"), KEYS.schedule_files("nightly"), KEYS.schedule_history("nightly")):
        assert await redis.ttl(key) > 399 * 86_400


async def test_standing_says_when_and_how_it_went(redis: Redis, inbox: Path) -> None:
    here = desk(redis)
    stands = await schedules.standing(here, "nightly", NOON)
    assert (stands.next_ms, stands.last, stands.status, stands.late) == (FIRST, None, "", False)
    await schedules.tick(here, NOON)
    (inbox / "a.jsonl").write_text(LINE)
    (fired,) = await schedules.tick(here, FIRST)
    stands = await schedules.standing(here, "nightly", FIRST + 1)
    assert stands.last is not None
    assert (stands.last.run_id, stands.last.files, stands.status) == (fired.run_id, 1, "in_progress")
    assert stands.next_ms == FIRST + DAY_MS
    alone = schedules.remembered(here.settings, here.records, "nightly", FIRST + 1)
    assert alone.last is not None and (alone.last.run_id, alone.last.due_ms) == (fired.run_id, FIRST)
