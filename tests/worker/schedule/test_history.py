"""What befalls targets is kept once: down, up after it has held, closed, another model; also when its writer dies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.settings import parse_settings
from tests.support_redis import redis_server
from worker.context import Context
from worker.queue import connect
from worker.schedule import history
from worker.schedule.history import History


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with redis_server() as running:
        yield running


@pytest.fixture
async def context(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Context]:
    monkeypatch.setattr(history, "LOOK_S", 0.0)
    redis = await connect(url)
    await redis.flushall()
    target = {"kind": "vllm", "model": "m", "base_url": "http://127.0.0.1:1/v1"}
    found = Context(parse_settings({"targets": {"gpu": target}, "spillway": {"data": str(tmp_path)}}), redis, url)
    await found.clock.set(redis)
    yield found
    await redis.aclose()


def told(root: Path) -> list[tuple[str, str, str]]:
    files = sorted(root.glob("events/**/*.parquet"))
    rows = [row for file in files for row in pl.read_parquet(file, hive_partitioning=False).to_dicts()]
    return [(row["kind"], row["target"], row["message"]) for row in sorted(rows, key=lambda row: row["at"])]


async def test_each_change_is_told_once(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = context.clock.now_ms()
    monkeypatch.setattr(context.clock, "now_ms", lambda: now)
    it, say = History(context), lambda **state: context.targets.say("gpu", state)
    await it.step()
    say(up=True, model="m")
    await it.step()
    assert told(tmp_path) == [], "a target that is up and stays so is no news"
    say(up=False, reason="connection refused")
    for _ in range(3):
        await it.step()
    down = ("target_down", "gpu", "target gpu is down: connection refused")
    assert told(tmp_path) == [down]
    now += 1_000
    say(up=True, reason="")
    await it.step()
    assert told(tmp_path) == [down], "it may be gone again at once"
    now += 1_000
    say(up=False, reason="again")
    await it.step()
    now += 1_000
    say(up=True, reason="")
    now += history.HOLD_MS
    await it.step()
    await it.step()
    assert told(tmp_path) == [down, ("target_up", "gpu", "target gpu is up")]
    say(model="n")
    await it.step()
    await it.step()
    assert told(tmp_path)[2:] == [("target_model", "gpu", "target gpu: its server has loaded n instead of m")]


async def test_a_writer_that_dies_before_it_says_so_writes_the_same_event_again(
    context: Context, tmp_path: Path
) -> None:
    context.targets.say("gpu", {"up": False, "reason": "gone"})
    state: dict[str, Any] = dict(context.targets.states["gpu"])
    await History(context).step()
    context.targets.states["gpu"] = state  # another worker, who has not heard that it was told
    await History(context).step()
    assert len(told(tmp_path)) == 1


async def test_a_closed_target_is_told_as_closed(context: Context, tmp_path: Path) -> None:
    context.targets.close("gpu", "no price")
    await History(context).step()
    assert told(tmp_path) == [("target_closed", "gpu", "target gpu is closed: no price")]
