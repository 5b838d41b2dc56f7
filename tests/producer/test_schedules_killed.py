"""Killed at any command, asleep through a firing, or with a Redis that lost everything: a schedule fires once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from producer import schedules
from producer.queue import Redis
from tests.producer.schedule_desk import DAY_MS, FIRST, KEYS, LINE, NOON, desk, end, files_of, runs


class Killed(BaseException):
    """Nothing catches it, as nothing catches a SIGKILL."""


class Mortal:
    """A Redis whose n-th command is its caller's last: `before` it is sent, or when it has been done."""

    def __init__(self, redis: Redis, last: int, before: bool) -> None:
        self._redis, self._left, self._before = redis, last, before

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._redis, name)

        async def called(*arguments: Any, **options: Any) -> Any:
            self._left -= 1
            if self._left == 0 and self._before:
                raise Killed
            answer = await real(*arguments, **options)
            if self._left == 0:
                raise Killed
            return answer

        return called


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_killed_at_any_command_it_fires_once(redis: Redis, inbox: Path, before: bool) -> None:
    died = 0
    for last in range(1, 100):
        await redis.flushdb()
        (inbox / "a.jsonl").write_text(LINE)
        here = desk(redis)
        await schedules.tick(here, NOON)
        try:
            await schedules.tick(here._replace(redis=Mortal(redis, last, before)), FIRST)  # type: ignore[arg-type]
            break
        except Killed:
            died += 1
        (inbox / "b.jsonl").write_text(LINE)  # comes while nobody looks
        await schedules.tick(here, FIRST + 5_000)
        await schedules.tick(here, FIRST + 6_000)
        made = await runs(redis)
        assert len(made) == 1 and made[0]["origin"] == f"nightly@{FIRST}", f"command {last}"
        assert "a.jsonl" in files_of(made[0]) and len(await here.table.history("nightly")) == 1
        await end(redis)
        await schedules.tick(here, FIRST + DAY_MS)
        names = [name for run in await runs(redis) for name in files_of(run)]
        assert sorted(names) == ["a.jsonl", "b.jsonl"], f"command {last}: every file once"
        (inbox / "b.jsonl").unlink()
    assert died > 5, "the firing takes several commands"


async def test_who_slept_through_a_firing_changes_nothing(redis: Redis, inbox: Path) -> None:
    here = desk(redis)
    await schedules.tick(here, NOON)
    (inbox / "a.jsonl").write_text(LINE)
    seen = await here.table.state("nightly")
    decided = await schedules._decide(here, "nightly", FIRST, FIRST, "clock")
    await schedules.tick(here, FIRST)
    (run,) = await runs(redis)
    await redis.hset(KEYS.run(run["id"]), mapping={"ok": "7", "cursor": "here"})
    await end(redis)
    assert await here.table.begin(seen, decided) == schedules.timetable.OVERTAKEN
    before = (await runs(redis), await redis.hgetall(KEYS.schedule("nightly")))
    await schedules.carry_out(here, decided, schedules.timetable.text(decided), FIRST + 9_000)
    assert (await runs(redis), await redis.hgetall(KEYS.schedule("nightly"))) == before
    assert len(await here.table.history("nightly")) == 1


async def test_who_slept_while_registering_resets_no_run(redis: Redis, inbox: Path) -> None:
    here = desk(redis)
    await schedules.tick(here, NOON)
    (inbox / "a.jsonl").write_text(LINE)

    class Sleeper:
        """Has seen that the run is not there; wakes when another process has registered it and it has ended."""

        slept = False

        def __getattr__(self, name: str) -> Any:
            return self.hget if name == "hget" else getattr(redis, name)

        async def hget(self, *arguments: Any) -> Any:
            seen = await redis.hget(*arguments)
            if not self.slept:
                self.slept = True
                await schedules.tick(here, FIRST + 1_000)
                (run,) = await runs(redis)
                await redis.hset(KEYS.run(run["id"]), mapping={"ok": "7", "cursor": "here"})
                await redis.hdel(KEYS.fingerprints, run["fingerprint"])  # even if nothing else gave it away
                await end(redis)
                here.records.write(run["id"], {**(here.records.read(run["id"]) or {}), "status": "completed"})
            return seen

    sleeper: Any = Sleeper()
    await schedules.tick(here._replace(redis=sleeper), FIRST)
    (run,) = await runs(redis)
    assert (run["ok"], run["cursor"], run["status"]) == ("7", "here", "completed")
    assert (here.records.read(run["id"]) or {})["status"] == "completed"
    assert await redis.smembers(KEYS.open_runs) == set() and len(await here.table.history("nightly")) == 1


async def test_a_redis_that_lost_everything_goes_on_from_the_records(redis: Redis, inbox: Path) -> None:
    here = desk(redis)
    await schedules.tick(here, NOON)
    for name in ("a", "b"):
        (inbox / f"{name}.jsonl").write_text(LINE)
    (fired,) = await schedules.tick(here, FIRST)
    here.records.write(fired.run_id, {**(here.records.read(fired.run_id) or {}), "status": "completed"})
    await redis.flushdb()
    (inbox / "c.jsonl").write_text(LINE)
    assert await schedules.tick(here, FIRST + 3_600_000) == [], "that night was done"
    (again,) = await schedules.tick(here, FIRST + DAY_MS)
    assert [Path(source.url).name for source in again.sources] == ["c.jsonl"]
