"""The provider_batch lane on real processes against a stand-in batch API, whose bill is the judge."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from tests.support_program import CLOUD, Program
from tests.support_upstream import Upstream
from tests.test_flow import prompts, pusd

QUICK = {"batch_latency_s": 1.0, "batch_validate_s": 0.1, "batch_cancel_s": 0.1}
ROWS = 60


def program(folder: Path, upstream: Upstream, **settings: Any) -> Program:
    config = upstream.settings()
    config["targets"]["cloud"]["provider_batch"] = True
    return Program(folder, None, **{**config, **settings})


def test_by_batch_at_half_the_price_and_in_real_time_what_does_not_come_back(tmp_path: Path) -> None:
    """One run without a deadline, which teaches how long batches take; one with a deadline, whose batch never ends."""
    cloud = {**CLOUD, **QUICK, "batch_faults": [{"kind": "stuck", "at": 2}]}
    with Upstream({"servers": {"cloud": cloud}}) as upstream:
        it = program(tmp_path, upstream)
        first = it.json("run", str(it.rows(prompts(ROWS))), "--dedupe", "exact")
        costs, calls = it.costs(), upstream.calls()
        assert first["ok"] == ROWS and {call["outcome"] for call in calls} == {"batch"}
        assert set(costs["lane"]) == {"provider_batch"} and set(it.results()["lane"]) == {"provider_batch"}
        assert pusd(costs) == sum(call["cost_pusd"] for call in calls), "the ledger is the bill"
        assert costs["avoided_usd"].sum() == costs["cost_usd"].sum() == Decimal(first["cost_usd"]), "half the price"
        assert set(costs["avoided_cause"]) == {"provider_batch"}
        assert it.json("status", first["run_id"])["provider_batch_calls"] == ROWS

        rows = [{**row, "prompt": f"{row['prompt']} Once more."} for row in prompts(ROWS)]
        second = it.json("run", str(it.rows(rows, "more.jsonl")), "--dedupe", "exact", "--deadline", "40s")
        costs = it.costs()
        assert pusd(costs) == sum(call["cost_pusd"] for call in upstream.calls())
        doctor = [it.run("doctor", "--run", run["run_id"]).returncode for run in (first, second)]
        lanes = {
            row["lane"]: row for row in json.loads(it.run("report", "lanes", "--by", "lane", "--format", "json").stdout)
        }
    assert second["ok"] == ROWS, "recalled in time"
    assert set(it.results(second["run_id"])["lane"]) == {"cloud"}
    taken_back = costs.filter((pl.col("run_id") == second["run_id"]) & (pl.col("lane") == "provider_batch"))
    assert taken_back.height == ROWS and set(taken_back["outcome"]) == {"rejected"}
    assert doctor == [0, 0] and lanes["provider_batch"]["rows"] == lanes["cloud"]["rows"] == ROWS
