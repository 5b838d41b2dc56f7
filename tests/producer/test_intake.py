"""A run is client + sources + options: started once, resumed, recognised when finished, whatever is raced."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis as Plain

from pipelines import paths, registration, wire
from pipelines.errors import QueueError, SourceError, StoreError, UsageError
from pipelines.types import Options, Source
from producer import intake, runs
from producer.queue import Redis, connected, without_password
from producer.records import Records

NOW_MS = 1_772_352_000_000
SOURCE = Source("/in/a.jsonl", "jsonl", "", 10, 1, "digest-1")
OTHER = msgspec.structs.replace(SOURCE, size_bytes=12, mtime_ns=2, digest="digest-2")
KEYS = wire.Keys("test-intake")


async def start(redis: Redis, records: Records, **changed: Any) -> intake.Registered:
    given: dict[str, Any] = {
        "client": "acme", "sources": (SOURCE,), "options": Options(), "now_ms": NOW_MS, "fresh": False, **changed,
    }  # fmt: skip
    return await intake.register(redis, KEYS, records, **given)


async def end(redis: Redis, run_id: str, status: str, **fields: Any) -> None:
    """What a worker does at a run's end."""
    await redis.hset(KEYS.run(run_id), mapping={"status": status, "finished_ms": NOW_MS + 5, "prepared": "1", **fields})
    await redis.srem(KEYS.open_runs, run_id)


def publish(records: Records, run_id: str) -> None:
    with records.store.create(paths.results(run_id)) as out:
        out.write(b"some")


# -- new -----------------------------------------------------------------------------------------------------------


async def test_a_new_run_is_open_known_and_rung(redis: Redis, records: Records) -> None:
    options = Options(labels=("a", "b"), deadline_s=90.0, budget_nusd=5_000)
    made = await start(redis, records, options=options, estimate=(7, 1000))
    assert made.state == "new"
    assert paths.is_run_id(made.run_id)
    assert made.run_id.startswith("20260301-080000-")
    fields = await redis.hgetall(KEYS.run(made.run_id))
    assert fields["status"] == "in_progress"
    assert fields["deadline_ms"] == str(NOW_MS + 90_000)
    assert fields["budget_nusd"] == "5000"
    assert (fields["rows_estimate"], fields["bytes_estimate"]) == ("7", "1000")
    assert (fields["cursor"], fields["prepared"], fields["cancel"], fields["redo"]) == ("", "0", "", "")
    assert wire.unpack_options(fields["options"].encode()) == options
    assert wire.unpack_sources(fields["sources"].encode()) == (SOURCE,)
    assert await redis.smembers(KEYS.open_runs) == {made.run_id}
    assert await redis.zscore(KEYS.all_runs, made.run_id) == NOW_MS
    assert await redis.hget(KEYS.fingerprints, fields["fingerprint"]) == made.run_id
    assert await redis.llen(KEYS.wake) == 1


async def test_the_record_outlives_redis(redis: Redis, records: Records) -> None:
    made = await start(redis, records, options=Options(route="small"))
    record = records.read(made.run_id)
    assert record is not None
    assert (record["client"], record["status"], record["options"]["route"]) == ("acme", "in_progress", "small")
    assert record["sources"][0]["url"] == "/in/a.jsonl"


@pytest.mark.parametrize(
    "changed",
    [
        {"client": "other"},
        {"sources": (msgspec.structs.replace(SOURCE, url="/in/b.jsonl"),)},
        {"options": Options(labels=("x",))},
        {"options": Options(dedupe="exact")},
    ],
)
async def test_another_client_source_or_option_is_another_run(redis: Redis, records: Records, changed: Any) -> None:
    first, second = await start(redis, records), await start(redis, records, **changed)
    assert second.state == "new"
    assert first.run_id != second.run_id


async def test_a_full_disk_registers_nothing(redis: Redis, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(StoreError, match="choose another place"):
        await start(redis, Records(str(tmp_path / "file")))
    assert await redis.keys("test-intake:*") == [KEYS.id]


async def test_the_bell_does_not_grow(redis: Redis, records: Records) -> None:
    for number in range(40):
        await start(redis, records, client=f"c{number}")
    assert await redis.llen(KEYS.wake) == 16


# -- resume --------------------------------------------------------------------------------------------------------


async def test_the_same_command_resumes_on_its_own_terms(redis: Redis, records: Records) -> None:
    made = await start(redis, records, options=Options(deadline_s=60.0, budget_nusd=1))
    await redis.hset(KEYS.run(made.run_id), mapping={"ok": 3, "cursor": '{"row":3}', "blocked": "budget"})
    again = await start(redis, records, options=Options(deadline_s=120.0, budget_nusd=9), now_ms=NOW_MS + 1000)
    assert again == intake.Registered(made.run_id, "resumed")
    fields = await redis.hgetall(KEYS.run(made.run_id))
    assert (fields["deadline_ms"], fields["budget_nusd"]) == (str(NOW_MS + 121_000), "9")
    assert (fields["ok"], fields["cursor"], fields["blocked"]) == ("3", '{"row":3}', "")
    assert await redis.zscore(KEYS.all_runs, made.run_id) == NOW_MS
    await start(redis, records)
    assert (await redis.hget(KEYS.run(made.run_id), "deadline_ms")) == ""


async def test_a_changed_source_of_an_unfinished_run_is_refused_by_name(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    with pytest.raises(SourceError, match=rf"/in/a\.jsonl changed .* since run {made.run_id} .*--fresh"):
        await start(redis, records, sources=(OTHER,))


async def test_touching_a_source_does_not_change_it(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    touched = msgspec.structs.replace(SOURCE, mtime_ns=99)
    assert (await start(redis, records, sources=(touched,))).run_id == made.run_id


@pytest.mark.parametrize("status", ["expired", "cancelled"])
async def test_a_stopped_run_asks_its_unanswered_rows_again(redis: Redis, records: Records, status: str) -> None:
    made = await start(redis, records)
    await end(redis, made.run_id, status, cancel=status, cursor='{"row":9,"redo":4}', summary="{}", generation=1)
    assert (await start(redis, records)).state == "resumed"
    fields = await redis.hgetall(KEYS.run(made.run_id))
    assert json.loads(fields["redo"]) == ["expired", "cancelled"]
    assert (fields["status"], fields["cancel"], fields["prepared"], fields["summary"]) == ("in_progress", "", "0", "")
    assert (fields["generation"], json.loads(fields["cursor"])) == ("2", {"row": 9, "generation": 2})
    assert await redis.smembers(KEYS.open_runs) == {made.run_id}


async def test_a_stopped_run_with_another_source_is_refused(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    await end(redis, made.run_id, "expired", cancel="expired")
    with pytest.raises(SourceError, match="changed"):
        await start(redis, records, sources=(OTHER,))


async def test_a_run_that_is_being_ended_says_so(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    await intake.cancel(redis, KEYS, made.run_id)
    assert await start(redis, records) == intake.Registered(made.run_id, "ending")


async def test_a_failed_run_is_tried_again_and_a_mended_source_is_a_new_run(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    await end(redis, made.run_id, "failed", error="cannot read row 7", cursor='{"row":7}', prepared="0")
    assert (await start(redis, records)).state == "resumed"
    fields = await redis.hgetall(KEYS.run(made.run_id))
    assert (fields["status"], fields["error"], fields["cursor"]) == ("in_progress", "", '{"row":7}')
    await end(redis, made.run_id, "failed")
    assert (await start(redis, records, sources=(OTHER,))).state == "new"


async def test_a_run_that_was_set_aside_is_left_and_begun_anew(redis: Redis, records: Records) -> None:
    """What it holds in Redis goes away (worker/aside.py)."""
    made = await start(redis, records)
    await end(redis, made.run_id, "failed", aside="1")
    again = await start(redis, records)
    assert again.state == "new" and again.run_id != made.run_id


# -- finished ------------------------------------------------------------------------------------------------------


async def test_a_finished_run_is_left_alone(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    await end(redis, made.run_id, "completed")
    assert await start(redis, records) == intake.Registered(made.run_id, "finished")
    assert await redis.smembers(KEYS.open_runs) == set()


async def test_a_finished_run_with_a_changed_source_is_a_new_run(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    await end(redis, made.run_id, "completed")
    again = await start(redis, records, sources=(OTHER,))
    assert again.state == "new"
    assert again.run_id != made.run_id
    assert (await start(redis, records, sources=(OTHER,))) == intake.Registered(again.run_id, "resumed")


async def test_fresh_is_always_new_and_names_what_it_leaves(redis: Redis, records: Records) -> None:
    first = await start(redis, records)
    second = await start(redis, records, fresh=True)
    assert second.state == "new"
    assert second.unfinished == first.run_id
    assert await redis.smembers(KEYS.open_runs) == {first.run_id, second.run_id}
    await end(redis, second.run_id, "completed")
    assert (await start(redis, records, fresh=True)).unfinished is None


async def test_a_finished_run_is_known_when_redis_is_lost(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    record = records.read(made.run_id)
    assert record is not None
    await redis.flushdb()
    second = await start(redis, records)
    assert second.state == "new"  # the record says that it never ended
    records.delete(second.run_id)
    await redis.flushdb()
    records.write(made.run_id, {**record, "status": "completed"})
    assert await start(redis, records) == intake.Registered(made.run_id, "finished")
    assert (await start(redis, records, sources=(OTHER,))).state == "new"


async def forget(redis: Redis, run_id: str) -> None:
    """What a Redis does that is killed just after a registration."""
    await redis.delete(KEYS.run(run_id), KEYS.fingerprints, KEYS.open_runs, KEYS.all_runs)


async def test_a_run_that_redis_forgot_with_its_last_seconds_goes_on_under_its_name(
    redis: Redis, records: Records
) -> None:
    made = await start(redis, records)
    await forget(redis, made.run_id)
    with pytest.raises(SourceError, match="changed"):
        await start(redis, records, sources=(OTHER,))
    assert await start(redis, records) == intake.Registered(made.run_id, "resumed")
    assert await redis.smembers(KEYS.open_runs) == {made.run_id}
    await forget(redis, made.run_id)
    parts = Path(records.path(paths.parts_dir(made.run_id)))
    parts.mkdir(parents=True)
    (parts / "00000001.parquet").write_bytes(b"settled")
    assert (await start(redis, records)).state == "new", "set back by more than seconds: its parts are not overwritten"


async def test_a_run_of_another_redis_is_left_alone(redis: Redis, records: Records) -> None:
    made = await start(redis, records)
    why = {"has_parts": False}
    record = records.read(made.run_id) or {}
    assert await runs.why_unknown(redis, KEYS, record, **why) == runs.FORGOTTEN
    await redis.flushdb()
    again = await start(redis, records)
    assert again.state == "new" and again.run_id != made.run_id
    assert await runs.why_unknown(redis, KEYS, record, **why) == runs.ELSEWHERE


async def test_a_worker_that_is_faster_with_the_record_makes_no_second_run(
    url: str, redis: Redis, tmp_path: Path
) -> None:
    class Watched(Records):
        """A worker that starts reads the record before the command has told Redis."""

        def write(self, run_id: str, record: dict[str, Any]) -> None:
            super().write(run_id, record)
            found = registration.lost(record, record["redis"])
            assert found is not None
            worker.hset(KEYS.run(run_id), mapping=registration.fields(found))
            worker.hset(KEYS.fingerprints, found.fingerprint, run_id)
            worker.sadd(KEYS.open_runs, run_id)

    records = Watched(str(tmp_path / "data"))
    with Plain.from_url(url) as worker:
        for fresh in (False, True):
            made = await start(redis, records, fresh=fresh, now_ms=NOW_MS + 5000 * fresh)
            assert records.read(made.run_id), "the record stays"
        assert await redis.scard(KEYS.open_runs) == 2


async def test_the_records_alone_know_a_finished_run(redis: Redis, records: Records) -> None:
    def known(source: Source = SOURCE) -> str | None:
        return intake.finished_on_disk(records, "acme", (source,), Options(deadline_s=3.0))

    assert known() is None
    made = await start(redis, records)
    assert known() is None
    await end(redis, made.run_id, "completed", failed=1)
    records.write(made.run_id, {**(records.read(made.run_id) or {}), "status": "completed"})
    assert (known(), known(OTHER)) == (made.run_id, None)
    publish(records, made.run_id)
    await intake.retry(redis, KEYS, records, made.run_id, NOW_MS)
    assert known() is None


async def test_a_newer_run_of_the_command_hides_an_older_one(redis: Redis, records: Records) -> None:
    first = await start(redis, records)
    records.write(first.run_id, {**(records.read(first.run_id) or {}), "status": "completed"})
    await start(redis, records, fresh=True, now_ms=NOW_MS + 5000)
    assert intake.finished_on_disk(records, "acme", (SOURCE,), Options()) is None


async def test_a_broken_record_is_no_record(redis: Redis, records: Records) -> None:
    folder = Path(records.root, "runs")
    folder.mkdir(parents=True)
    for name, text in [("20260101-000000-aaaaaa", "{"), ("20260101-000000-bbbbbb", "[]"), ("..", "x")]:
        (folder / f"{name}.json").write_text(text)
    assert (await start(redis, records)).state == "new"
    assert records.read("../../etc/passwd") is None


# -- races ---------------------------------------------------------------------------------------------------------


async def test_many_at_once_make_one_run(redis: Redis, records: Records) -> None:
    made = await asyncio.gather(*(start(redis, records) for _ in range(12)))
    assert len({one.run_id for one in made}) == 1
    assert sorted(one.state for one in made) == ["new"] + ["resumed"] * 11
    assert await redis.zcard(KEYS.all_runs) == 1
    assert len(records.ids()) == 1


async def test_resuming_races_with_live_counters(redis: Redis, records: Records) -> None:
    made = await start(redis, records)

    async def work() -> None:
        for _ in range(200):
            await redis.hincrby(KEYS.run(made.run_id), "ok", 1)

    await asyncio.gather(work(), *(start(redis, records) for _ in range(5)))
    assert (await intake.get(redis, KEYS, made.run_id)).ok == 200


# -- cancel, retry, follow -----------------------------------------------------------------------------------------


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


async def test_runs_are_listed_newest_first(redis: Redis, records: Records) -> None:
    made = [(await start(redis, records, client=f"c{n}", now_ms=NOW_MS + n)).run_id for n in range(3)]
    assert [seen.run_id for seen in await runs.list_runs(redis, KEYS)] == made[::-1]
    assert [seen.client for seen in await runs.list_runs(redis, KEYS, limit=1)] == ["c2"]


# -- the connection ------------------------------------------------------------------------------------------------


async def test_an_unreachable_redis_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(QueueError, match=r"cannot reach Redis at unix://.*nothing\.sock.*--redis"):
        async with connected(f"unix://{tmp_path}/nothing.sock"):
            pass


async def test_a_redis_that_refuses_is_one_line(url: str) -> None:
    with pytest.raises(QueueError, match="refuses"):
        async with connected(url) as client:
            await client.execute_command("NOSUCHCOMMAND")


async def test_passwords_are_not_shown() -> None:
    assert without_password("redis://user:secret@host:6379/0") == "redis://…@host:6379/0"
    with pytest.raises(QueueError) as caught:
        async with connected("redis://:secret@127.0.0.1:1/0"):
            pass
    assert "secret" not in str(caught.value)
