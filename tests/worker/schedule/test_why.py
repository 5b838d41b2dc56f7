"""Why a run does not move: a target that named a wait is waited for, one that only fails is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.settings import parse_settings
from worker.clock import Clock
from worker.schedule.why import DOWN_GRACE_MS, SOON_MS, Why
from worker.targets import BREAKER_MS, Targets
from worker.timing import SILENT_MS

NOW = 10_000_000


def why(**state: Any) -> Why:
    target = {"kind": "vllm", "model": "m"}
    targets = Targets(parse_settings({"targets": {"it": target}}), Clock())
    targets.states["it"] = {"up": False, "reason": "busy", **state}
    return Why(targets)


def snapshot(now_ms: int) -> Any:
    up = SimpleNamespace(up=False)
    return SimpleNamespace(now_ms=now_ms, routes={"r": ("it",)}, targets={"it": up})


VIEW: Any = SimpleNamespace(id="run", may_buy=True, deadline_ms=None, waiting=(SimpleNamespace(route="r"),))


def test_a_model_that_is_being_loaded_is_waited_for() -> None:
    found = why(failing_since=NOW - SILENT_MS, reason="is loading its model", changed_ms=NOW)
    for now in (NOW, NOW + 5 * DOWN_GRACE_MS, NOW + SOON_MS - 1):
        assert found.stuck(VIEW, snapshot(now), "") == found.silent(VIEW, snapshot(now), ()) == ""
    for now in (NOW + SOON_MS, NOW + SOON_MS + DOWN_GRACE_MS):
        words = found.stuck(VIEW, snapshot(now), ""), found.silent(VIEW, snapshot(now), ())
    assert all("is loading its model" in each for each in words)


@pytest.mark.parametrize(
    ("ahead_ms", "closed", "stuck"),
    [
        (0, False, True),
        (BREAKER_MS, False, True),  # a breaker, opened again and again
        (120_000, False, False),  # it asked for two minutes
        (SOON_MS + 60_000, False, True),  # a quota per day
        (120_000, True, True),
    ],
)
def test_what_asked_for_a_short_wait_is_waited_for(ahead_ms: int, closed: bool, stuck: bool) -> None:
    found = why(failing_since=NOW - SILENT_MS, closed=closed)
    words = []
    for now in (NOW, NOW + DOWN_GRACE_MS):
        found._targets.states["it"]["until_ms"] = now + ahead_ms
        words = [found.stuck(VIEW, snapshot(now), ""), found.silent(VIEW, snapshot(now), ())]
    assert [bool(each) for each in words] == [stuck, stuck]
    assert all("it: busy" in each for each in words if each)


@pytest.mark.parametrize(
    ("offices", "lanes", "stuck"), [({}, "any", True), ({"it": 1}, "local", True), ({"it": 1}, "any", False)]
)
def test_a_run_that_has_time_waits_for_its_lane_where_a_batch_api_takes_what_is_missed(
    offices: dict[str, int], lanes: str, stuck: bool
) -> None:
    found, batch = why(), SimpleNamespace(route="r", lanes=lanes)
    targets = {"it": SimpleNamespace(up=False), "mini": SimpleNamespace(up=True)}
    view: Any = SimpleNamespace(id="run", may_buy=True, deadline_ms=None, waiting=(batch,))
    for now in (NOW, NOW + DOWN_GRACE_MS):
        seen: Any = SimpleNamespace(now_ms=now, routes={"r": tuple(targets)}, targets=targets, batch_targets=offices)
        words = found.stuck(view, seen, "")
    assert bool(words) == stuck
