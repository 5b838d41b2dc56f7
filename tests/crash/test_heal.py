"""What heals by itself: a worker that pauses longer than its leases, a queue that forgets, a batch that kills."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from tests.crash.judge import judge
from tests.crash.stage import Field
from tests.support_program import GPU, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts
from worker.prepare.part import RATES

LANES = "local,cloud"
CONTROL = "prepare,schedule,settle"
SLOTS = 8
ROWS = 240


@pytest.mark.parametrize("wakes", ["while the other works on it", "after the run has ended"])
def test_two_workers_that_both_believe_they_own_a_batch_never_both_publish(tmp_path: Path, wakes: str) -> None:
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 200}
    with Upstream({"servers": {"gpu": gpu}}) as upstream, Field(tmp_path, upstream, [CONTROL, LANES, LANES]) as there:
        run_id = there.submit(there.program.rows(prompts(ROWS)))
        wait_until(lambda: there.requests() > 40, 40)
        paused, out = paused_while_calling(there)
        own = {batch: there.epoch(batch) for batch in out}
        if wakes == "after the run has ended":
            assert there.wait_for_end(run_id) == "completed"
        else:  # who took the batch over has claimed it, and the one that pauses knows nothing of that
            wait_until(lambda: all(there.epoch(batch) != own[batch] and there.holder(batch) for batch in out), 40)
        there.workers.signal(paused, signal.SIGCONT)
        wait_until(lambda: there.workers.log().count("was taken over; nothing published") >= len(out), 20)
        assert there.wait_for_end(run_id) == "completed"
        costs = there.program.costs()
        odd = costs.filter((pl.col("purpose") == "late") | (pl.col("outcome") == "lost"))
        assert set().union(*out.values()) <= set(odd["call_id"]), "the late one's calls are in the ledger, and marked"
        assert len(upstream.calls()) <= ROWS + odd.height <= ROWS + 2 * SLOTS, "nothing else is asked again"
        wrong = judge(there.program, run_id, ROWS, upstream.calls(), in_flight=SLOTS, redis=there.redis.client)
    assert not wrong, wrong


def paused_while_calling(there: Field) -> tuple[int, dict[str, set[str]]]:
    """Stops a worker of lanes whose calls are out: its index, and those calls by batch, as its journals have them.

    They were out while it still ran, so it knows that Redis has them and that it made them.
    """
    until_s = time.monotonic() + 40
    while time.monotonic() < until_s:
        if (lanes := there.calling()) is None or not (before := there.calls_out(lanes)):
            time.sleep(0.02)
            continue
        time.sleep(0.1)
        there.workers.signal(lanes, signal.SIGSTOP)
        time.sleep(0.2)  # what it had sent to Redis is there
        still = {batch: calls & before.get(batch, set()) for batch, calls in there.calls_out(lanes).items()}
        if out := {batch: calls for batch, calls in still.items() if calls}:
            return lanes, out
        there.workers.signal(lanes, signal.SIGCONT)  # they had ended since
    raise AssertionError("no worker with calls out")


def test_a_queue_that_is_deleted_while_its_worker_is_down_is_rung_again(tmp_path: Path) -> None:
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 150}
    with Upstream({"servers": {"gpu": gpu}}) as upstream, Field(tmp_path, upstream, [CONTROL, LANES]) as there:
        run_id = there.submit(there.program.rows(prompts(ROWS)))
        redis = there.redis.client
        wait_until(lambda: there.requests() > 40, 40)
        there.workers.signal(1, signal.SIGKILL)
        there.workers.processes[1].wait()
        time.sleep(1.0)  # what it held is rung again, to nobody
        redis.delete("spillway:local", *redis.keys("arq:*"))  # type: ignore[misc]
        assert there.workers.mend() == 1
        began_s = time.monotonic()
        before = there.requests()
        wait_until(lambda: there.requests() > before, 30)
        assert there.wait_for_end(run_id, 60) == "completed"
        assert time.monotonic() - began_s < 40
        wrong = judge(there.program, run_id, ROWS, upstream.calls(), in_flight=SLOTS, redis=redis)
    assert not wrong, wrong


def test_what_arq_forgets_is_rung_again(tmp_path: Path) -> None:
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 150}
    with Upstream({"servers": {"gpu": gpu}}) as upstream, Field(tmp_path, upstream, [CONTROL, LANES]) as there:
        run_id = there.submit(there.program.rows(prompts(ROWS)))
        redis = there.redis.client
        until_s = time.monotonic() + 3.0
        while time.monotonic() < until_s:
            redis.delete("spillway:local", *redis.keys("arq:job:*"), *redis.keys("arq:in-progress:*"))  # type: ignore[misc]
        began_s = time.monotonic()
        wait_until(lambda: there.requests() > 0, 30)
        assert there.wait_for_end(run_id, 60) == "completed"
        assert time.monotonic() - began_s < 30
        wrong = judge(there.program, run_id, ROWS, upstream.calls(), in_flight=0, redis=redis)
    assert not wrong, wrong


def test_a_restarted_redis_knows_no_scripts_and_waiting_batches_still_move(tmp_path: Path) -> None:
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 50, "down": [[0.0, 8.0]]}
    with Upstream({"servers": {"gpu": gpu}}) as upstream, Field(tmp_path, upstream, [CONTROL, LANES]) as there:
        run_id = there.submit(there.program.rows(prompts(60)))
        wait_until(lambda: there.fields(run_id).get("prepared") == "1", 30)
        there.redis.kill()
        there.redis.start()
        assert there.wait_for_end(run_id, 60) == "completed"
        wrong = judge(there.program, run_id, 60, upstream.calls(), in_flight=SLOTS, redis=there.redis.client)
    assert not wrong, wrong


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_redis_that_forgot_its_last_seconds_is_told_again(tmp_path: Path, lanes: int) -> None:
    """Answers that were acknowledged are not bought again, and the ledger stays the bill."""
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 60}
    roles = [CONTROL, *[LANES] * lanes]
    with (
        Upstream({"servers": {"gpu": gpu}}) as upstream,
        Field(tmp_path, upstream, roles, fsync="everysec") as there,
    ):
        run_id = there.submit(there.program.rows(prompts(1000)))
        wait_until(lambda: there.requests() > 100, 40)
        for seconds in (1.8, 0.6):
            there.redis.kill_forgetting(seconds)
            before = there.requests()
            wait_until(lambda: there.requests() > before + 100, 40)  # noqa: B023
        assert there.wait_for_end(run_id) == "completed"
        time.sleep(1.0)
        costs = there.program.costs()
        good = costs.filter((pl.col("outcome") == "ok") & (pl.col("purpose") == "answer"))
        assert good["row"].is_unique().all(), "bought again though the answer had been acknowledged"
        wrong = judge(there.program, run_id, 1000, upstream.calls(), in_flight=2 * SLOTS, redis=there.redis.client)
        assert "notes said again" in there.workers.log()
    assert not wrong, wrong


@pytest.mark.parametrize("workers", ["live", "are down"])
def test_a_run_registered_just_before_redis_forgot_its_last_seconds_is_not_lost(tmp_path: Path, workers: str) -> None:
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 60}
    with (
        Upstream({"servers": {"gpu": gpu}}) as upstream,
        Field(tmp_path, upstream, [CONTROL, LANES], fsync="everysec") as there,
    ):
        source = there.program.rows(prompts(ROWS))
        wait_until(lambda: len(there.owners()) == 2)
        time.sleep(1.5)  # what these workers said is on the disk

        def registered() -> str:
            run_id = there.submit(source)
            if workers == "live":  # and at work already
                wait_until(lambda: there.requests() > SLOTS, 40)
            return run_id

        if workers == "are down":
            there.kill_workers(mend=False)
        run_id = there.redis.forgetting(registered)
        assert not there.fields(run_id) or workers == "live", "it was registered in what is forgotten"
        there.workers.mend()
        wait_until(lambda: bool(there.fields(run_id)), 20)
        assert there.submit(source) == run_id, "the same command finds it again"
        assert there.wait_for_end(run_id) == "completed"
        wrong = judge(there.program, run_id, ROWS, upstream.calls(), in_flight=2 * SLOTS, redis=there.redis.client)
        told = "notes said again" if workers == "live" else "registered again from its record"
        assert told in there.workers.log()
    assert not wrong, wrong


@pytest.mark.parametrize("cut", ["as it was", "otherwise"])
def test_a_registration_forgotten_together_with_its_preparer_costs_nothing(tmp_path: Path, cut: str) -> None:
    """The lanes live and know what they called: it finds its place where the same batches are made again, and is booked in
    any case. Cut otherwise: as if the lanes' speed were another by now."""
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 60}
    with (
        Upstream({"servers": {"gpu": gpu}}) as upstream,
        Field(tmp_path, upstream, [CONTROL, LANES], fsync="everysec") as there,
    ):
        source = there.program.rows(prompts(ROWS))
        wait_until(lambda: len(there.owners()) == 2)
        time.sleep(1.5)  # what is there by now is on the disk

        def registered() -> str:
            run_id = there.submit(source)
            wait_until(lambda: there.requests() > 3 * SLOTS, 40)
            there.workers.signal(0, signal.SIGKILL)
            there.workers.processes[0].wait()
            return run_id

        run_id = there.redis.forgetting(registered)
        if cut == "otherwise":
            for part in (there.program.data / f"results/run={run_id}/chunks").iterdir():
                table = pq.read_table(part)
                rates = dict.fromkeys(json.loads(table.schema.metadata[RATES]), 1000.0)
                kept = {**table.schema.metadata, RATES: json.dumps(rates).encode()}
                pq.write_table(table.replace_schema_metadata(kept), part)
        there.workers.mend()
        wait_until(lambda: bool(there.fields(run_id)), 20)
        assert there.wait_for_end(run_id) == "completed"
        calls = upstream.calls()
        costs = there.program.costs()
        assert len(calls) <= ROWS + (SLOTS if cut == "as it was" else 2 * ROWS // 3)
        late = costs.filter(pl.col("purpose") == "late").height
        assert late <= SLOTS if cut == "as it was" else late >= 2 * SLOTS, "but for what was out when its batch went"
        assert costs["call_id"].is_unique().all() and costs.height >= len(calls)
        assert not there.redis.client.exists("spillway:orphans")
        assert "notes said again" in there.workers.log()
        wrong = judge(there.program, run_id, ROWS, calls, in_flight=2 * ROWS, redis=there.redis.client)
    assert not wrong, wrong


def test_calls_of_a_worker_that_slept_while_redis_forgot_them_are_in_the_ledger_though_the_run_has_ended(
    tmp_path: Path,
) -> None:
    """Their intents are nowhere but in its memory: the others ask the rows again, and end the run without it."""
    gpu = {**GPU, "slots": SLOTS, "latency_ms": 300}
    with (
        Upstream({"servers": {"gpu": gpu}}) as upstream,
        Field(tmp_path, upstream, [CONTROL, LANES, LANES], fsync="everysec") as there,
    ):
        run_id = there.submit(there.program.rows(prompts(ROWS)))
        wait_until(lambda: there.requests() > 40, 40)

        def asleep() -> tuple[int, dict[str, set[str]]]:
            upstream.control("gpu", latency_ms=2000)  # calls are out, and Redis forgets no more than it may
            time.sleep(1.2)
            return paused_while_calling(there)

        index, out = there.redis.forgetting(asleep)
        upstream.control("gpu", latency_ms=300)
        assert there.wait_for_end(run_id) == "completed"
        billed, booked = (sum(call["cost_pusd"] for call in upstream.calls()), there.program.costs())
        there.workers.signal(index, signal.SIGCONT)
        asked = set().union(*out.values())
        wait_until(lambda: asked <= set(there.program.costs()["call_id"]), 30)
        wait_until(lambda: not there.redis.client.exists("spillway:orphans"), 30)
        wait_until(lambda: "calls of batches that Redis forgot" in there.workers.log(), 30)
        costs = there.program.costs()
        assert costs.height > booked.height and set(costs["call_id"]) >= set(booked["call_id"])
        assert costs.filter(pl.col("purpose") == "late").height >= costs.height - booked.height
        assert billed == sum(call["cost_pusd"] for call in upstream.calls()), "nothing was asked for it"
        forgotten = 5 * SLOTS  # answers of 1.4 s, 0.3 s each: who heard them sleeps, and Redis knows nothing of them
        wrong = judge(
            there.program, run_id, ROWS, upstream.calls(), in_flight=2 * SLOTS + forgotten, redis=there.redis.client
        )
    assert not wrong, wrong


def test_a_batch_that_kills_its_workers_is_set_aside(tmp_path: Path) -> None:
    """Here the test does the killing, each time the batch's calls are out."""
    gpu = {**GPU, "slots": 64, "latency_ms": 20, "faults": [{"kind": "hang", "match": "deadly"}]}
    with Upstream({"servers": {"gpu": gpu}}) as upstream, Field(tmp_path, upstream, [CONTROL, LANES]) as there:
        rows = [{"id": f"d{i}", "prompt": f"A deadly question {i}"} for i in range(4)]
        run_id = there.submit(there.program.rows(rows))
        for time_ in range(1, 4):
            wait_until(lambda: there.calling() == 1, 40)
            time.sleep(0.5)
            there.workers.signal(1, signal.SIGKILL)
            there.workers.processes[1].wait()
            wait_until(lambda: there.calling() is None, 20)
            if time_ < 3:
                there.workers.mend()
        assert there.wait_for_end(run_id, 40) == "completed"
        results = there.program.results(run_id)
        assert set(results["status"]) == {"failed"} and set(results["error_code"]) == {"poison"}
        assert "died 3 times" in results["error_message"][0]
        assert there.program.costs().filter(pl.col("outcome") == "lost").height == 12
        assert "set aside" in there.ask("status")
        assert "poison" in there.ask("doctor", code=None)
