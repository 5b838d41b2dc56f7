"""A run is client + sources + options: started once, resumed, recognised when finished, whatever is raced."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipelines import paths, wire
from pipelines.errors import QueueError, SourceError, StoreError
from pipelines.types import Options
from producer import intake
from producer.queue import Redis, connected, without_password
from producer.records import Records
from tests.producer.intake_records import KEYS, NOW_MS, OTHER, SOURCE, end, start

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
