"""The day of the budget turns while a run waits at its wall: what may not be bought waits, and goes on by itself."""

from __future__ import annotations

import struct
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from tests.crash.judge import judge
from tests.crash.stage import Field
from tests.support_program import CLOUD, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts

ROWS = 200
SLOTS = 8
LIMIT = Decimal("0.004")
DAY_S = 86_400


def zone(folder: Path, offset_s: int) -> None:
    """A time zone file (RFC 8536) with one offset, so that a midnight can be near."""
    (folder / "Test").mkdir(parents=True)
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    (folder / "Test/Soon").write_bytes(b"TZif" + b"\0" * 16 + counts + struct.pack(">lbb", offset_s, 0, 0) + b"TST\0")


def test_a_run_at_its_wall_goes_on_when_the_day_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zones = tmp_path / "zones"
    monkeypatch.setenv("PYTHONTZPATH", str(zones))
    long = {**CLOUD, "answer": "text:" + "and then " * 400, "latency_ms": 100}
    with Upstream({"servers": {"cloud": long}}) as upstream:
        config = upstream.settings()
        config["targets"]["cloud"]["max_concurrency"] = SLOTS
        midnight_s = round(time.time()) + 20  # zones have whole seconds
        zone(zones, round(-midnight_s % DAY_S))
        plain = {"spillway": {"timezone": "Test/Soon"}, "budget": {"daily_usd": LIMIT}, **config}
        with Field(tmp_path, None, [""], **plain) as there:
            there.upstream = upstream
            run_id = there.submit(there.program.rows(prompts(ROWS, max_tokens=60)))
            wait_until(lambda: "the next call does not fit" in there.fields(run_id).get("blocked", ""), 19)
            stopped_at = len(upstream.calls())
            assert 0 < stopped_at < ROWS, "the wall stands"
            assert time.time() < midnight_s, "too slow a machine to see the day before it turns"
            wait_until(lambda: len(upstream.calls()) > stopped_at, 30)
            assert time.time() >= midnight_s - 1
            wait_until(
                lambda: there.fields(run_id).get("status") == "completed" or bool(there.fields(run_id)["blocked"])
            )
            spent: dict[bool, Decimal] = defaultdict(Decimal)
            for call in upstream.calls():
                spent[call["time"] >= midnight_s] += Decimal(call["cost_pusd"]) / 10**12
            assert LIMIT * Decimal("0.9") < spent[False] <= LIMIT and 0 < spent[True] <= LIMIT
            for scope in there.redis.client.keys("spillway:budget:day:*"):  # type: ignore[union-attr]
                there.ask("budget", "set", scope.removeprefix("spillway:budget:"), "1")
            assert there.wait_for_end(run_id) == "completed"
            wrong = judge(there.program, run_id, ROWS, upstream.calls(), in_flight=0, redis=there.redis.client)
    assert not wrong, wrong
