"""Batches that wait half answered while their run is blocked: the answers are settled once, the rest is asked once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from msgspec.structs import replace

from pipelines import paths, wire
from pipelines.types import BatchHead, Called, Done, Entry, Intent, Item, Usage
from worker.context import Context
from worker.settle.partial import Partial
from worker.settle.settle import Settler

RUN = "20260301-000000-abcdef"
BATCH = f"{RUN}.0.0.aa"
OTHERS = f"{BATCH}r"
START_US = 1_772_352_000_000_000
SPENT = f"budget run:{RUN}: the next call does not fit"
ITEMS = [Item(row, b'{"prompt": "what is it?"}', 5, 5, f"r{row}") for row in range(6)]
HEAD = BatchHead(BATCH, RUN, "small", 0, 6, 60, 30, 12.0, 600, len(wire.pack_items(ITEMS)))


class NoPrices:
    def price(self, name: str) -> None: ...
    def prices(self) -> list[Any]:
        return []


def answer(row: int) -> list[Entry]:
    call = f"{BATCH}:4:{row}"
    ok = Called(call, "ok", 200, None, Usage(1), 7000, "billed", "m", "p", "2026-03-01", 0, None, START_US + 1)
    done = Done(row, "ok", call, 1, f"answer {row}", None, "stop", None, None, None, 200, None, START_US, START_US + 1)
    return [Intent(call, row, 1, "mini", START_US, 9000), ok, done]


@pytest.fixture
async def blocked(context: Context) -> Context:
    """Six rows of which 0, 2 and 4 were answered when the money ended."""
    redis, keys = context.redis, context.keys
    payload = wire.pack_items(ITEMS)
    fields = {
        "state": "waiting",
        "epoch": 5,
        "lanes": "cloud",
        "tries": 0,
        "left": 3,
        "refused": "9 cloud",
        "released_ms": 77,
    }
    await redis.hset(keys.batch(BATCH), mapping={**fields, "head": wire.pack_head(HEAD), "payload": payload})
    await redis.rpush(keys.journal(BATCH), *(wire.pack_entries(answer(row)) for row in (0, 2, 4)))
    await redis.zadd(keys.waiting(RUN), {BATCH: 50.0})
    run = {
        "status": "in_progress",
        "blocked": SPENT,
        "open": 1,
        "prepared": 1,
        "held_rows": 6,
        "held_bytes": len(payload),
    }
    await redis.hset(keys.run(RUN), mapping={**run, "generation": 0, "client": "acme"})
    await redis.sadd(keys.open_runs, RUN)
    await redis.set(keys.lease("settle"), context.owner)
    return context


async def test_answers_are_settled_and_the_others_wait_on(blocked: Context) -> None:
    redis, keys = blocked.redis, blocked.keys
    settler = Settler(blocked, NoPrices())  # type: ignore[arg-type]
    for _ in range(4):
        await settler.step()
    parts = [pl.read_parquet(path) for path in (Path(blocked.store.root) / paths.parts_dir(RUN)).glob("*.parquet")]
    assert [part.select("row", "status").rows() for part in parts] == [[(0, "ok"), (2, "ok"), (4, "ok")]]
    assert await redis.zrange(keys.waiting(RUN), 0, -1, withscores=True) == [(OTHERS.encode(), 50.0)]
    others = await redis.hgetall(keys.batch(OTHERS))
    assert [item.row for item in wire.unpack_items(others[b"payload"])] == [1, 3, 5]
    head = wire.unpack_head(others[b"head"])
    assert (head.id, head.rows, head.input_tokens, head.work, head.cloud_pusd) == (OTHERS, 3, 30, 6.0, 300)
    kept = [others[name] for name in (b"state", b"epoch", b"lanes", b"refused", b"released_ms")]
    assert kept == [b"waiting", b"0", b"cloud", b"9 cloud", b"77"] and b"left" not in others
    assert not await redis.exists(keys.batch(BATCH), keys.journal(BATCH), keys.journal(OTHERS))
    counts = await redis.hmget(keys.run(RUN), "open", "settled", "held_rows", "held_bytes")
    assert counts == [b"1", b"3", b"3", str(len(others[b"payload"])).encode()]
    assert await redis.hget(keys.run(RUN), "status") == b"in_progress"


async def test_a_batch_of_whose_others_one_was_called_waits_as_it_is(blocked: Context) -> None:
    lost = Intent(f"{BATCH}:4:9", 5, 1, "mini", START_US, 9000)
    await blocked.redis.rpush(blocked.keys.journal(BATCH), wire.pack_entries([lost]))
    assert await Partial(blocked).look(RUN) == 0
    assert await blocked.redis.zrange(blocked.keys.waiting(RUN), 0, -1) == [BATCH.encode()]


@pytest.mark.parametrize(
    ("batch", "run"),
    [
        ({"state": "rung"}, {}),
        ({"head": b"nonsense"}, {}),
        ({"payload": b"nonsense"}, {}),
        ({"left": ""}, {}),
        ({"head": wire.pack_head(replace(HEAD, purpose="audit"))}, {}),
        ({}, {"cancel": "1"}),
        ({}, {"status": "completed"}),
    ],
    ids=["rung meanwhile", "no head", "no payload", "never came back", "audits", "cancelled", "ended"],
)  # fmt: skip
async def test_what_is_not_as_it_was_seen_stays(blocked: Context, batch: dict[str, Any], run: dict[str, str]) -> None:
    redis, keys = blocked.redis, blocked.keys
    for name, fields in ((keys.batch(BATCH), batch), (keys.run(RUN), run)):
        if fields:
            await redis.hset(name, mapping=fields)
    assert await Partial(blocked).look(RUN) == 0
    assert not await redis.exists(keys.batch(OTHERS)) and await redis.hget(keys.run(RUN), "open") == b"1"


async def test_others_that_come_back_half_answered_are_parted_again(blocked: Context) -> None:
    redis, keys = blocked.redis, blocked.keys
    assert await Partial(blocked).look(RUN) == 1
    await redis.hset(keys.batch(OTHERS), "left", 2)
    await redis.rpush(keys.journal(OTHERS), wire.pack_entries(answer(3)))
    assert await Partial(blocked).look(RUN) == 1
    assert await redis.zrange(keys.waiting(RUN), 0, -1) == [f"{OTHERS}r".encode()]
    assert await redis.lrange(keys.drained(RUN), 0, -1) == [BATCH.encode(), OTHERS.encode()]
    assert await redis.hget(keys.run(RUN), "open") == b"3"
