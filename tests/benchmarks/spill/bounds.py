"""What perfect foresight would pay: the fractional knapsack, and its dual, the value of a local second."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tests.benchmarks.spill.jobs import Job, Scenario

SPREAD_90 = NormalDist().inv_cdf(0.9)


@dataclass(frozen=True)
class Bound:
    """US dollars, and dollars per second at the cut (0 where the local lane has time for everything)."""

    usd: float
    usd_per_s: float


def bound(job: Job) -> Bound:
    """Every row goes to the local server, to real time or to the batch API, and the lengths are known.

    With a batch API, one order may be placed for each row when the job begins: it comes back before the deadline with the
    probability that its latency gives, and is bought in real time otherwise.
    """
    scenario = job.scenario
    price = 1.0
    if scenario.batch_p90_s:
        back = in_time(scenario, job.deadline_s)
        price = back * scenario.batch_price + (1 - back)
    ratio = job.usd / job.work
    order = np.argsort(-ratio)
    work = np.cumsum(job.work[order])
    room = scenario.speed * job.deadline_s * (1 - scenario.crash)
    whole = int(np.searchsorted(work, room, side="right"))
    usd = float(job.usd[order[whole:]].sum())
    if whole == len(order):
        return Bound(0.0, 0.0)
    at_cut = order[whole]
    used = room - (work[whole - 1] if whole else 0.0)
    usd -= float(job.usd[at_cut] * used / job.work[at_cut])
    return Bound(price * usd, float(price * ratio[at_cut] * scenario.speed))


def in_time(scenario: Scenario, left_s: float) -> float:
    """Share of batches that come back within so many seconds: lognormal."""
    if not scenario.batch_luck:
        return float(left_s >= scenario.batch_median_s)
    sigma = np.log(scenario.batch_tail) / SPREAD_90
    return NormalDist().cdf(float(np.log(max(left_s, 1e-9) / scenario.batch_median_s) / sigma))
