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

from tests.crash.judge import judge
from tests.crash.stage import Field
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
        upstream.control("gpu", latency_ms=400)  # the end stays far away, however slow the machine
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
        upstream.control("gpu", latency_ms=40)
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
        upstream.control("gpu", latency_ms=1000)  # the end stays far away, however slow the machine
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        upstream.control("gpu", latency_ms=40)
        assert process.returncode == 130 and "resume" in err
        assert not program.workers(), "no process stays behind"
        told = program.run("status").stdout
        assert "the same command resumes" in told and " 0 of 0" not in told, "how far it had come is not forgotten"
        out = program.json("run", source, "--dedupe", "exact")
        assert out["ok"] == 300
        assert upstream.bill("gpu")["calls"] == 300, "calls in flight ended and counted: nothing asked twice"
        agrees_with(program, upstream)


def test_an_impatient_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    """The second one comes while the calls in flight are waited for; neither workers nor Redis outlive the program."""
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 4000}
    with Upstream({"servers": {"gpu": gpu}}) as upstream:
        program = Program(tmp_path, upstream)
        source = str(program.rows(prompts(100)))
        process = program.start("run", source, "--dedupe", "exact")
        wait_until(lambda: bool(program.redis()) and any(program.data.glob("runs/*.json")), 40)
        time.sleep(2)
        began = time.monotonic()
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.1)
        process.communicate(timeout=30)
        assert process.returncode in (130, -signal.SIGINT), "what a shell calls 130"
        assert time.monotonic() - began < 10, "nobody waited for every call"
        wait_until(lambda: not program.redis() and not program.workers(), 5)


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


def test_a_source_changed_since_intake_is_refused_by_name_at_every_entry(tmp_path: Path) -> None:
    """Same length, so that only its content tells: by run, submit, resume and retry, and by a worker that reads on."""
    bad = {"kind": "400", "match": "object number 29"}
    with (
        Upstream({"servers": {"gpu": {**GPU, "slots": SLOTS, "latency_ms": 300, "faults": [bad]}}}) as upstream,
        Field(tmp_path, upstream, [""]) as there,
    ):
        source = there.program.rows(prompts(300))
        was = source.read_text()
        edited = was.replace("number 290", "number 920")

        def refused(*arguments: str) -> None:
            said = there.ask(*arguments, code=2)
            assert "rows.jsonl" in said and "changed" in said and "Traceback" not in said, said

        run_id = there.submit(source)
        wait_until(lambda: there.fields(run_id).get("prepared") == "1", 40)
        source.write_text(edited)
        for command in ("submit", "run"):
            refused(command, str(source), "--dedupe", "exact")
        there.ask("cancel", run_id)
        source.write_text(was)
        assert there.wait_for_end(run_id) == "cancelled"
        source.write_text(edited)
        refused("submit", str(source), "--dedupe", "exact")
        source.write_text(was)
        assert there.submit(source) == run_id
        assert there.wait_for_end(run_id) == "completed"
        source.write_text(edited)
        refused("retry", run_id)
        source.rename(source.with_suffix(".away"))  # seen from another host, which cannot look: the worker does
        upstream.control("gpu", faults=[])
        there.ask("retry", run_id)
        source.with_suffix(".away").rename(source)
        assert there.wait_for_end(run_id) == "failed"
        told = there.program.json("status", run_id, "--redis", there.redis.url)
        assert "rows.jsonl" in told["error"]
        asked = len(upstream.calls())
        source.write_text(was)
        assert there.submit(source) == run_id
        assert there.wait_for_end(run_id) == "completed"
        wrong = judge(there.program, run_id, 300, upstream.calls(), in_flight=SLOTS, redis=there.redis.client)
        assert len(upstream.calls()) > asked
    assert not wrong, wrong
