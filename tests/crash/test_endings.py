"""Cancel, retry, resume and expiry: each keeps what it has, may be repeated, and may be killed half-way."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from tests.crash.judge import judge
from tests.crash.stage import Field
from tests.support_program import GPU, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts

ROLES = ["prepare,schedule,settle", "local,cloud"]
SLOTS = 8
ROWS = 240


@contextmanager
def field(folder: Path, **gpu: Any) -> Iterator[Field]:
    server = {**GPU, "slots": SLOTS, "latency_ms": 150, **gpu}
    with Upstream({"servers": {"gpu": server}}) as upstream, Field(folder, upstream, ROLES) as found:
        yield found


def test_cancel_stops_calls_within_two_seconds_and_a_killed_one_still_ends(tmp_path: Path) -> None:
    with field(tmp_path) as there:
        source = there.program.rows(prompts(ROWS))
        run_id = there.submit(source)
        wait_until(lambda: there.requests() > 40, 40)
        there.ask("cancel", run_id)
        cancelled_s = time.monotonic()
        there.ask("cancel", run_id)
        time.sleep(max(0.0, cancelled_s + 2.0 - time.monotonic()))
        stopped_at = there.requests()
        there.kill_workers()
        assert there.wait_for_end(run_id) == "cancelled"
        assert there.requests() == stopped_at < ROWS
        kept = there.program.results(run_id).filter(pl.col("status") == "ok").height
        assert stopped_at - SLOTS <= kept, "what was answered is kept"
        assert there.submit(source) == run_id, "the same command resumes"
        wait_until(lambda: there.requests() > stopped_at + 20, 40)
        there.kill_workers()
        assert there.wait_for_end(run_id) == "completed"
        wrong = judge(
            there.program, run_id, ROWS, there.upstream.calls(), in_flight=2 * SLOTS, redis=there.redis.client
        )
    assert not wrong, wrong


def test_retry_asks_only_failed_rows_and_survives_a_kill(tmp_path: Path) -> None:
    bad = [{"kind": "400", "match": "object number 1"}]
    with field(tmp_path, faults=bad) as there:
        run_id = there.submit(there.program.rows(prompts(ROWS)))
        assert there.wait_for_end(run_id) == "completed"
        failed = there.program.results(run_id).filter(pl.col("status") == "failed")["row"].to_list()
        assert len(failed) == sum(str(row).startswith("1") for row in range(ROWS))
        answered = Counter(call["prompt_hash"] for call in there.upstream.calls())
        there.upstream.control("gpu", faults=[], latency_ms=4_000)  # it has not ended when it is asked for once more
        there.ask("retry", run_id)
        assert "retry it when it has ended" in there.ask("retry", run_id, code=2)
        there.upstream.control("gpu", latency_ms=100)
        wait_until(lambda: len(there.upstream.calls()) > len(answered) + 20, 40)
        there.kill_workers()
        assert there.wait_for_end(run_id) == "completed"
        assert there.fields(run_id)["generation"] == "1"
        told = there.program.json("status", run_id, "--redis", there.redis.url)
        assert Path(told["results"]).is_file() and Path(told["costs"]).is_dir(), "the files are named"
        assert "no failed rows" in there.ask("retry", run_id, code=2)
        calls = there.upstream.calls()
        again = Counter(call["prompt_hash"] for call in calls) - answered
        assert not answered.keys() & again.keys(), "only failed rows are asked again"
        wrong = judge(there.program, run_id, ROWS, calls, in_flight=2 * SLOTS, redis=there.redis.client)
    assert not wrong, wrong


def test_a_resume_whose_source_changed_under_it_asks_the_rest_when_that_is_restored(tmp_path: Path) -> None:
    with field(tmp_path, latency_ms=300) as there:
        source = there.program.rows(prompts(ROWS))
        was = source.read_text()
        run_id = there.submit(source)
        wait_until(lambda: there.fields(run_id).get("prepared") == "1" and there.requests() > SLOTS, 40)
        there.ask("cancel", run_id)
        assert there.wait_for_end(run_id) == "cancelled"
        there.workers.signal(0, signal.SIGKILL)
        there.workers.processes[0].wait()
        assert there.submit(source) == run_id
        source.write_text(was.replace(f"number {ROWS - 1}", f"number {ROWS + 1}"))  # as long as it was
        assert there.wait_for_end(run_id) == "failed"
        assert "changed since it was submitted" in there.fields(run_id)["error"]
        source.write_text(was)
        there.upstream.control("gpu", latency_ms=30)
        assert there.submit(source) == run_id
        assert there.wait_for_end(run_id) == "completed"
        wrong = judge(there.program, run_id, ROWS, there.upstream.calls(), in_flight=SLOTS, redis=there.redis.client)
    assert not wrong, wrong


def test_expiry_ends_with_what_it_has_and_resumes(tmp_path: Path) -> None:
    with field(tmp_path, latency_ms=600) as there:
        source = there.program.rows(prompts(ROWS))
        run_id = there.submit(source, "--deadline", "9s")  # the server alone needs twice as long
        wait_until(lambda: bool(there.fields(run_id).get("cancel")), 40)
        there.kill_workers()
        assert there.wait_for_end(run_id) == "expired"
        counts = dict(there.program.results(run_id).group_by("status").len().rows())
        assert sum(counts.values()) == ROWS and 0 < counts["ok"] < ROWS and counts["expired"] == ROWS - counts["ok"]
        there.upstream.control("gpu", latency_ms=20)
        assert there.submit(source, "--deadline", "1h") == run_id
        assert there.wait_for_end(run_id) == "completed"
        wrong = judge(
            there.program, run_id, ROWS, there.upstream.calls(), in_flight=2 * SLOTS, redis=there.redis.client
        )
    assert not wrong, wrong
