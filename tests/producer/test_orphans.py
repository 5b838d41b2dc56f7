"""Files that no record names go, and no other: none that somebody may still be writing, none of a run that is known."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines import paths, wire
from producer import intake, orphans, uploads
from producer.queue import Redis, now_ms
from producer.records import Records
from producer.uploads import Upload

KEYS = wire.Keys("test-orphans")
DAY_MS = 86_400_000
KEPT_S = 30 * 86_400


def written(records: Records, known: str, form: str = "jsonl") -> str:
    with records.store.create(paths.upload(known, form)) as out:
        out.write(b"{}\n")
    return f"{known}.{form}"


async def test_only_what_nobody_knows_goes(redis: Redis, records: Records) -> None:
    at_ms = await now_ms(redis)
    young, old = at_ms - DAY_MS, at_ms - 3 * DAY_MS
    lost_run = written(records, intake.private_run_id(old), "csv")
    lost_file = written(records, uploads.new_id(at_ms - 33 * DAY_MS))
    kept = [
        written(records, intake.private_run_id(young)),
        written(records, uploads.new_id(old)),  # a Redis that forgot it is no reason: it may be another's
        written(records, "somebody-put-this-here"),
        written(records, "99999999-999999-abcdef"),
    ]
    recorded, known = intake.private_run_id(old), intake.private_run_id(old)
    kept += [written(records, recorded), written(records, known)]
    records.write(recorded, {"run_id": recorded})
    await redis.hset(KEYS.run(known), "status", "in_progress")
    file = Upload(uploads.new_id(at_ms - 33 * DAY_MS), "acme", "a", "batch", "jsonl", 3, at_ms // 1000)
    kept.append(written(records, file.id))
    await uploads.keep(redis, KEYS, file)

    folder = Path(records.path(paths.uploads_dir()))
    fresh, stale = folder / ".file-x.jsonl.ab12.tmp", folder / ".file-y.jsonl.cd34.tmp"
    for left in (fresh, stale):
        left.write_text("{")
    os.utime(stale, (old / 1000, old / 1000))

    assert sorted(await orphans.sweep(redis, KEYS, records, KEPT_S)) == sorted([lost_run, lost_file])
    assert sorted(path.name for path in folder.iterdir()) == sorted([*kept, fresh.name])
    assert await orphans.sweep(redis, KEYS, records, KEPT_S) == []


async def test_a_data_root_without_uploads_is_swept_too(redis: Redis, records: Records) -> None:
    assert await orphans.sweep(redis, KEYS, records, KEPT_S) == []
