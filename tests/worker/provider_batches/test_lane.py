"""The provider_batch lane on real processes against stand-in batch APIs, whose bill is the judge."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support_program import CLOUD, Program
from tests.support_upstream import Upstream
from tests.test_flow import agrees_with, prompts

QUICK = {"batch_latency_s": 1.0, "batch_validate_s": 0.1, "batch_cancel_s": 0.1}


def program(folder: Path, upstream: Upstream, **settings: Any) -> Program:
    config = upstream.settings()
    for target in config["targets"].values():
        if target["lane"] == "cloud":
            target["provider_batch"] = True
    return Program(folder, None, **{**config, **settings})


def lanes(it: Program) -> dict[str, int]:
    return dict(it.costs().group_by("lane").len().rows())


def test_a_run_without_a_local_lane_goes_by_batch_at_half_the_price(tmp_path: Path) -> None:
    with Upstream({"servers": {"cloud": {**CLOUD, **QUICK}}}) as upstream:
        it = program(tmp_path, upstream)
        out = it.json("run", str(it.rows(prompts(120))), "--dedupe", "exact")
        calls = upstream.calls()
        agrees_with(it, upstream)
    assert out["ok"] == 120 and {call["outcome"] for call in calls} == {"batch"}
    costs = it.costs()
    assert set(costs["lane"]) == {"provider_batch"} and set(it.results()["lane"]) == {"provider_batch"}
    assert costs["price_id"].str.ends_with(":batch").all()
    assert costs["avoided_usd"].sum() == costs["cost_usd"].sum() == Decimal(out["cost_usd"]), "half the price"
    assert set(costs["avoided_cause"]) == {"provider_batch"}
    assert it.run("doctor", "--run", out["run_id"]).returncode == 0
