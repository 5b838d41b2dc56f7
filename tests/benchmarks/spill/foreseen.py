"""How often what a run costs and when it ends is within the P90 that was foreseen: plan() in the simulated world against
pipelines/planning/foresee.py, as `spillway plan` asks it.

Each class of prompts is a route that an earlier run has measured in so many answers (drawn afresh, of the same kind): their
mean length, its spread, and the time of a call. The server is `RATE_SPREAD` faster or slower than it was then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pipelines.batch import PREFILL_WEIGHT
from pipelines.plan import plan
from pipelines.planning.foresee import RATE_SPREAD, Basis, Foreseen, Office, Part, Work, foresee
from tests.benchmarks.spill.jobs import INPUT_USD, OUTPUT_USD, Job, Scenario, job
from tests.benchmarks.spill.world import LOT_ROWS, Outcome, World

EARLIER_ROWS, BATCH = 400, 32


@dataclass(frozen=True)
class Trial:
    """What was foreseen of a run, in dollars and seconds, and what came."""

    foreseen: Foreseen
    outcome: Outcome
    deadline_s: float

    @property
    def pays(self) -> bool:
        """Whether there is a cost to foresee: without, P90 covers it trivially."""
        return self.foreseen.pusd.p90 > 0 or self.outcome.usd > 0

    @property
    def ends_early(self) -> bool:
        """Whether there is an end to foresee: a run that spills ends at its deadline."""
        return self.foreseen.seconds.p90 < 0.98 * self.deadline_s

    @property
    def cost_covered(self) -> bool:
        return self.outcome.usd <= self.foreseen.pusd.p90

    @property
    def end_covered(self) -> bool:
        return self.outcome.end_s <= self.foreseen.seconds.p90


def trial(scenario: Scenario, earlier_rows: int = EARLIER_ROWS, rate_spread: float = RATE_SPREAD) -> Trial:
    """One run that an earlier one has measured, in a world whose server's speed has changed since."""
    made, earlier = job(scenario), job(replace(scenario, rows=earlier_rows, seed=scenario.seed + 5000))
    seen = foreseen(made, earlier)
    factor = math.exp(rate_spread * float(np.random.default_rng(scenario.seed + 9000).standard_normal()))
    now = replace(made, scenario=replace(scenario, throughput=scenario.throughput * factor))
    return Trial(seen, World(now, plan).run(), made.deadline_s)


def foreseen(made: Job, earlier: Job) -> Foreseen:
    """What `spillway plan` would say: inputs are known, outputs and times as the earlier run has measured them."""
    scenario, parts, bases = made.scenario, list[Part](), dict[str, Basis]()
    for kind in np.unique(made.group):
        rows, told = np.flatnonzero(made.group == kind), np.flatnonzero(earlier.group == kind)
        outputs, call_s = earlier.outputs[told], earlier.work[told] * scenario.slots / scenario.speed
        bases[str(kind)] = Basis(
            len(rows), len(told), float(outputs.std(ddof=1) / outputs.mean()), float(call_s.std(ddof=1) / call_s.mean())
        )
        rows = rows[np.argsort(made.inputs[rows])]
        work = PREFILL_WEIGHT * made.inputs[rows].mean() + outputs.mean()
        for cut in np.array_split(rows, max(1, len(rows) // BATCH)):
            each = PREFILL_WEIGHT * made.inputs[cut].mean() + outputs.mean()
            input_usd, output_usd = INPUT_USD * made.inputs[cut].sum(), OUTPUT_USD * outputs.mean() * len(cut)
            parts.append(
                Part(
                    str(kind),
                    len(cut) * float(call_s.mean() * each / work) / scenario.slots,
                    len(cut) / scenario.cloud_rows_per_s,
                    away_pusd=(float(input_usd), float(output_usd)),
                )
            )
    office = _office(scenario, Work(parts), made)
    return foresee(Work([part._replace(office=office) for part in parts]), bases, made.deadline_s)


def _office(scenario: Scenario, work: Work, made: Job) -> Office | None:
    """In as many orders as the world makes of what is not local."""
    if not scenario.batch_p90_s:
        return None
    away = 1 - work.kept(made.deadline_s).mean()
    orders = max(1, math.ceil(away * scenario.rows / LOT_ROWS))
    return Office(scenario.batch_price, scenario.batch_median_s, scenario.batch_p90_s, orders)
