"""The configuration is another one when a run goes on: rows whose route or target is gone wait and say for what, others go on,
and the ledger still knows who was called."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.crash.judge import judge
from tests.crash.stage import Field
from tests.support_program import CLOUD, GPU, Program, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts

CONTROL, LANES = "prepare,schedule,settle", "local,cloud"
ROLES = [CONTROL, LANES]
ROWS = 80
SLOTS = 8
BAD = [{"kind": "400", "match": "object number 7"}]
SERVERS = {"gpu": {**GPU, "slots": SLOTS, "latency_ms": 50, "faults": BAD}}
FAILED = 11 - 3  # 7 and 70 to 79, but for what ROWS cuts off


def routes(upstream: Upstream, *names: str) -> dict[str, Any]:
    return {**upstream.settings(), "routes": {name: {"targets": ["gpu"]} for name in names}}


def reconfigure(there: Field, config: Mapping[str, Any]) -> None:
    """All workers end by SIGTERM, as for a deployment; the next ones find another configuration."""
    for index in range(len(there.roles)):
        there.workers.signal(index, signal.SIGTERM)
    for process in there.workers.processes:
        process.wait(40)
    Program(there.program.folder, None, **config)
    there.workers.mend()


def waits_for(there: Field, run_id: str, route: str) -> bool:
    return f"no route {route} in the configuration" in there.fields(run_id).get("blocked", "")


@pytest.mark.parametrize("begun", ["waiting", "not prepared"])
def test_rows_of_a_route_that_is_gone_wait_for_it_and_others_go_on(tmp_path: Path, begun: str) -> None:
    with (
        Upstream({"servers": SERVERS}) as upstream,
        Field(tmp_path, upstream, ROLES, **routes(upstream, "small", "large")) as there,
    ):
        upstream.control("gpu", latency_ms=400)
        if begun == "not prepared":
            there.kill_workers(mend=False)
        run_id = there.submit(there.program.rows(prompts(ROWS, n=1)), "--route", "large")
        if begun == "waiting":
            wait_until(lambda: there.fields(run_id).get("prepared") == "1" and there.requests() > SLOTS, 40)
        reconfigure(there, routes(upstream, "small"))
        other = there.submit(there.program.rows(prompts(20), "other.jsonl"), "--route", "small")
        assert there.wait_for_end(other) == "completed"
        wait_until(lambda: waits_for(there, run_id, "large"))
        assert "put it back" in there.ask("status")
        asked = there.requests()
        upstream.control("gpu", latency_ms=20)
        reconfigure(there, routes(upstream, "small", "large"))
        assert there.wait_for_end(run_id) == "completed" and there.requests() > asked
        results = there.program.results(run_id)
        assert set(results.filter(pl.col("status") != "ok")["error_code"]) == {"invalid_request_error"}


def test_a_run_that_waits_for_a_route_can_be_cancelled_and_resumed(tmp_path: Path) -> None:
    with (
        Upstream({"servers": SERVERS}) as upstream,
        Field(tmp_path, upstream, ROLES, **routes(upstream, "small", "large")) as there,
    ):
        upstream.control("gpu", latency_ms=400, faults=[])
        there.workers.signal(0, signal.SIGSTOP)
        source = there.program.rows(prompts(ROWS))
        run_id = there.submit(source, "--route", "large")
        reconfigured = routes(upstream, "small")
        there.workers.signal(0, signal.SIGCONT)
        reconfigure(there, reconfigured)
        wait_until(lambda: waits_for(there, run_id, "large") or there.fields(run_id)["status"] == "completed", 40)
        there.ask("cancel", run_id)
        assert there.wait_for_end(run_id) == "cancelled"
        counts = dict(there.program.results(run_id)["status"].value_counts().rows())
        assert counts.keys() <= {"ok", "cancelled"} and sum(counts.values()) == ROWS
        reconfigure(there, routes(upstream, "small", "large"))
        assert there.submit(source, "--route", "large") == run_id
        assert there.wait_for_end(run_id) == "completed"
        wrong = judge(there.program, run_id, ROWS, upstream.calls(), in_flight=SLOTS, redis=there.redis.client)
    assert not wrong, wrong


def test_a_retry_of_rows_whose_route_is_gone_waits_for_it(tmp_path: Path) -> None:
    """Rows that ask for several samples are sized by their route's targets."""
    with (
        Upstream({"servers": {"gpu": {**CLOUD, "faults": BAD}}}) as upstream,
        Field(tmp_path, upstream, ROLES, **routes(upstream, "small", "large")) as there,
    ):
        rows = prompts(ROWS, n=2)
        run_id = there.submit(there.program.rows(rows), "--route", "large")
        assert there.wait_for_end(run_id) == "completed"
        assert "failed" in there.program.results(run_id)["status"].to_list()
        upstream.control("gpu", faults=[])
        reconfigure(there, routes(upstream, "small"))
        there.ask("retry", run_id)
        other = there.submit(there.program.rows(prompts(20), "other.jsonl"), "--route", "small")
        assert there.wait_for_end(other) == "completed"
        wait_until(lambda: waits_for(there, run_id, "large"))
        assert "Traceback" not in there.workers.log() and "KeyError" not in there.workers.log()
        reconfigure(there, routes(upstream, "small", "large"))
        assert there.wait_for_end(run_id) == "completed"
        assert there.program.results(run_id)["status"].to_list() == ["ok"] * ROWS


def test_followers_of_a_route_that_is_gone_are_promoted_and_wait(tmp_path: Path) -> None:
    rows = [{**row, "id": f"{part}{row['id']}"} for part in "ab" for row in prompts(20)]
    bad = [{"kind": "404", "match": "object number 1"}]
    roles = ["prepare", "schedule,settle", LANES]
    with (
        Upstream({"servers": {"gpu": {**CLOUD, "faults": bad, "latency_ms": 500}}}) as upstream,
        Field(tmp_path, upstream, roles, **routes(upstream, "small", "large")) as there,
    ):
        run_id = there.submit(there.program.rows(rows), "--route", "large")
        wait_until(lambda: there.fields(run_id).get("prepared") == "1", 40)
        there.workers.signal(0, signal.SIGSTOP)  # nobody asks what is promoted
        wait_until(lambda: there.redis.client.hlen(f"spillway:promoted:{run_id}") > 0, 60)
        there.workers.signal(0, signal.SIGKILL)
        upstream.control("gpu", faults=[])
        reconfigure(there, routes(upstream, "small"))
        wait_until(lambda: waits_for(there, run_id, "large"), 40)
        assert "Traceback" not in there.workers.log() and "KeyError" not in there.workers.log()
        reconfigure(there, routes(upstream, "small", "large"))
        assert there.wait_for_end(run_id) == "completed"
        status = there.program.results(run_id)["status"].to_list()
        assert status[20:].count("ok") == 11 and "failed" not in status[20:], status


def test_a_worker_that_does_not_know_a_route_fails_none_of_its_rows(tmp_path: Path) -> None:
    """A deployment that is half done: who schedules knows more than who calls."""
    with (
        Upstream({"servers": SERVERS}) as upstream,
        Field(tmp_path, upstream, ROLES, **routes(upstream, "small")) as there,
    ):
        upstream.control("gpu", faults=[])
        wait_until(lambda: len(there.owners()) == 2)
        there.workers.signal(0, signal.SIGTERM)
        there.workers.processes[0].wait(40)
        Program(tmp_path, None, **routes(upstream, "small", "large"))
        there.workers.mend()
        run_id = there.submit(there.program.rows(prompts(ROWS)), "--route", "large")
        wait_until(lambda: "given back" in there.workers.log(), 40)
        assert not there.requests()
        there.workers.signal(1, signal.SIGTERM)
        there.workers.processes[1].wait(40)
        assert there.wait_for_end(run_id) == "completed"
        wrong = judge(there.program, run_id, ROWS, upstream.calls(), in_flight=SLOTS, redis=there.redis.client)
    assert not wrong, wrong


def test_calls_of_a_target_that_is_gone_stay_its_own_in_the_ledger(tmp_path: Path) -> None:
    servers = {"gpu": {**SERVERS["gpu"], "latency_ms": 300, "faults": []}, "cloud": CLOUD}
    with Upstream({"servers": servers}) as upstream:
        config = upstream.settings()
        old = {**config, "targets": {"gpu": config["targets"]["gpu"]}, "routes": {"all": {"targets": ["gpu"]}}}
        new = {**config, "targets": {"cloud": config["targets"]["cloud"]}, "routes": {"all": {"targets": ["cloud"]}}}
        with Field(tmp_path, upstream, ROLES, **old) as there:
            run_id = there.submit(there.program.rows(prompts(ROWS)))
            wait_until(lambda: there.requests() > 2 * SLOTS, 40)
            there.kill_workers(mend=False)  # calls are out, and will be `lost`
            Program(tmp_path, None, **new)
            there.workers.mend()
            assert there.wait_for_end(run_id) == "completed"
            costs = there.program.costs()
            kinds = costs.group_by("target").agg(pl.struct("lane", "provider").unique()).rows()
            assert dict(kinds) == {
                "gpu": [{"lane": "local", "provider": "lmstudio"}], "cloud": [{"lane": "cloud", "provider": "openai"}],
            }  # fmt: skip
            assert "cloud" in there.ask("status")
            wrong = judge(there.program, run_id, ROWS, upstream.calls(), in_flight=2 * SLOTS, redis=there.redis.client)
    assert not wrong, wrong
