"""Jobs and conditions of the simulation: mixes of prompts, seeds fixed; what each row costs and takes. No policy here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

INPUT_USD, OUTPUT_USD = 0.25e-6, 2.0e-6
"""Per token, of the cloud target in real time."""
MIXES: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "three classes": ((0.5, 700, 40, 0.5), (0.3, 2500, 300, 0.5), (0.2, 250, 700, 0.5)),
    "long prompts": ((0.8, 4000, 150, 0.5), (0.2, 300, 500, 0.5)),
    "heavy tails": ((0.6, 200, 60, 0.8), (0.4, 500, 800, 0.9)),
}
"""Share, median input, median output, spread of the output's logarithm."""
INPUT_SPREAD = 0.4


@dataclass(frozen=True)
class Scenario:
    """One set of conditions; the deadline follows from the load. Times in seconds."""

    load: float = 1.3
    mix: str = "three classes"
    alpha: float = 0.05
    """What an input token weighs at the local server."""
    bias: float = 1.0
    """Guessed output lengths, as a multiple of the true mean."""
    crash: float = 0.0
    """The local server is down for this part of the time, from 40 % of it on."""
    refusals: float = 0.0
    """The cloud answers 429 for this part of the time, in three windows."""
    batch_p90_s: float = 0.0
    """0: no batch API."""
    batch_tail: float = 9.0
    """Its median is that part of it."""
    batch_luck: bool = True
    """Each order's latency is drawn; else all take the median."""
    cancel_bills: bool = False
    """What a batch API had answered of a cancelled batch is billed and kept; else nothing of it is."""
    by_kind: bool = False
    """The file is sorted: the class that saves least for its local time comes first."""
    rows: int = 20_000
    seed: int = 1
    slots: int = 16
    throughput: float = 2070.0
    half: float = 35.6
    """The local server answers throughput * n / (n + half) with n calls in flight, in units of work per second."""
    cloud_rows_per_s: float = 15.0
    cloud_slots: int = 64
    cloud_latency_s: float = 4.0
    batch_price: float = 0.5
    tick_s: float = 15.0
    """How often the scheduler looks, besides at bells."""
    relearn_s: float = 30.0
    cancel_s: float = 60.0
    """Until a recalled order is back."""

    @property
    def speed(self) -> float:
        return self.throughput * self.slots / (self.slots + self.half)

    @property
    def batch_median_s(self) -> float:
        return self.batch_p90_s / self.batch_tail


@dataclass(frozen=True)
class Job:
    """Rows with their true tokens, work (units of one output token) and price; `guess` is what is thought of the output."""

    scenario: Scenario
    group: NDArray[np.int64]
    inputs: NDArray[np.int64]
    outputs: NDArray[np.int64]
    guess: NDArray[np.int64]
    work: NDArray[np.float64] = field(repr=False)
    usd: NDArray[np.float64] = field(repr=False)
    deadline_s: float

    @property
    def all_cloud_usd(self) -> float:
        return float(self.usd.sum())


def job(scenario: Scenario) -> Job:
    random = np.random.default_rng(scenario.seed)
    classes = MIXES[scenario.mix]
    group = random.choice(len(classes), scenario.rows, p=[share for share, *_ in classes])
    if scenario.by_kind:
        saved = [
            (INPUT_USD * read + OUTPUT_USD * told) / (scenario.alpha * read + told) for _, read, told, _ in classes
        ]
        group = group[np.argsort(np.array(saved)[group], kind="stable")]
    inputs = np.zeros(scenario.rows)
    outputs = np.zeros(scenario.rows)
    guess = np.zeros(scenario.rows)
    for index, (_, median_in, median_out, spread) in enumerate(classes):
        mine = group == index
        inputs[mine] = median_in * np.exp(INPUT_SPREAD * random.standard_normal(mine.sum()))
        outputs[mine] = median_out * np.exp(spread * random.standard_normal(mine.sum()))
        guess[mine] = scenario.bias * median_out * np.exp(spread**2 / 2)
    whole_in, whole_out = np.maximum(1, inputs).astype(np.int64), np.maximum(1, outputs).astype(np.int64)
    work = scenario.alpha * whole_in + whole_out
    usd = INPUT_USD * whole_in + OUTPUT_USD * whole_out
    deadline_s = float(work.sum() / (scenario.speed * scenario.load))
    return Job(scenario, group, whole_in, whole_out, guess.astype(np.int64), work, usd, deadline_s)
