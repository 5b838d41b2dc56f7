"""Budgets on real processes: the wall, alerts, the emergency cut-off, and what `budget show|set` and `status` say."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from redis import Redis

from pipelines import schemas
from tests.support_program import CLOUD, GPU, Program, wait_until
from tests.support_redis import redis_server
from tests.support_team import team
from tests.support_upstream import Upstream

LONG = {**CLOUD, "answer": "text:" + "and then " * 400, "latency_ms": 150}
"""Every answer is as long as it may be."""


@pytest.fixture
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


def prompts(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "prompt": f"Tell the long story of object number {i}.", **more} for i in range(count)]


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def scope(program: Program, name: str) -> dict[str, Any]:
    rows = json.loads(program.run("budget", "show", "--json").stdout)
    return next(row for row in rows if row["scope"] == name)


def configured(upstream: Upstream, redis_url: str, **budget: Any) -> dict[str, Any]:
    config = upstream.settings()
    for target in config["targets"].values():
        target["max_concurrency"] = 192
    return {**config, "spillway": {"redis_url": redis_url}, "budget": budget}


def test_three_processes_with_64_calls_each_never_pass_the_limit(tmp_path: Path, redis_url: str) -> None:
    limit = Decimal("0.05")
    with Upstream({"servers": {"cloud": LONG}}) as upstream:
        program = Program(tmp_path, None, **configured(upstream, redis_url, daily_usd=limit))
        rows = [*prompts(750, max_tokens=100), *prompts(750, max_tokens=100, max_completion_tokens=1)]
        source = program.rows([{**row, "id": f"r{i}"} for i, row in enumerate(rows)])
        with team(program, redis_url, lanes=3):
            out = program.json("run", str(source), "--dedupe", "off", code=4, timeout_s=40)
            billed = Decimal(sum(call["cost_pusd"] for call in upstream.calls())) / 10**12
            day = scope(program, f"day:{today()}")
            wait_until(lambda: program.json("status", out["run_id"])["lacks"])  # workers reckon it once a second
            status = program.json("status", out["run_id"])
            assert upstream.status("cloud")["max_in_flight"] > 64, "several processes call at once"
    assert limit * Decimal("0.95") < billed <= limit, "the wall stands, and what it allows can be spent"
    assert Decimal(day["spent_usd"]) <= limit and Decimal(day["spent_usd"]) >= billed
    assert Decimal(day["reserved_usd"]) == 0 and Decimal(status["unknown_exposure_usd"]) == 0
    assert 0 < out["ok"] < 1_500 and out["unanswered"] == 1_500 - out["ok"]
    assert f"day:{today()}" in status["blocked"], "the scope that refuses is named"
    assert Decimal(status["lacks"]["usd"]) > 0 and status["lacks"]["seconds"] is None


def test_a_row_that_fits_into_no_budget_holds_up_no_other(tmp_path: Path) -> None:
    """More rows than are on the lane at once: those behind it are asked too, and it waits for a larger limit."""
    with Upstream({"servers": {"cloud": {**CLOUD, "latency_ms": 20}}}) as upstream:
        program = Program(tmp_path, upstream, budget={"daily_usd": 1})
        rows = prompts(1_000, max_tokens=20)
        rows[3]["max_tokens"] = 8_000_000
        source = str(program.rows(rows))
        out = program.json("run", source, "--dedupe", "off", code=4, timeout_s=110)
        assert (out["ok"], out["unanswered"]) == (999, 1)


def exposure_while_nothing_moved(program: Program, redis_url: str) -> tuple[str, int, Decimal]:
    """A run's id, what is reserved for its calls in Redis (nano-dollars), and what `status` says of it meanwhile."""
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        while True:
            wait_until(lambda: list(redis.scan_iter("*:budget:run:*")), 60)
            [name] = redis.scan_iter("*:budget:run:*")
            before = int(redis.hget(name, "reserved") or 0)  # type: ignore[arg-type]
            [run] = json.loads(program.run("status", "--json").stdout)
            if before > 0 and before == int(redis.hget(name, "reserved") or 0):  # type: ignore[arg-type]
                return run["run_id"], before, Decimal(run["unknown_exposure_usd"])


def test_show_set_exposure_and_status_while_workers_run(tmp_path: Path, redis_url: str) -> None:
    with Upstream({"servers": {"cloud": {**LONG, "latency_ms": 4000}}}) as upstream:
        program = Program(tmp_path, None, **configured(upstream, redis_url, daily_usd="0.001", alert_at=0.5))
        source = program.rows(prompts(60, max_tokens=100))
        with team(program, redis_url, lanes=1):
            following = program.start("run", str(source), "--dedupe", "off", "--json")
            wait_until(lambda: upstream.status("cloud")["in_flight"] > 0)
            assert upstream.process is not None
            os.kill(upstream.process.pid, signal.SIGSTOP)  # no call ends while we look, however long that takes
            run_id, reserved_nusd, exposed = exposure_while_nothing_moved(program, redis_url)
            assert exposed * 10**9 == reserved_nusd, "calls under way are seen"
            os.kill(upstream.process.pid, signal.SIGCONT)
            flying = scope(program, f"run:{run_id}")
            assert flying["limit_usd"] is None and flying["percent"] is None
            wait_until(lambda: f"day:{today()}" in json.loads(program.run("status", "--json").stdout)[0]["blocked"], 60)
            before = upstream.bill("cloud")["calls"]
            assert 0 < before < 60
            told = program.run("status").stdout
            assert f"alert: budget day:{today()}: $" in told and f"waiting: budget day:{today()}" in told
            program.run("budget", "set", f"day:{today()}", "1.00")
            out, _ = following.communicate(timeout=60)
            if following.returncode == 4:  # it had waited long enough by then; the same command resumes
                out = program.run("run", str(source), "--dedupe", "off", "--json").stdout
            assert json.loads(out)["ok"] == 60
            day = scope(program, f"day:{today()}")
    assert (Decimal(day["limit_usd"]), day["percent"]) == (1, round(float(Decimal(day["spent_usd"]) * 100), 1))
    assert upstream.process is None or upstream.process.returncode is not None


def test_the_cutoff_closes_the_cloud_and_local_goes_on(tmp_path: Path) -> None:
    servers = {"gpu": {**GPU, "answer": "text:red"}, "cloud": {**CLOUD, "answer": "text:red", "latency_ms": 600}}
    day = today()
    with Upstream({"servers": servers}) as upstream:
        config = upstream.settings()
        config["targets"]["cloud"]["max_concurrency"] = 16  # so that most rows are still waiting when it is reached
        config["routes"] = {"cheap": {"targets": ["gpu", "cloud"]}, "bought": {"targets": ["cloud"]}}
        program = Program(tmp_path, None, **config, budget={"emergency_cutoff_usd": "0.0002"})
        bought = program.rows(prompts(140, max_tokens=20), "bought.jsonl")
        first = program.run("run", str(bought), "--route", "bought", "--dedupe", "off", "--json", code=4)
        spent = json.loads(first.stdout)
        assert Decimal(spent["cost_usd"]) >= Decimal("0.0002") and 0 < spent["ok"] < 140
        assert "emergency_cutoff_usd" in first.stderr and f"budget set cutoff:{day}" in first.stderr
        calls = upstream.bill("cloud")["calls"]
        cheap = program.json(
            "run", str(program.rows(prompts(20), "cheap.jsonl")), "--route", "cheap", "--dedupe", "off"
        )
        assert (cheap["ok"], cheap["local_calls"]) == (20, 20), "local goes on"
        assert upstream.bill("cloud")["calls"] == calls, "closed in the next process too"
        program.config.write_text(program.config.read_text().replace("0.0002", "5"))
        mended = program.json("run", str(bought), "--route", "bought", "--dedupe", "off")
        assert (mended["ok"], mended["run_id"]) == (140, spent["run_id"])
    events = pl.read_parquet(program.data / "events/**/*.parquet", hive_partitioning=False)
    assert events.schema == pl.DataFrame(schemas.EVENTS.empty_table()).schema
    assert events["kind"].to_list() == ["emergency_cutoff"], "once a day, over three processes"


def test_an_unknown_price_refuses_the_target_with_the_line_to_add(tmp_path: Path) -> None:
    with Upstream({"servers": {"cloud": {**CLOUD, "model": "nobody-knows-me"}}}) as upstream:
        config = upstream.settings()
        for name in ("input_usd_per_mtok", "output_usd_per_mtok"):
            config["targets"]["cloud"].pop(name, None)
        config.pop("prices", None)
        program = Program(tmp_path, None, **config)
        source = str(program.rows(prompts(3)))
        refused = program.run("run", source, "--dedupe", "off", code=4)
        assert upstream.bill("cloud")["calls"] == 0
        line = '"nobody-knows-me" = { input_usd_per_mtok = …, output_usd_per_mtok = … }'
        assert line in refused.stderr and "Traceback" not in refused.stderr
        price = line.replace("…", "0.15", 1).replace("…", "0.6")
        program.config.write_text(program.config.read_text() + f"\n[prices]\n{price}\n")
        assert program.json("run", source, "--dedupe", "off")["ok"] == 3, "the line works as it is shown"
