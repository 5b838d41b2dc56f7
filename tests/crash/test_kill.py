"""Crash, first level: any process may be killed at any moment; the same command finishes the run, nothing is asked twice
but what was in flight, and nobody waits for the leases of the dead."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from tests.support_program import CLOUD, GPU, Program, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import agrees_with, prompts

ROWS = 600
SLOTS = 8


def answered(program: Program, upstream: Upstream) -> int:
    return int(upstream.bill("gpu")["calls"])


@pytest.mark.parametrize("victim", ["lanes", "control", "everything", "program"])
def test_kill_9_in_the_middle(tmp_path: Path, victim: str) -> None:
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 40}
    with Upstream({"servers": {"gpu": gpu, "cloud": CLOUD}}) as upstream:
        program = Program(tmp_path, upstream)
        source = str(program.rows(prompts(ROWS)))
        process = program.start("run", source, "--dedupe", "exact", "--json")
        wait_until(lambda: answered(program, upstream) > ROWS // 3, 40)
        workers = sorted(program.workers())
        killed = {
            "lanes": workers[1:],
            "control": workers[:1],
            "everything": [process.pid, *workers],
            "program": [process.pid],
        }
        for pid in killed[victim]:
            os.kill(pid, signal.SIGKILL)
        if victim in ("lanes", "control"):
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        before = answered(program, upstream)
        started = time.monotonic()
        out = program.json("run", source, "--dedupe", "exact")
        took = time.monotonic() - started
        assert (out["rows"], out["ok"]) == (ROWS, ROWS)
        results = program.results(out["run_id"])
        assert results["row"].to_list() == list(range(ROWS)), "every row once, in order"
        asked = Counter(call["prompt_hash"] for call in upstream.calls())
        assert sum(count - 1 for count in asked.values()) <= SLOTS, (
            "asked twice: at most what was in flight at the kill"
        )
        costs = program.costs()
        assert costs["call_id"].is_unique().all()
        assert costs.filter(pl.col("outcome") == "lost").height <= SLOTS
        assert before < ROWS, "the kill came in the middle"
        assert took < 25, "nobody waited for the leases of the dead"
        assert program.run("doctor", "--run", out["run_id"]).returncode == 0


def test_ctrl_c_leaves_a_resumable_run(tmp_path: Path) -> None:
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 40}
    with Upstream({"servers": {"gpu": gpu}}) as upstream:
        program = Program(tmp_path, upstream)
        source = str(program.rows(prompts(300)))
        process = program.start("run", source, "--dedupe", "exact")
        wait_until(lambda: answered(program, upstream) > 60, 40)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130 and "resume" in err
        assert not program.workers(), "no process stays behind"
        told = program.run("status").stdout
        assert "the same command resumes" in told and " 0 of 0" not in told, "how far it had come is not forgotten"
        out = program.json("run", source, "--dedupe", "exact")
        assert out["ok"] == 300
        assert upstream.bill("gpu")["calls"] == 300, "calls in flight ended and counted: nothing asked twice"
        agrees_with(program, upstream)


def test_a_changed_source_is_refused_by_name(tmp_path: Path) -> None:
    gpu = {**GPU, "latency_ms": 100}
    with Upstream({"servers": {"gpu": gpu}}) as upstream:
        program = Program(tmp_path, upstream)
        source = program.rows(prompts(200))
        process = program.start("run", str(source), "--dedupe", "exact")
        wait_until(lambda: answered(program, upstream) > 20, 40)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        source.write_text(source.read_text().replace("number 150", "number 9150"))
        refused = program.run("run", str(source), "--dedupe", "exact", code=2)
        assert "rows.jsonl" in refused.stderr and "changed" in refused.stderr
