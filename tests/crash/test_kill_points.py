"""Cancel, expiry, resume and retry, each killed half-way: between any two steps of what ends a run or begins it again."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.crash.dying import ENDING, POINTS, SETTLE
from tests.crash.judge import judge
from tests.crash.stage import Field, clean_environment, dying
from tests.support_program import GPU, Program, wait_until
from tests.support_upstream import ROOT, Upstream
from tests.test_flow import prompts

ROWS = 300  # two chunks
FAILED = 11
SLOTS = 8
STAGES = ("cancel", "expiry", "resume", "retry")
NOT_BY = {
    "cancel": ("commit_chunk", "claim", "producer"),
    "expiry": ("claim", "release"),
    "resume": ("close", "producer"),
    "retry": ("close", "producer"),
}
"""What a stage does not certainly come by; on a busy machine a deadline of seconds passes before a batch is taken."""
SOME = [
    ("script close after", "script commit_chunk after", "script settle_begin after", f"{ENDING}:End._record after"),
    (f"{ENDING}:compact after", "script close before", "script finish after", "script commit_chunk before"),
    ("script settle_done after", f"{ENDING}:End._record after", "script claim after", f"{SETTLE}:write_part after"),
]
EVERY = [(point,) * len(STAGES) for point in POINTS if not point.startswith("producer")]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("points", EVERY if os.environ.get("CRASH_EVERY") else SOME, ids=" | ".join)
def test_every_ending_and_beginning_survives_a_kill(tmp_path: Path, points: tuple[str, ...]) -> None:
    """One point in each stage: where a worker dies after it was told to cancel, expire, resume or retry."""
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 500, "faults": [{"kind": "400", "match": "object number 29"}]}
    roles = ["prepare,schedule,settle", "local,cloud"]
    with Upstream({"servers": {"gpu": gpu}}) as upstream, Field(tmp_path, upstream, roles, dies=True) as there:
        armed, died = tmp_path / "armed", tmp_path / "died"

        def ends(stage: str, status: str) -> None:
            ended = there.wait_for_end(run_id)
            counts = there.program.results(run_id)["status"].value_counts().rows()
            assert ended == status, f"{stage}: {ended}, {counts}, {there.workers.log()[-3000:]}"
            assert died.exists() or point.removeprefix("script ").startswith(NOT_BY.get(stage, ())), (
                f"{stage}: nobody came by {point}"
            )
            died.unlink(missing_ok=True)

        source = there.program.rows(prompts(ROWS))
        run_id = there.submit(source)
        wait_until(lambda: there.requests() > SLOTS, 40)
        for stage, point in zip(STAGES, points, strict=True):
            armed.write_text(point)
            if stage == "cancel":
                there.ask("cancel", run_id)
                ends(stage, "cancelled")
            elif stage == "expiry":
                upstream.control("gpu", latency_ms=1000)  # more than can be answered in time, scheduler or not
                assert there.submit(source, "--deadline", "2s") == run_id
                ends(stage, "expired")
            elif stage == "resume":
                upstream.control("gpu", latency_ms=50)
                assert there.submit(source) == run_id
                ends(stage, "completed")
                assert there.program.results(run_id)["status"].to_list().count("failed") == FAILED
            else:
                upstream.control("gpu", faults=[])
                there.ask("retry", run_id)
                ends(stage, "completed")
        armed.unlink(missing_ok=True)
        assert there.program.json("status", run_id)["status"] == "completed", "the record says it without a Redis"
        calls = upstream.calls()
        wrong = judge(there.program, run_id, ROWS, calls, in_flight=4 * SLOTS, redis=there.redis.client)
    assert not wrong, wrong


@pytest.mark.parametrize("point", ["producer.records:Records.reopen after", "producer.intake:put after"])
def test_a_retry_that_was_killed_half_way_can_be_given_again(tmp_path: Path, point: str) -> None:
    """On one machine, where the record is asked as long as no Redis runs."""
    gpu = {**GPU, "slots": SLOTS, "faults": [{"kind": "400", "match": "object number 29"}]}
    with Upstream({"servers": {"gpu": gpu}}) as upstream:
        program = Program(tmp_path, upstream)
        source = str(program.rows(prompts(ROWS)))
        first = program.json("run", source, "--dedupe", "exact", code=3)
        run_id = first["run_id"]
        upstream.control("gpu", faults=[])
        (tmp_path / "armed").write_text(point)
        command = dying(program, program.command("retry", run_id))
        killed = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL and not (tmp_path / "armed").exists()
        wait_until(lambda: not program.workers(), 30)
        if "reopen" in point:  # nothing had begun: the same command says how the run had ended, and so does `results`
            same = program.json("run", source, "--dedupe", "exact", code=3)
            assert {**same, "seconds": 0} == {**first, "seconds": 0}
            assert len(program.run("results", run_id).stdout.splitlines()) == ROWS
        again = program.run("retry", run_id, code=None)
        assert again.returncode in (0, 2), again.stderr  # 2: its workers had answered all before they knew
        assert program.json("run", source, "--dedupe", "exact")["ok"] == ROWS
        assert len(upstream.calls()) == ROWS, "failed rows once more, and only they"
        wrong = judge(program, run_id, ROWS, upstream.calls(), in_flight=0)
    assert not wrong, wrong
