"""A worker that dies at any step of a provider's batch: the next one undoes it, finds it again or reads on; nothing is bought
twice, and the ledger is the bill."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.crash.dying import ORDERS
from tests.crash.stage import Field
from tests.support_program import CLOUD, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import pusd

ROWS = 40  # three batches
QUICK = {"batch_latency_s": 0.6, "batch_validate_s": 0.1, "batch_cancel_s": 0.1}
HALVES = [ORDERS[:5], ORDERS[5:]]


def prompts(stage: int) -> list[dict[str, Any]]:
    return [
        {"id": f"r{row}", "prompt": f"Name colour {row} of picture {stage}.", "max_tokens": 40} for row in range(ROWS)
    ]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("points", HALVES, ids=["made", "read"])
def test_an_order_survives_a_kill_at_every_step(tmp_path: Path, points: tuple[str, ...]) -> None:
    with Upstream({"servers": {"cloud": {**CLOUD, **QUICK}}}) as upstream:
        settings = upstream.settings()
        settings["targets"]["cloud"]["provider_batch"] = True
        roles = ["prepare,schedule,settle", "local,cloud"]
        with Field(tmp_path, None, roles, dies=True, **settings) as there:
            there.upstream = upstream
            armed, died = tmp_path / "armed", tmp_path / "died"
            for stage, point in enumerate(points):
                armed.write_text(point)
                run_id = there.submit(there.program.rows(prompts(stage), f"rows{stage}.jsonl"))
                assert there.wait_for_end(run_id) == "completed", point
                assert died.exists(), f"nobody came by {point}"
                died.unlink()
                results = there.program.results(run_id)
                assert results["status"].to_list() == ["ok"] * ROWS and set(results["lane"]) == {"provider_batch"}, (
                    point
                )
                assert there.program.run("doctor", "--run", run_id).returncode == 0, point
            redis = there.redis.client
            kept = [redis.hgetall(f"spillway:order:{tag}") for tag in redis.smembers("spillway:orders")]  # type: ignore[union-attr]
            given = redis.exists("spillway:given")
            reserved = [redis.hget(name, "reserved") for name in redis.keys("spillway:budget:*")]  # type: ignore[union-attr]
        calls, costs = upstream.calls(), there.program.costs()
    asked = Counter(call["prompt_hash"] for call in calls)
    assert len(asked) == ROWS * len(points) and set(asked.values()) == {1}, "nothing is bought twice"
    assert pusd(costs) == sum(call["cost_pusd"] for call in calls), "the ledger is the bill"
    assert costs.filter(pl.col("outcome") == "ok").height == len(calls)
    assert all(int(order["missing_ms"]) for order in kept), "nothing is left but what may appear yet"
    assert not given and {int(each or 0) for each in reserved} == {0}


@pytest.mark.timeout(120)
def test_a_redis_that_forgets_its_last_seconds_buys_no_batch_twice(tmp_path: Path) -> None:
    """It syncs once a second: what it forgets is that the provider has named the batch, never that one was asked for."""
    with Upstream({"servers": {"cloud": {**CLOUD, **QUICK, "batch_latency_s": 4.0}}}) as upstream:
        settings = upstream.settings()
        settings["targets"]["cloud"]["provider_batch"] = True
        with Field(tmp_path, None, ["prepare,schedule,settle", "local,cloud"], fsync="everysec", **settings) as there:
            there.upstream = upstream
            redis = there.redis.client

            def stands(state: str) -> bool:
                return any(redis.hget(name, "state") == state for name in redis.keys("spillway:order:*"))  # type: ignore[union-attr]

            run_id = there.submit(there.program.rows(prompts(0)))
            wait_until(lambda: stands("sending"), 60)
            there.redis.forgetting(lambda: wait_until(lambda: stands("sent"), 60))
            assert there.wait_for_end(run_id) == "completed"
            assert there.program.run("doctor", "--run", run_id).returncode == 0
        calls, costs = upstream.calls(), there.program.costs()
    assert (
        len(calls) == ROWS
        and {call["outcome"] for call in calls} == {"batch"}
        and len({c["batch"] for c in calls}) == 1
    )
    assert pusd(costs) == sum(call["cost_pusd"] for call in calls)
