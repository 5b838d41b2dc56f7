"""A stranger's file through real processes, for two clients, with every worker killed on the way: answers stay with their meaning."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pipelines import invariants
from tests.crash.stage import Field, submit
from tests.support_program import GPU, wait_until
from tests.support_strangers import strange_rows
from tests.support_upstream import Upstream

ROWS = 240


def test_answers_stay_with_their_meaning_for_two_clients_and_through_a_kill(tmp_path: Path) -> None:
    rows = strange_rows(ROWS, 7)
    slow = {**GPU, "latency_ms": 150, "slots": 8}
    roles = ["prepare,schedule,settle", "local,cloud"]
    with Upstream({"servers": {"gpu": slow}}) as upstream, Field(tmp_path, upstream, roles) as there:
        source = there.program.rows([{"id": f"r{n}", "prompt": row.text} for n, row in enumerate(rows)])
        runs = [submit(there.program, there.redis.url, str(source), "--client", client) for client in ("one", "two")]
        wait_until(lambda: there.requests() > 30, 90)
        there.kill_workers()
        assert [there.wait_for_end(run, 120) for run in runs] == ["completed", "completed"]
        found = [there.program.results(run) for run in runs]
        costs = there.program.costs().filter(pl.col("purpose") != "audit")
    for run, results in zip(runs, found, strict=True):
        results = results.sort("row")
        assert not invariants.check(results.lazy(), costs.filter(pl.col("run_id") == run).lazy(), ROWS)
        copied = results.filter(pl.col("status") == "duplicate")
        assert copied.height > ROWS // 10
        assert set(copied["duplicate_run"]) <= {None, run}, "nothing crosses clients"
        outputs = results["output"].to_list()
        for row, leader in zip(copied["row"].to_list(), copied["duplicate_of"].to_list(), strict=True):
            assert rows[row].meaning == rows[leader].meaning, (rows[row].text[-200:], rows[leader].text[-200:])
            assert outputs[row] == outputs[leader]
