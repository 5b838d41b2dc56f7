"""The day of the budget turns while a run waits at its wall: what may not be bought waits, and goes on by itself.

The wall is met at noon and the clock then put forward, so that no machine is too slow to see it."""

from __future__ import annotations

import signal
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
    (folder / "Test").mkdir(parents=True, exist_ok=True)
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    (folder / "Test/Soon").write_bytes(b"TZif" + b"\0" * 16 + counts + struct.pack(">lbb", offset_s, 0, 0) + b"TST\0")


def test_a_run_at_its_wall_goes_on_when_the_day_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zones = tmp_path / "zones"
    monkeypatch.setenv("PYTHONTZPATH", str(zones))
    long = {**CLOUD, "answer": "text:" + "and then " * 400, "latency_ms": 100}
    with Upstream({"servers": {"cloud": long}}) as upstream:
        config = upstream.settings()
        config["targets"]["cloud"]["max_concurrency"] = SLOTS
        day, of_day = divmod(round(time.time()), DAY_S)  # zones have whole seconds
        zone(zones, DAY_S // 2 - of_day)  # noon
        plain = {"spillway": {"timezone": "Test/Soon"}, "budget": {"daily_usd": LIMIT}, **config}
        with Field(tmp_path, None, [""], **plain) as there:
            there.upstream = upstream
            run_id = there.submit(there.program.rows(prompts(ROWS, max_tokens=60)))
            wait_until(lambda: "the next call does not fit" in there.fields(run_id).get("blocked", ""), 60)
            there.workers.signal(0, signal.SIGTERM)
            there.workers.processes[0].wait()
            stopped_at = len(upstream.calls())
            assert 0 < stopped_at < ROWS, "the wall stands"
            midnight_s = round(time.time()) + 9
            zone(zones, (day + 1) * DAY_S - midnight_s)  # of the same day
            there.workers.mend()
            wait_until(lambda: len(upstream.calls()) > stopped_at, 60)
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
