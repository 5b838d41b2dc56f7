"""The provider_batch lane on real processes against stand-in batch APIs, whose bill is the judge."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support_program import CLOUD, Program
from tests.support_upstream import Upstream
from tests.test_flow import agrees_with, prompts, pusd

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
    assert costs["avoided_usd"].sum() == costs["cost_usd"].sum() == Decimal(out["cost_usd"]), "half the price"
    assert set(costs["avoided_cause"]) == {"provider_batch"}
    assert it.run("doctor", "--run", out["run_id"]).returncode == 0


@pytest.mark.parametrize(
    ("fault", "outcomes"),
    [
        ({"kind": "expire", "at": 1, "share": 0.4}, {"ok": 60, "rejected": 36}),
        ({"kind": "some_errors", "at": 1, "share": 0.3}, {"ok": 60}),
        ({"kind": "errors", "at": 1}, {"ok": 60, "error": 60}),
        ({"kind": "fail", "at": 1}, {"ok": 60, "rejected": 60}),
        ({"kind": "token_limit", "at": 1}, {"ok": 60, "rejected": 60}),
        ({"kind": "lost_create", "at": 1}, {"ok": 60}),
        ({"kind": "bad_line", "at": 1}, {"ok": 60, "lost": 1}),
        ({"kind": "429", "at": 1}, {"ok": 60, "rejected": 60}),
        ({"kind": "500", "at": 1}, {"ok": 60, "rejected": 60}),
    ],
    ids=lambda each: each.get("kind", ""),
)
def test_every_ending_is_booked_and_what_is_left_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], outcomes: dict[str, int]
) -> None:
    monkeypatch.setenv("SPILLWAY_TEST_LEASE_S", "1")
    window = {"batch_window_s": 2.0} if fault["kind"] == "expire" else {}
    cloud = {**CLOUD, **QUICK, **window, "batch_faults": [fault]}
    with Upstream({"servers": {"cloud": cloud}}) as upstream:
        it = program(tmp_path, upstream)
        out = it.json("run", str(it.rows(prompts(60))), "--dedupe", "exact", code=None)
        billed = sum(call["cost_pusd"] for call in upstream.calls())
    costs = it.costs()
    said = dict(costs.group_by("outcome").len().rows())
    assert {name: said.get(name) for name in outcomes} == outcomes
    assert out["ok"] == 60
    assert pusd(costs) >= billed and (said.get("lost") or pusd(costs) == billed), "the ledger is the bill"
    assert it.run("doctor", "--run", out["run_id"]).returncode == 0


def test_a_key_that_is_refused_closes_the_target_and_holds_no_money(tmp_path: Path) -> None:
    cloud = {**CLOUD, **QUICK, "batch_faults": [{"kind": "401", "at": 1}]}
    with Upstream({"servers": {"cloud": cloud}}) as upstream:
        it = program(tmp_path, upstream)
        source = str(it.rows(prompts(60)))
        stopped = it.run("run", source, "--dedupe", "exact", code=4)
        assert not upstream.calls() and "cloud" in stopped.stderr
        out = it.json("run", source, "--dedupe", "exact")
        agrees_with(it, upstream)
        budgets = json.loads(it.run("budget", "show", "--json").stdout)
    assert out["ok"] == 60 and all(Decimal(scope["reserved_usd"]) == 0 for scope in budgets)
