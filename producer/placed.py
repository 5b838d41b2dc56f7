"""Where the row of a small submission with a key is, so that who sends it again finds it and does not pay for it twice.

The place is noted before the row is written; whether the row ever came there is not noted, it is seen: in the run, on the
disk, in the results. A server that is killed anywhere in between leaves a place that is empty or one that is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec

from pipelines import paths, wire
from producer import finding
from producer.queue import Redis
from producer.store import Store

KEPT_S = 86_400

# KEYS: 1 run  2 prepare's bell | closes an inbox run early; prepare does the rest
_CLOSE = """
if not tonumber(redis.call('HGET', KEYS[1], 'inbox') or '') then return 0 end
redis.call('HSET', KEYS[1], 'inbox', 'closing')
redis.call('LPUSH', KEYS[2], 'x')
redis.call('LTRIM', KEYS[2], 0, 3)
return 1
"""


class Place(msgspec.Struct, frozen=True):
    """Where a submission's first row stands; the others follow it."""

    run_id: str
    row: int


async def note(redis: Redis, segment: int, places: Mapping[str, Place]) -> None:
    """Where rows are going to be, each under the name that its submitter will ask for."""
    pipe = redis.pipeline(transaction=False)
    for name, place in places.items():
        pipe.set(name, f"{place.run_id} {place.row} {segment}", ex=KEPT_S)
    await pipe.execute()


async def find(redis: Redis, keys: wire.Keys, store: Store, name: str) -> Place | None:
    """The place of a row that is there, or will be; None when it came nowhere. Nobody else may be submitting under this name."""
    said = await redis.get(name)
    if said is None:
        return None
    run_id, row, *noted = said.split(" ")
    place = Place(run_id, int(row))
    if not noted:  # by a server of before, which noted a place once its row was in
        return place
    segment = int(noted[0])
    written = await asyncio.to_thread(store.exists, paths.inbox_segment(run_id, segment))
    known, cut_at = await redis.hmget(keys.run(run_id), ["segments", "cut_at"])
    if known is not None and int(known) > segment:
        return place
    if cut_at is not None and segment >= int(cut_at):
        return None
    if written:  # its server told nobody: the run's end brings it in
        await close(redis, keys, run_id)
        return place
    if known is None:  # Redis forgets a run some hours after its end
        return place if await asyncio.to_thread(finding.in_results, store, run_id, {place.row}) else None
    return None


async def close(redis: Redis, keys: wire.Keys, run_id: str) -> None:
    """An inbox run takes no more rows; one that is closed stays so."""
    await redis.eval(_CLOSE, 2, keys.run(run_id), keys.arrived)
