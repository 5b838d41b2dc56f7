"""Which pauses prepare heeds: those in Redis, and where it has forgotten them those that the audits under the data root tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines import paths, schemas
from pipelines.pauses import READ, pause
from pipelines.settings import parse_settings
from tests.support_frames import RUN
from tests.support_worker import write
from worker.context import Context
from worker.prepare.published import paused

TARGETS = {"targets": {"gpu": {"kind": "vllm", "base_url": "http://127.0.0.1:9/v1", "model": "q"}}}


def audited(context: Context, days_ago: int, *, most: float = 0.005) -> None:
    """Thirty reuses that disagree, of a run that ended so long ago."""
    routes = {"small": {"targets": ["gpu"], "max_false_reuse": most}}
    context.settings = parse_settings(
        {**TARGETS, "spillway": {"data": context.settings.spillway.data}, "routes": routes}
    )
    at = datetime.fromtimestamp(context.clock.now_ms() / 1000, UTC) - timedelta(days=days_ago)
    rows = [
        {"route": "small", "link_kind": "edit", "part": part, "agrees": part != "reuse", "row": row, "at": at}
        for part in ("reuse", "baseline")
        for row in range(30)
    ]
    write(Path(context.store.path(paths.audits(at.date().isoformat(), RUN))), rows, schemas.AUDITS)


async def test_a_pause_outlives_the_loss_of_redis(context: Context) -> None:
    audited(context, 3)
    assert await paused(context) == {"small"}
    key = context.keys.paused
    assert set(await context.redis.hkeys(key)) == {b"small", READ.encode()} and await context.redis.ttl(key) > 0
    await context.redis.hdel(key, "small")  # as if it had been lifted
    assert await paused(context) == frozenset(), "the audits are read once"
    await context.redis.delete(key)
    assert await paused(context) == {"small"}


async def test_a_pause_of_long_ago_or_under_a_higher_limit_does_not_come_back(context: Context) -> None:
    audited(context, 8)
    assert await paused(context) == frozenset()
    await context.redis.delete(context.keys.paused)
    audited(context, 3, most=1.0)
    assert await paused(context) == frozenset()


async def test_what_redis_knows_counts_and_broken_files_tell_nothing(context: Context) -> None:
    audited(context, 3)
    today = datetime.fromtimestamp(context.clock.now_ms() / 1000, UTC).date().isoformat()
    Path(context.store.path(paths.audits(today, "20260301-070000-abc123"))).parent.mkdir(parents=True)
    Path(context.store.path(paths.audits(today, "20260301-070000-abc123"))).write_bytes(b"PAR1")
    until_ms = context.clock.now_ms() + 60_000
    mine = {"small": pause(until_ms, 0.2, "as it was written"), "small canonical": pause(until_ms, 0.2, "")}
    await context.redis.hset(context.keys.paused, mapping=mine)
    assert await paused(context) == {"small", "small canonical"}
    assert await context.redis.hget(context.keys.paused, "small") == mine["small"]
