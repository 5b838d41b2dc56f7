"""An outage of the only target, of any kind, uses up no prompt: probes and trial calls knock, the rows wait.

Seconds stand for minutes here: what a prompt may go through is counted in calls, not in time.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import polars as pl

from tests.crash.judge import pusd
from tests.crash.stage import Field
from tests.support_program import CLOUD, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts

ROWS = 120
OUTAGE_S = 10.0
PAID_ATTEMPTS = 4
OUTAGES = {
    "refuses": {"down": True},
    "says_503": {"fault_rates": {"503": 1.0}},
    "says_500": {"fault_rates": {"500": 1.0}},
    "is_busy": {"fault_rates": {"529": 1.0}},
    "resets": {"fault_rates": {"reset": 1.0}},
    "hangs": {"fault_rates": {"hang": 1.0}},
}
OVER = {"down": False, "fault_rates": {}}
MAY_BE_PAID = {"resets", "hangs"}


def settings(upstream: Upstream) -> dict[str, Any]:
    targets = upstream.settings()["targets"]
    for target in targets.values():
        target |= {"timeout_s": 1.5, "max_concurrency": 8, "max_paid_attempts": PAID_ATTEMPTS}
    return {"targets": targets, "routes": {f"to-{name}": {"targets": [name]} for name in OUTAGES}}


def test_an_outage_of_the_only_target_ends_no_row(tmp_path: Path) -> None:
    servers = {name: {**CLOUD, "latency_ms": 200} for name in OUTAGES}
    with Upstream({"servers": servers}) as upstream, Field(tmp_path, upstream, [""], **settings(upstream)) as there:
        runs = {}
        for name in OUTAGES:
            source = there.program.rows(prompts(ROWS), f"{name}.jsonl")
            runs[name] = there.submit(source, "--route", f"to-{name}")
        wait_until(lambda: all(upstream.bill(name)["calls"] > 10 for name in OUTAGES), 60)
        for name, how in OUTAGES.items():
            upstream.control(name, **how)
        time.sleep(OUTAGE_S)
        knocks = {name: upstream.status(name)["requests"] for name in OUTAGES}
        for name in OUTAGES:
            upstream.control(name, **OVER)
        for run_id in runs.values():
            assert there.wait_for_end(run_id, 60) == "completed"
        costs = there.program.costs()
        for name, run_id in runs.items():
            mine = costs.filter(pl.col("run_id") == run_id)
            lost = mine.filter(pl.col("outcome") == "lost").group_by("row").len()
            failed = there.program.results(run_id).filter(pl.col("status") != "ok")["row"].to_list()
            used_up = lost.filter(pl.col("len") >= PAID_ATTEMPTS)["row"].to_list() if name in MAY_BE_PAID else []
            assert set(failed) <= set(used_up), f"{name}: rows {failed} ended by an outage"
            wasted = mine.filter(pl.col("outcome").is_in(["error", "rejected"])).height
            assert wasted < 8 * 12 + 60, f"{name}: {wasted} calls knocked, {knocks[name]} requests in all"
        assert pusd(costs) >= sum(call["cost_pusd"] for call in upstream.calls())
