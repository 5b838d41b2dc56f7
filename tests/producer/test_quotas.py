"""Quotas in one step on a real Redis: what fits is booked, what does not books nothing and says when to come back."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from pipelines import wire
from pipelines.config.sections import Client, Quota
from producer import quotas
from producer.queue import Redis
from producer.quotas import Refused, Taken

KEYS = wire.Keys("test-quotas")
BERLIN = "Europe/Berlin"


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


NOON = ms("2026-03-28T12:00:10+01:00")


async def take(
    redis: Redis, rows: int = 1, tokens: int = 0, *, at_ms: int = NOON, client: str = "acme", **terms: Any
) -> Any:
    given = {"quota": terms} if "quota" not in terms and "budget" not in terms else terms
    return await quotas.take(
        redis, KEYS, Client(**given), client, rows=rows, tokens=tokens, timezone=BERLIN, at_ms=at_ms
    )


@pytest.mark.parametrize(
    ("limit", "reset"),
    [
        ("rows_per_day", "2026-03-29T00:00+01:00"), ("tokens_per_day", "2026-03-29T00:00+01:00"),
        ("rows_per_month", "2026-04-01T00:00+02:00"), ("tokens_per_month", "2026-04-01T00:00+02:00"),
    ],
)  # fmt: skip
async def test_a_limit_holds_to_the_last_one_and_turns_with_the_zones_clock(
    redis: Redis, limit: str, reset: str
) -> None:
    kind = limit.partition("_")[0]
    for asked in (60, 40):
        assert isinstance(await take(redis, **{kind: asked}, **{limit: 100}), Taken)
    refused = await take(redis, **{kind: 1}, **{limit: 100})
    assert refused == Refused(limit, 100, 100, 1, ms(reset))
    assert refused.code == "quota_exceeded" and f"{limit}: 100 of 100 {kind} are used" in refused.message
    assert isinstance(await take(redis, client="other", **{kind: 100}, **{limit: 100}), Taken), "one client's own"
    assert isinstance(await take(redis, **{kind: 1}, **{limit: 100}, at_ms=ms(reset) - 1), Refused)
    assert isinstance(await take(redis, **{kind: 100}, **{limit: 100}, at_ms=ms(reset)), Taken)


async def test_what_is_refused_books_nothing(redis: Redis) -> None:
    before = await redis.keys("*")
    refused = await take(redis, 5, 1_000, rows_per_day=10, tokens_per_month=999)
    assert isinstance(refused, Refused) and (refused.limit, refused.reset_ms) == ("tokens_per_month", None), (
        "no month has room for it"
    )
    assert await redis.keys("*") == before
    assert isinstance(await take(redis, 10, 999, rows_per_day=10, tokens_per_month=999), Taken)


async def test_submissions_a_minute(redis: Redis) -> None:
    for _ in range(3):
        assert isinstance(await take(redis, submissions_per_minute=3), Taken)
    refused = await take(redis, submissions_per_minute=3)
    assert (refused.limit, refused.reset_ms, refused.code) == (
        "submissions_per_minute", ms("2026-03-28T12:01+01:00"), "rate_limit_exceeded",
    )  # fmt: skip
    assert isinstance(await take(redis, submissions_per_minute=3, at_ms=refused.reset_ms), Taken)


async def test_without_limits_everything_fits_and_is_counted(redis: Redis) -> None:
    assert isinstance(await take(redis, 10**9, 10**12), Taken)
    assert (await take(redis, 1, rows_per_day=10**9)).used == 10**9, "a limit that is set later knows the day so far"


async def test_many_at_once_never_pass_a_limit(redis: Redis) -> None:
    answers = await asyncio.gather(*(take(redis, 7, rows_per_day=100, rows_in_queue=90) for _ in range(50)))
    assert sum(isinstance(each, Taken) for each in answers) == 90 // 7


async def test_rows_in_queue_are_those_of_open_runs_and_of_runs_to_come(redis: Redis) -> None:
    async def run(name: str, client: str = "acme", **fields: Any) -> None:
        await redis.hset(KEYS.run(name), mapping={"client": client, "status": "in_progress", **fields})
        await redis.sadd(KEYS.open_runs, name)

    await run("a", prepared="1", rows=100, ok=30, duplicate=5, invalid=2, failed=2, refused=1)  # 60 wait
    await run("b", prepared="0", rows=10, rows_estimate=25)  # 25
    await run("c", client="other", prepared="1", rows=1_000)
    refused = await take(redis, 16, rows_in_queue=100)
    assert (refused.limit, refused.used, refused.reset_ms) == ("rows_in_queue", 85, None)
    taken = await take(redis, 15, rows_in_queue=100)
    assert isinstance(taken, Taken)
    assert (await take(redis, 1, rows_in_queue=100)).used == 100, "taken, and its run is not registered yet"
    await run("d", prepared="0", rows_estimate=15)
    await quotas.landed(redis, KEYS, taken)
    assert (await take(redis, 1, rows_in_queue=100)).used == 100, "counted once"
    await redis.srem(KEYS.open_runs, "a")
    assert isinstance(await take(redis, 60, rows_in_queue=100), Taken)


async def test_a_taker_that_died_holds_its_rows_for_two_minutes(redis: Redis) -> None:
    await take(redis, 90, rows_in_queue=100)
    assert isinstance(await take(redis, 11, rows_in_queue=100, at_ms=NOON + quotas.TICKET_MS - 1), Refused)
    assert isinstance(await take(redis, 11, rows_in_queue=100, at_ms=NOON + quotas.TICKET_MS), Taken)


async def test_a_booking_that_is_taken_again_is_the_same(redis: Redis) -> None:
    """Whoever took it was killed: it is booked once, on its day, and counts as waiting for two minutes more."""

    async def again(hours: int = 0, **limits: int) -> Any:
        terms = Client(quota=Quota(**limits))
        at_ms = NOON + hours * 3_600_000
        return await quotas.take(
            redis, KEYS, terms, "acme", rows=60, timezone=BERLIN, at_ms=at_ms, ticket=quotas.ticket_of("run", 0)
        )

    first = await again(rows_per_day=100, rows_in_queue=100)
    assert await again(1, rows_per_day=100, rows_in_queue=100) == first, "though 60 more would be too many"
    refused = await take(redis, 41, rows_in_queue=100, at_ms=NOON + 3_600_000)
    assert refused.used == 60
    assert isinstance(await take(redis, 41, rows_in_queue=100), Refused)
    tomorrow = await again(24, rows_per_day=100)
    assert tomorrow.day == first.day == "2026-03-28"
    assert await quotas.give_back(redis, KEYS, tomorrow)
    assert isinstance(await take(redis, 100, rows_per_day=100), Taken), "given back to the day that it was taken from"
    assert isinstance(await take(redis, 1, rows_per_day=100), Refused)


async def test_a_booking_whose_run_is_there_stays_and_waits_no_more_by_itself(redis: Redis) -> None:
    """Whoever took it was killed, or heard of trouble, after its run had been registered."""
    for generation in range(2):
        terms = Client(quota=Quota(rows_per_month=200, rows_in_queue=100))
        ticket = quotas.ticket_of("run", generation)
        taken = await quotas.take(redis, KEYS, terms, "acme", rows=60, at_ms=NOON, ticket=ticket)
        assert isinstance(taken, Taken)
        await redis.hset(KEYS.run("run"), mapping={"client": "acme", "generation": generation, "rows_estimate": 60})
        await redis.sadd(KEYS.open_runs, "run")
        assert (await take(redis, 41, rows_in_queue=100)).used == 60, "once"
        await redis.srem(KEYS.open_runs, "run")
        assert not await quotas.give_back(redis, KEYS, taken)
        assert (await take(redis, 200, rows_per_month=200)).used == 60 * (generation + 1)


async def test_what_is_only_counted_books_no_rows(redis: Redis) -> None:
    terms = Client(quota=Quota(rows_per_day=5, submissions_per_minute=2))
    for _ in range(2):
        assert await quotas.count(redis, KEYS, terms, "acme", timezone=BERLIN, at_ms=NOON) is None
    third = await quotas.count(redis, KEYS, terms, "acme", timezone=BERLIN, at_ms=NOON)
    assert third is not None and third.limit == "submissions_per_minute"
    assert isinstance(await take(redis, 5, rows_per_day=5), Taken)
    full = await quotas.count(redis, KEYS, terms, "acme", timezone=BERLIN, at_ms=NOON + 60_000)
    assert full is not None and full.limit == "rows_per_day"


async def test_give_back_undoes_once(redis: Redis) -> None:
    first = await take(redis, 60, 5, rows_per_day=100, rows_per_month=100, rows_in_queue=100)
    await take(redis, 40, rows_per_day=100)
    assert await quotas.give_back(redis, KEYS, first)
    assert not await quotas.give_back(redis, KEYS, first)
    assert isinstance(await take(redis, 61, rows_per_day=100), Refused)
    assert isinstance(await take(redis, 60, rows_per_day=100, rows_per_month=100, rows_in_queue=100), Taken)


@pytest.mark.parametrize(
    ("scope", "budget", "limit", "reset"),
    [
        ("client:acme:day:2026-03-28", {"daily_usd": "5"}, "usd_per_day", "2026-03-29T00:00+01:00"),
        ("client:acme:month:2026-03", {"monthly_usd": "5"}, "usd_per_month", "2026-04-01T00:00+02:00"),
    ],
)
async def test_a_spent_budget_refuses_too(redis: Redis, scope: str, budget: Any, limit: str, reset: str) -> None:
    terms = {"budget": budget}
    assert isinstance(await take(redis, **terms), Taken), "nothing spent yet"
    await redis.hset(KEYS.budget(scope), mapping={"limit": 5_000_000_000, "spent": 4_999_999_999})
    assert isinstance(await take(redis, **terms), Taken)
    await redis.hincrby(KEYS.budget(scope), "spent", 1)
    refused = await take(redis, **terms)
    assert (refused.limit, refused.reset_ms, refused.allowed) == (limit, ms(reset), 5_000_000_000)
    assert "budget is spent" in refused.message
    for by_hand in ("6000000000", "unlimited"):
        await redis.hset(KEYS.budget(scope), "limit", by_hand)
        assert isinstance(await take(redis, **terms), Taken), "what `budget set` says wins"


async def test_every_key_expires(redis: Redis) -> None:
    await take(redis, 3, 4, rows_per_day=100, rows_in_queue=100)
    keys = await redis.keys("*")
    assert len(keys) == 4
    assert all([0 < await redis.ttl(key) <= quotas.MONTH_KEPT_S for key in keys])


async def test_redis_tells_the_time(redis: Redis) -> None:
    terms = Client(quota=Quota(rows_per_day=1))
    assert isinstance(await quotas.take(redis, KEYS, terms, "acme", rows=1), Taken)
    seconds, _ = await redis.time()
    refused = await quotas.take(redis, KEYS, terms, "acme", rows=1)
    assert isinstance(refused, Refused) and refused.reset_ms is not None
    assert 0 < refused.reset_ms - int(seconds) * 1000 <= 86_400_000
