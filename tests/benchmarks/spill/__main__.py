"""`make sim`: the whole suite, seeds fixed: one line of JSON for each run, then the tables of docs/benchmarks.md.

Every run drives the product's own plan(); rivals run in the same world. A share is of what all rows would cost in real time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import islice
from statistics import mean, stdev
from typing import Any

from pipelines.plan import plan
from tests.benchmarks.spill import rivals
from tests.benchmarks.spill.bounds import bound
from tests.benchmarks.spill.foreseen import trial
from tests.benchmarks.spill.jobs import MIXES, Scenario, job
from tests.benchmarks.spill.world import Policy, World

HOUR = 3600.0
REAL_TIME, WITH_BATCHES, SLACK, MISSED = 1.02, 1.10, 0.003, 0.001
"""The goals: cost over the bound, plus a share of all-cloud; rows that may miss their deadline where it can be kept."""


def real_time() -> Iterator[tuple[str, Scenario]]:
    for load in (0.5, 0.9, 1.3, 2.5, 4.0):
        for alpha in (0.05, 0.2):
            yield f"load {load:g}, prefill {alpha:g}", Scenario(load=load, alpha=alpha)
    for mix in list(MIXES)[1:]:
        for load in (0.9, 1.3, 2.5):
            yield f"{mix}, load {load:g}", Scenario(load=load, mix=mix, alpha=0.1)


def trouble() -> Iterator[tuple[str, Scenario]]:
    for load in (0.9, 1.3, 2.5):
        for name, change in (
            ("lengths guessed at half", Scenario(bias=0.5)),
            ("lengths guessed at twice", Scenario(bias=2.0)),
            ("local down for 10 %", Scenario(crash=0.1)),
            ("429 for 10 %", Scenario(refusals=0.1)),
        ):
            yield f"{name}, load {load:g}", replace(change, load=load)
    for load in (1.3, 2.5):
        yield f"a file sorted by kind, load {load:g}", Scenario(load=load, by_kind=True)
    yield "prefill 0.2, a file sorted by kind", Scenario(alpha=0.2, by_kind=True)
    yield "prefill 0.2, twice as many rows", Scenario(alpha=0.2, rows=40_000)


def with_batches() -> Iterator[tuple[str, Scenario]]:
    for load in (0.9, 1.3, 2.5, 4.0):
        for p90 in (0.5, 6.0, 20.0):
            yield f"load {load:g}, p90 {p90:g} h", Scenario(load=load, batch_p90_s=p90 * HOUR)
    yield "load 1.3, p90 0.5 h, local down for 10 %", Scenario(crash=0.1, batch_p90_s=HOUR / 2)
    yield "load 1.3, p90 6 h, lengths guessed at twice", Scenario(bias=2.0, batch_p90_s=6 * HOUR)
    yield "load 1.3, p90 0.5 h, a file sorted by kind", Scenario(by_kind=True, batch_p90_s=HOUR / 2)


SUITES: dict[str, tuple[Callable[[], Iterator[tuple[str, Scenario]]], int]] = {
    "real time": (real_time, 1), "trouble": (trouble, 1), "with provider batches": (with_batches, 5),
}  # fmt: skip
"""And of how many seeds for each one asked: a few latencies decide what a job with batches costs."""


def measure(name: str, scenario: Scenario, policy: Policy = plan, *, ordered: bool = True) -> dict[str, Any]:
    """One run: its figures, and whether they keep the goals."""
    made, best = job(scenario), bound(job(scenario))
    outcome = World(made, policy, ordered=ordered).run()
    whole = made.all_cloud_usd
    found = {
        "name": name, "deadline_h": round(made.deadline_s / HOUR, 2), "share": round(outcome.usd / whole, 4),
        "bound": round(best.usd / whole, 4), "missed": round(outcome.late_rows / scenario.rows, 5),
        "idle": round(outcome.local_idle_s / made.deadline_s, 4), "rows": outcome.rows,
        "usd_per_local_hour": round(best.usd_per_s * HOUR, 4),
    }  # fmt: skip
    return {**found, "kept": _keeps(scenario, found)}


def _keeps(scenario: Scenario, found: Mapping[str, float]) -> bool:
    over = WITH_BATCHES if scenario.batch_p90_s else REAL_TIME
    return found["share"] <= over * found["bound"] + SLACK and found["missed"] <= MISSED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument(
        "--seeds", type=int, default=1, help="of each scenario; five times as many with provider batches"
    )
    parser.add_argument("--only", choices=sorted({*SUITES, "rivals", "foreseen"}), nargs="*")
    arguments = parser.parse_args()
    broken = 0
    with ProcessPoolExecutor() as pool:
        for title in [title for title in SUITES if title in (arguments.only or SUITES)]:
            broken += _suite(pool, title, arguments.rows, arguments.seeds)
        if "rivals" in (arguments.only or ["rivals"]):
            _rivals(pool, arguments.rows)
        if "foreseen" in (arguments.only or ["foreseen"]):
            _foreseen(pool, arguments.rows // 2)
    print(f"\n{broken} of the goals not kept")


def _suite(pool: Executor, title: str, rows: int, seeds: int) -> int:
    """One table; how many goals were not kept, by the mean of the seeds."""
    print(
        f"\n### {title}\n\n| | hours | share of all-cloud | bound | missed | local idle | goals |\n|---|---|---|---|---|---|---|"
    )
    make, times = SUITES[title]
    scenarios = [(name, scenario) for name, scenario in make()]
    numbers = range(1, seeds * times + 1)
    asked = [
        (name, replace(scenario, rows=rows * scenario.rows // Scenario.rows, seed=seed))
        for name, scenario in scenarios
        for seed in numbers
    ]
    told, broken = pool.map(measure, *zip(*asked, strict=True)), 0
    for name, scenario in scenarios:
        found = list(islice(told, len(numbers)))
        for each, seed in zip(found, numbers, strict=True):
            print(json.dumps({**each, "scenario": asdict(scenario) | {"seed": seed}}), file=sys.stderr)
        one = {key: mean(each[key] for each in found) for key in ("deadline_h", "share", "bound", "missed", "idle")}
        kept = _keeps(scenario, one)
        broken += not kept
        spread = f" ± {stdev(each['share'] for each in found) / len(found) ** 0.5:.4f}" if len(found) > 1 else ""
        print(
            f"| {name} | {one['deadline_h']:.1f} | {one['share']:.4f}{spread} | {one['bound']:.4f} | {one['missed']:.3%} "
            f"| {one['idle']:.2%} | {'kept' if kept else '**not kept**'} |",
            flush=True,
        )
    return broken


def _foreseen(pool: Executor, rows: int, seeds: int = 10) -> None:
    """How many outcomes were within the P90 that `spillway plan` would have said, where there was something to foresee."""
    for title, (make, _) in SUITES.items():
        cost, end = [0, 0], [0, 0]
        scenarios = [scenario for _, scenario in make()]
        numbered = [  # no two of the same earlier answers
            replace(scenario, rows=rows, seed=1 + number * seeds + seed)
            for number, scenario in enumerate(scenarios)
            for seed in range(seeds)
        ]
        for found in pool.map(trial, numbered):
            cost = [cost[0] + (found.pays and found.cost_covered), cost[1] + found.pays]
            end = [end[0] + (found.ends_early and found.end_covered), end[1] + found.ends_early]
        cells = [
            f"{name} {within} of {of}, {within / max(1, of):.0%}"
            for name, (within, of) in (("cost", cost), ("finish", end))
        ]
        print(f"\nwithin the P90 foreseen, {title}: {'; '.join(cells)}", flush=True)


RIVALS: dict[str, tuple[Callable[[], Policy], bool]] = {
    "plan()": (lambda: plan, True), "cloud only": (lambda: rivals.cloud_only, False),
    "local only": (lambda: rivals.local_only, False), "queue over 500 rows spills": (lambda: rivals.queue_threshold, False),
    "switch 900 s before": (lambda: rivals.switch_at_900_s, False), "round robin": (rivals.round_robin, False),
    "FIFO, last moment (plan without order)": (lambda: plan, False),
}  # fmt: skip
"""How each is begun, and whether it sees batches in their order."""
LOADS = (0.9, 1.3, 2.5)


def _rivals(pool: Executor, rows: int) -> None:
    print("\n### rivals\n\n| | share, missed at load 0.9 | 1.3 | 2.5 |\n|---|---|---|---|")
    told = pool.map(_rival, [(name, load, rows) for name in RIVALS for load in LOADS])
    for name in RIVALS:
        print(f"| {name} | {' | '.join(islice(told, len(LOADS)))} |", flush=True)


def _rival(asked: tuple[str, float, int]) -> str:
    name, load, rows = asked
    begin, ordered = RIVALS[name]
    found = measure(name, Scenario(load=load, rows=rows), begin(), ordered=ordered)
    return f"{found['share']:.3f}, {found['missed']:.1%}"


if __name__ == "__main__":
    main()
