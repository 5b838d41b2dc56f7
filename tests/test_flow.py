"""The whole way of a prompt on real processes: the program, Redis, workers and HTTP servers with their own bill."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from pipelines import schemas
from tests.support_program import CLOUD, GPU, Program
from tests.support_redis import redis_server
from tests.support_team import team
from tests.support_upstream import Upstream


def prompts(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "prompt": f"Name the colour of object number {i}.", **more} for i in range(count)]


def agrees_with(program: Program, upstream: Upstream) -> None:
    """Our ledger against the servers' own bill, to the pico-dollar: answers that reached us are equal, call by call in
    sum; whatever else was billed is covered by `lost` rows at their upper bound."""
    costs, calls = program.costs(), upstream.calls()
    ok = costs.filter(pl.col("outcome") == "ok")
    delivered = [call for call in calls if call["delivered"]]
    assert ok.height == len(delivered)
    assert pusd(ok) == sum(call["cost_pusd"] for call in delivered)
    assert pusd(costs) >= sum(call["cost_pusd"] for call in calls)


def pusd(costs: pl.DataFrame) -> int:
    return int(costs["cost_usd"].sum() * Decimal(10**12)) if costs.height else 0


def test_local_answers_duplicates_are_not_asked_and_the_ledger_is_the_bill(tmp_path: Path) -> None:
    rows = [*prompts(60), *prompts(20, metadata={"again": True}), {"id": "bad"}, {"id": "r1", "prompt": "reused id"}]
    for number, row in enumerate(rows[60:80]):
        row["id"] = f"again-{number}"
    with Upstream({"servers": {"gpu": GPU, "cloud": CLOUD}}) as upstream:
        program = Program(tmp_path, upstream)
        out = program.json("run", str(program.rows(rows)), "--dedupe", "exact", "--out", str(tmp_path / "out"), code=3)
        assert upstream.bill("cloud")["calls"] == 0, "no deadline: all local"
        agrees_with(program, upstream)
    assert (out["rows"], out["ok"], out["duplicate"], out["invalid"]) == (82, 60, 20, 2)
    results = program.results(out["run_id"])
    assert results["row"].to_list() == list(range(82))
    assert results["custom_id"].to_list()[60] == "again-0" and results["duplicate_of"][60] == 0
    assert results["output"][60] == results["output"][0]
    assert results["error_code"].to_list()[80:] == ["no_prompt", "duplicate_custom_id"]
    assert results.schema == pl.DataFrame(schemas.RESULTS.empty_table()).schema
    assert (tmp_path / "out/results.parquet").exists() and (tmp_path / "out/costs.parquet").exists()
    assert program.run("doctor", "--run", out["run_id"]).returncode == 0
    assert program.json("run", str(tmp_path / "rows.jsonl"), "--dedupe", "exact", code=3)["run_id"] == out["run_id"], (
        "finished: nothing is asked again"
    )


def test_a_lane_that_is_down_spills(tmp_path: Path) -> None:
    with Upstream({"servers": {"gpu": GPU, "cloud": CLOUD}}) as upstream:
        upstream.control("gpu", down=True)
        program = Program(tmp_path, upstream)
        out = program.json("run", str(program.rows(prompts(80))), "--dedupe", "exact")
        agrees_with(program, upstream)
    assert (out["ok"], out["cloud_calls"]) == (80, 80)
    assert Decimal(out["cost_usd"]) > 0


def test_a_deadline_spills_the_surplus_and_only_that(tmp_path: Path) -> None:
    slow = {**GPU, "slots": 4, "latency_ms": 400}
    rows = prompts(260, max_tokens=16)  # so that the guess before the first answer is fair
    with Upstream({"servers": {"gpu": slow, "cloud": CLOUD}}) as upstream:
        program = Program(tmp_path, upstream)
        out = program.json("run", str(program.rows(rows)), "--dedupe", "exact", "--deadline", "16s")
        agrees_with(program, upstream)
    assert out["ok"] == 260, "in time"
    assert 0 < out["local_calls"] < 200 and out["cloud_calls"] == 260 - out["local_calls"]
    local = program.costs().filter(pl.col("lane") == "local")
    worked = pl.col("finished_at").max() - pl.col("started_at").min()
    worked_s = local.select(worked.dt.total_milliseconds() / 1000).item()
    assert local.height > worked_s * 4 / 0.4 / 2, "and of its time, however late it began, no half was idle"


def test_labels_are_checked_and_bad_answers_move_on(tmp_path: Path) -> None:
    gpu = {**GPU, "answer": "text:I think it is rather red."}
    cloud = {**CLOUD, "answer": "text:Red."}
    with Upstream({"servers": {"gpu": gpu, "cloud": cloud}}) as upstream:
        program = Program(tmp_path, upstream)
        out = program.json("run", str(program.rows(prompts(12))), "--labels", "red,blue", "--dedupe", "exact")
        agrees_with(program, upstream)
    assert (out["ok"], out["local_calls"], out["cloud_calls"]) == (12, 24, 12), "tried twice at home, then in the cloud"
    assert set(program.results()["parsed"]) == {'"red"'}
    assert set(program.results()["lane"]) == {"cloud"}


def test_no_target_can_satisfy_the_check(tmp_path: Path) -> None:
    gpu = {**GPU, "answer": "text:purple"}
    with Upstream({"servers": {"gpu": gpu}}) as upstream:
        program = Program(tmp_path, upstream)
        out = program.json("run", str(program.rows(prompts(5))), "--labels", "red,blue", code=3)
    assert (out["failed"], out["ok"]) == (5, 0)
    assert set(program.results()["error_code"]) == {"check_failed"}


def test_a_budget_stops_the_cloud_and_more_money_resumes(tmp_path: Path) -> None:
    with Upstream({"servers": {"cloud": CLOUD}}) as upstream:
        program = Program(tmp_path, upstream)
        source = program.rows(prompts(60, max_tokens=20))
        first = program.json("run", str(source), "--dedupe", "exact", "--budget", "0.00012", code=4)
        assert 0 < first["ok"] < 60 and Decimal(first["cost_usd"]) <= Decimal("0.00012")
        second = program.json("run", str(source), "--dedupe", "exact", "--budget", "1")
        agrees_with(program, upstream)
        assert upstream.bill("cloud")["calls"] == 60, "what was answered is not bought again"
    assert (second["run_id"], second["ok"]) == (first["run_id"], 60)


TROUBLE = ("429", "500", "503", "lost", "reset", "empty", "html", "truncated")


def test_trouble_is_retried_and_the_ledger_is_never_below_the_bill(tmp_path: Path) -> None:
    """One kind of trouble a server, one run a server, all at once."""
    servers = {f"t-{fault}": {**CLOUD, "fault_rates": {fault: 0.15}} for fault in TROUBLE}
    with redis_server() as redis_url, Upstream({"seed": 5, "servers": servers}) as upstream:
        config = upstream.settings()
        config["routes"] = {f"to-{name}": {"targets": [name]} for name in servers}
        program = Program(tmp_path, None, **config, spillway={"redis_url": redis_url})
        source = str(program.rows(prompts(60, max_tokens=30)))
        with team(program, redis_url, lanes=1):
            asked = ["run", source, "--dedupe", "off", "--json", "--route"]
            running = {name: program.start(*asked, f"to-{name}") for name in servers}
            outs = {name: json.loads(process.communicate(timeout=90)[0]) for name, process in running.items()}
        billed = {name: sum(call["cost_pusd"] for call in upstream.calls(name)) for name in servers}
    costs = program.costs()
    assert costs["call_id"].is_unique().all()
    for name, out in outs.items():
        assert out["ok"] + out["failed"] == 60 and out["ok"] >= 57, name
        mine = costs.filter(pl.col("run_id") == out["run_id"])
        assert billed[name] > 0 and mine.height > 60, f"{name}: there was trouble"
        assert pusd(mine) >= billed[name], name
        assert program.run("doctor", "--run", out["run_id"]).returncode == 0, name
