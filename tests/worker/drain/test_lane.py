"""A lane that is just back from being down: how many calls it makes before one has succeeded; and how long calls take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipelines.wire import Keys
from worker.drain import lane as module
from worker.drain.lane import Lane
from worker.drain.running import Prompt
from worker.drain.slots import Slots

SLOTS = 16


@asynccontextmanager
async def on_trial(own: bool) -> AsyncIterator[Lane]:
    """A lane with a pile of prompts, whose calls end with the test."""
    over = asyncio.Event()
    slots: Any = SimpleNamespace(granted=SLOTS, aim=SLOTS)
    rates: Any = SimpleNamespace(limited=False)

    async def call(_: Prompt) -> None:
        await over.wait()

    lane, prompt = Lane("gpu", SLOTS, slots, rates, call, own=own), cast("Prompt", SimpleNamespace())
    lane.tried()
    for _ in range(2 * SLOTS):
        lane.submit(prompt)
    assert lane.in_use == 1
    yield lane
    over.set()
    await lane.idle()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BOLDER_S", 0.02)


async def test_a_server_of_ones_own_gets_more_while_its_first_calls_run() -> None:
    async with on_trial(own=True) as lane:
        await asyncio.sleep(0.5)
        assert lane.in_use == SLOTS


async def test_a_call_that_failed_begins_it_anew() -> None:
    async with on_trial(own=True) as lane:
        while lane.in_use == 1:
            await asyncio.sleep(0.01)
        lane.up = False
        await asyncio.sleep(0.1)
        lane.up = True
        lane.tried()
        assert lane._most == 1


async def test_what_is_paid_for_is_tried_with_one_call() -> None:
    async with on_trial(own=False) as lane:
        await asyncio.sleep(0.2)
        assert lane.in_use == 1
        lane.trusted()
        assert lane.in_use == SLOTS


async def test_how_long_calls_take_is_not_what_the_first_one_took() -> None:
    """Of four calls the fastest ended first: a cloud of five seconds was taken for one of three, and its last rows were late."""
    lane = Lane("mini", SLOTS, cast("Any", None), cast("Any", None), cast("Any", None), own=False)
    for seconds in (2.0, 4.0, 6.0, 12.0):
        lane.finished(1, 1, seconds)
    assert lane.latency_s == pytest.approx(6.0)
    for _ in range(200):
        lane.finished(1, 1, 1.0)
    assert lane.latency_s == pytest.approx(1.0, abs=0.1), "later ones outweigh them"


async def test_a_wait_that_the_server_asks_for_is_time_in_which_it_answers_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cloud that admitted one call a second, of half a second each, was taken for one of two a second."""
    now_s = 100.0
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now_s)
    rates: Any = SimpleNamespace(limited=False)
    lane = Lane("mini", SLOTS, cast("Any", None), rates, cast("Any", None), own=False)
    for at_s, busy_s in ((101.0, 1.0), (102.0, 2.0), (104.0, 2.0)):
        if at_s == 101.0:
            lane.limit(2.0)  # after 100 s of idleness
        now_s = at_s
        assert lane.busy_s == busy_s, at_s
    lane._hold(1)
    now_s = 105.0
    lane.limit(3.0)
    lane._hold(-1)
    now_s = 106.0
    assert lane.busy_s == 4.0
    lane._hold(1)
    now_s = 107.0
    assert lane.busy_s == 5.0
    assert rates.limited


async def test_calls_share_the_time_that_they_keep_the_server_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight calls that end one after the other cost as much energy as the time from the first to the last, not nearly three
    times that; and of two processes that hold slots each says its part."""
    now_s, turn = 0.0, asyncio.Condition()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now_s)
    parts: list[float] = []

    async def call(prompt: Prompt) -> None:
        before_s = lane.each_s
        async with turn:
            await turn.wait_for(lambda: now_s >= prompt.waited_s)
        parts.append((lane.each_s - before_s) * lane.slots.share)

    slots = Slots(cast("Any", None), Keys("test-lane"), "gpu", "me")
    slots.granted, slots.aim, slots.others = 8, 8, 24
    lane = Lane("gpu", 8, slots, cast("Any", SimpleNamespace(limited=False)), call, own=True)
    for ends_s in range(1, 9):
        lane.submit(cast("Prompt", SimpleNamespace(waited_s=ends_s)))
    for second in range(1, 9):
        await asyncio.sleep(0)
        now_s = float(second)
        async with turn:
            turn.notify_all()
        while len(parts) < second:
            await asyncio.sleep(0)
    await lane.idle()
    assert lane.busy_s == 8.0
    assert sum(parts) == pytest.approx(8.0 * 8 / (8 + 24))
    assert parts == sorted(parts), "who was there longer, and alone at the end, cost more"
