"""Deletes uploads and runs' own sources of which no record says anything: their server died before it wrote one.

Whoever is still writing is given two days by the time in the file's id, which an Idempotency-Key may hold for one. What a
run's record names is never touched.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

from pipelines import paths, wire
from producer import uploads
from producer.queue import Redis
from producer.records import Records

GRACE_S = 2 * 86_400
_RUN = re.compile(r"(\d{8}-\d{6})-[0-9a-f]+")


async def sweep(redis: Redis, keys: wire.Keys, records: Records, kept_s: int) -> list[str]:
    """The names that went. An upload goes when it is older than `kept_s`, the longest that any is kept: only its own
    Redis knows it, and another one may ask."""
    now_s = (await redis.time())[0]
    folder = paths.uploads_dir()
    await asyncio.to_thread(records.store.sweep, folder, now_s - GRACE_S)
    gone = []
    for name in await asyncio.to_thread(records.store.names, folder):
        known = name.partition(".")[0]
        if (made_s := uploads.made_s(known)) is not None:
            lost = made_s < now_s - GRACE_S - kept_s and not await redis.exists(keys.api_file(known))
        elif (made_s := _made_s(known)) is not None:
            lost = made_s < now_s - GRACE_S and not await redis.exists(keys.run(known))
            lost = lost and not await asyncio.to_thread(records.store.exists, paths.run_record(known))
        else:
            continue
        if lost:
            await asyncio.to_thread(records.store.delete, f"{folder}/{name}")
            gone.append(name)
    return gone


def _made_s(known: str) -> float | None:
    """When a run's id was made, unix seconds; None for what is no run's id, or has a time that never was."""
    found = _RUN.fullmatch(known)
    try:
        return datetime.strptime(found[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp() if found else None
    except ValueError:
        return None
