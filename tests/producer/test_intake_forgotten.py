"""A run that Redis forgot, or another Redis has: what its record on the disk still says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Plain

from pipelines import paths, registration
from pipelines.errors import SourceError
from pipelines.types import Options, Source
from producer import intake, runs
from producer.queue import Redis
from producer.records import Records
from tests.producer.intake_records import KEYS, NOW_MS, OTHER, SOURCE, end, publish, start


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
