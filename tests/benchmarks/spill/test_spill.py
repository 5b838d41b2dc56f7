"""The simulation at a tenth of its size: plan() near the bound and ahead of its rivals, and the world's own books right.

The goals themselves are those of `make sim`: fixed parts, as the last calls of a window, weigh more in so short ones.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.plan import plan
from tests.benchmarks.spill import rivals
from tests.benchmarks.spill.__main__ import measure
from tests.benchmarks.spill.bounds import bound, in_time
from tests.benchmarks.spill.foreseen import foreseen
from tests.benchmarks.spill.jobs import Scenario, job
from tests.benchmarks.spill.world import World

SMALL = 3000


CONDITIONS = {
    "as usual": Scenario(), "dear prefill": Scenario(alpha=0.2), "lengths guessed at twice": Scenario(bias=2.0),
    "local down": Scenario(crash=0.1), "429": Scenario(refusals=0.1), "long prompts": Scenario(mix="long prompts"),
    "room": Scenario(load=0.9),
}  # fmt: skip


@pytest.mark.parametrize("scenario", CONDITIONS.values(), ids=list(CONDITIONS))
def test_real_time_is_near_the_bound(scenario: Scenario) -> None:
    found = measure("", replace(scenario, rows=SMALL))
    assert found["share"] <= 1.04 * found["bound"] + 0.012 and found["missed"] <= 0.002
    assert found["idle"] < 0.01


def test_provider_batches_save_and_are_in_time() -> None:
    at_once = measure("", Scenario(rows=2 * SMALL, load=2.0))
    by_batch = measure("", Scenario(rows=2 * SMALL, load=2.0, batch_p90_s=600.0))
    assert by_batch["share"] < 0.75 * at_once["share"] and by_batch["missed"] <= 0.005
    assert by_batch["share"] <= 1.25 * by_batch["bound"] and by_batch["rows"]["provider_batch"] > SMALL / 5


def test_no_rival_is_cheaper_and_in_time() -> None:
    scenario = Scenario(rows=SMALL)
    ours = measure("", scenario)
    for policy in (
        rivals.cloud_only, rivals.local_only, rivals.queue_threshold, rivals.switch_at_900_s, rivals.round_robin(),
    ):  # fmt: skip
        theirs = measure("", scenario, policy, ordered=False)
        assert theirs["share"] > ours["share"] or theirs["missed"] > 0.05


def test_what_was_foreseen_of_a_job_that_is_known_comes() -> None:
    """All lengths measured on the job itself and the same speed: what is left is the policy's own loss in so short a window."""
    for load in (0.9, 1.3, 2.5):
        made = job(Scenario(rows=SMALL, load=load, mix="long prompts", alpha=0.1))
        seen, came = foreseen(made, made), World(made, plan).run()
        assert came.usd == pytest.approx(seen.pusd.p50, rel=0.08) and came.usd <= seen.pusd.p90
        assert came.end_s == pytest.approx(seen.seconds.p50, rel=0.05)


def test_the_bound_is_what_it_says() -> None:
    roomy, tight = job(Scenario(rows=SMALL, load=0.9)), job(Scenario(rows=SMALL, load=2.0))
    assert bound(roomy).usd == 0.0 and bound(roomy).usd_per_s == 0.0
    assert 0 < bound(tight).usd < tight.all_cloud_usd
    assert sum(tight.work) / tight.scenario.speed == pytest.approx(2.0 * tight.deadline_s)
    cheaper = job(Scenario(rows=SMALL, load=2.0, batch_p90_s=600.0))
    assert 0.5 * bound(tight).usd < bound(cheaper).usd < 0.55 * bound(tight).usd
    assert in_time(Scenario(batch_p90_s=600.0), 600.0) == pytest.approx(0.9)
