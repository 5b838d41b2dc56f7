"""Workers of two hosts on one Redis and one shared folder: scratch of their own, process ids that mean nothing to each
other, clocks that are minutes off in both directions; one is killed, one pauses longer than its leases."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from tests.crash.hosts import OtherHost
from tests.crash.judge import judge
from tests.crash.stage import LEASE_S, Field
from tests.support_program import GPU, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts

ROWS = 400
SLOTS = 8


def test_two_hosts_one_redis_one_shared_folder(tmp_path: Path) -> None:
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 150}
    early, late = OtherHost(tmp_path / "early", -11 * 60), OtherHost(tmp_path / "late", 7 * 60)
    began = datetime.now(UTC)
    with (
        Upstream({"servers": {"gpu": gpu}}) as upstream,
        Field(tmp_path, upstream, ["", ""], hosts={0: early, 1: late}) as there,
    ):
        source = there.program.rows(prompts(ROWS))
        run_id = there.submit(source, "--deadline", "10m")  # less than the clocks differ: nobody's own clock ends it
        for index, number in ((1, signal.SIGKILL), (0, signal.SIGSTOP), (0, signal.SIGTERM)):
            before = there.requests()
            wait_until(lambda: there.requests() > before + 50, 60)  # noqa: B023
            there.workers.signal(index, number)
            if number == signal.SIGSTOP:
                time.sleep(2.0 * LEASE_S)
                there.workers.signal(index, signal.SIGCONT)
            there.workers.mend()
        assert there.wait_for_end(run_id) == "completed"
        assert there.submit(source) == run_id, "finished: nothing to do"
        wrong = judge(there.program, run_id, ROWS, upstream.calls(), in_flight=4 * SLOTS, redis=there.redis.client)
        times = pl.concat([there.program.costs()["started_at"], there.program.costs()["finished_at"]])
        slack = timedelta(seconds=5)
        assert began - slack < times.min() <= times.max() < datetime.now(UTC) + slack, "one clock, Redis' own"  # type: ignore[operator]
        assert not list((tmp_path / "data").rglob("*.tmp"))
    assert not wrong, wrong
