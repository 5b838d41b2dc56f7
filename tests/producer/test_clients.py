"""Keys that are looked for together are counted as if each request had come alone."""

from __future__ import annotations

from pipelines import wire
from producer import clients
from producer.queue import Redis

KEYS = wire.Keys("test-clients")


async def test_requests_that_are_looked_for_at_once_are_counted_one_by_one(redis: Redis) -> None:
    acme, _ = await clients.add(redis, KEYS, "acme")
    other, _ = await clients.add(redis, KEYS, "other")
    found = await clients.find_all(redis, KEYS, [acme, other, acme, "sk-spill-nobody", acme])
    assert [each and (each.key.client, each.asked) for each in found] == [
        ("acme", 1), ("other", 1), ("acme", 2), None, ("acme", 3),
    ]  # fmt: skip
    alone = await clients.find(redis, KEYS, acme)
    assert alone is not None and alone.asked == 4 and 0 < alone.resets_ms <= 60_000
    for client in ("acme", "other"):
        assert 0 < await redis.pttl(KEYS.asked(client)) <= 60_000
    await clients.disable(redis, KEYS, "acme")
    assert await clients.find_all(redis, KEYS, [acme, acme]) == [None, None]


async def test_one_key_costs_one_look_however_many_come_with_it(redis: Redis) -> None:
    key, _ = await clients.add(redis, KEYS, "acme")
    for count in (1, 100):
        before = (await redis.info("commandstats")).get("cmdstat_hget", {"calls": 0})["calls"]
        await clients.find_all(redis, KEYS, [key] * count)
        assert (await redis.info("commandstats"))["cmdstat_hget"]["calls"] - before == 2
