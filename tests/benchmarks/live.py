"""The simulation's scenarios at small scale through real processes: Redis, workers, servers with the same curve, beside what
the simulation says of the very same rows. Cost and finish should be within a tenth of it.

`python -m tests.benchmarks.live`: some minutes, most of them waiting; one line of JSON for each, then the table. The engine is
no bottleneck at five rows a second; a machine that is busy with other things can still delay it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pipelines.batch import DEFAULT_OUTPUT_TOKENS
from pipelines.plan import plan
from tests.benchmarks.busy_slots import busy_share
from tests.benchmarks.spill.bounds import bound
from tests.benchmarks.spill.jobs import INPUT_USD, MIXES, OUTPUT_USD, Job, Scenario, job
from tests.benchmarks.spill.world import CLOUD_SPREAD, World
from tests.support_program import Program
from tests.support_redis import redis_server
from tests.support_team import team
from tests.support_upstream import Upstream
from worker.simulator.core.answers import Ask, answer_text, count_tokens, input_tokens
from worker.simulator.core.config import ServerConfig

WITHIN, MISSED = 0.10, 0.001
FRAME = (
    "Task {kind}: read what follows, think of who wrote it and why, and answer as the guide for tasks of kind {kind} says. "
    * 3
)
"""A beginning that all prompts of a class share: longer than what prepare looks at."""
WORDS = "the parcel came late and nobody at the desk could say where it had been or who had signed for it "


@dataclass(frozen=True)
class Live:
    """A scenario, its window in seconds, and how its cloud is scaled: rows a second, and the seconds of a call.

    Local calls take some seconds, so that what the engine and the servers need for each, on a busy machine too, is about a
    hundredth of it.
    """

    scenario: Scenario
    window_s: float = 240.0
    rows: int = 1200
    cloud_rows_per_s: float = 24.0
    cloud_latency_s: float = 0.5


LIVE = {
    "load 0.9": Live(Scenario(load=0.9)),
    "load 1.3": Live(Scenario(load=1.3)),
    "load 2.5": Live(Scenario(load=2.5)),
    "long prompts, load 1.3": Live(Scenario(load=1.3, mix="long prompts", alpha=0.1)),
    "local down for 10 %, load 1.3": Live(Scenario(load=1.3, crash=0.1)),
    "429 for 10 %, load 2.5": Live(Scenario(load=2.5, refusals=0.1)),
    "batches of 15 s, load 2": Live(
        Scenario(load=2.0, batch_p90_s=45.0, batch_tail=3.0, batch_luck=False), 300.0, 1500
    ),
}


def scaled(live: Live) -> tuple[Job, list[str]]:
    """The scenario's rows as its prompts and the servers' own rule make them, at a speed that gives the window; and these prompts."""
    scenario = replace(
        live.scenario, rows=live.rows, cloud_rows_per_s=live.cloud_rows_per_s, cloud_latency_s=live.cloud_latency_s,
        tick_s=0.25, relearn_s=5.0, cancel_s=0.5,
    )  # fmt: skip
    drawn = job(scenario)
    server = msgspec.convert(local_server(scenario), ServerConfig)
    said = prompts(drawn)
    asks = [Ask(model="m", texts=(prompt,)) for prompt in said]
    inputs = np.array([input_tokens(server, ask) for ask in asks])
    outputs = np.array([count_tokens(server, answer_text(server, ask)) for ask in asks])
    work, usd = scenario.alpha * inputs + outputs, INPUT_USD * inputs + OUTPUT_USD * outputs
    wanted = float(work.sum()) / (live.window_s * scenario.load)
    scenario = replace(scenario, throughput=scenario.throughput * wanted / scenario.speed)
    guess = np.full(live.rows, int(DEFAULT_OUTPUT_TOKENS * scenario.bias))
    return Job(scenario, drawn.group, inputs, outputs, guess, work, usd, live.window_s), said


def prompts(drawn: Job) -> list[str]:
    """As many bytes as the drawn lengths ask for, no two alike."""
    found = []
    for row, (kind, tokens) in enumerate(zip(drawn.group, drawn.inputs, strict=True)):
        frame, end = FRAME.format(kind="ABC"[kind]), f" (note {row})"
        size = max(0, 4 * int(tokens) - len(frame) - len(end))
        found.append(frame + (WORDS * (size // len(WORDS) + 1))[:size] + end)
    return found


def local_server(scenario: Scenario) -> dict[str, Any]:
    lengths = [
        {"match": f"Task {'ABC'[kind]}:", "median": median, "sigma": spread}
        for kind, (_, _, median, spread) in enumerate(MIXES[scenario.mix])
    ]
    return {
        "personality": "vllm", "model": "m", "slots": scenario.slots, "answer": "text", "outputs": lengths,
        "tokens_per_s": scenario.throughput, "half_at": scenario.half, "prefill_share": scenario.alpha,
    }  # fmt: skip


def servers(scenario: Scenario) -> dict[str, Any]:
    local = local_server(scenario)
    cloud = {
        "personality": "openai", "model": "m", "answer": "text", "outputs": local["outputs"],
        "latency_ms": 1000 * scenario.cloud_latency_s, "latency_sigma": CLOUD_SPREAD,
        "usd_per_mtok_in": 1e6 * INPUT_USD, "usd_per_mtok_out": 1e6 * OUTPUT_USD,
        "batch_latency_s": scenario.batch_median_s, "batch_validate_s": 0.0, "batch_cancel_s": 0.2,
    }  # fmt: skip
    return {"servers": {"gpu": local, "cloud": cloud}}


def measure(name: str, live: Live) -> dict[str, Any]:
    """What the simulation foretells of these rows, and what real processes made of them."""
    made, said = scaled(live)
    told = World(made, plan, rows_per_s=0.0).run()
    with (
        redis_server("--appendonly", "yes", "--appendfsync", "always") as url,
        Upstream(servers(made.scenario)) as upstream,
        tempfile.TemporaryDirectory(prefix="sw-live-") as folder,
    ):
        settings = upstream.settings()
        settings["targets"]["cloud"] |= {
            "max_concurrency": made.scenario.cloud_slots,
            "rpm": int(60 * live.cloud_rows_per_s),
        }
        if made.scenario.batch_p90_s:
            settings["targets"]["cloud"]["provider_batch"] = True
            settings["routes"]["office"] = {"targets": ["cloud"]}
        program = Program(Path(folder), None, spillway={"redis_url": url}, **settings)
        with team(program, url, lanes=1):
            if made.scenario.batch_p90_s:  # what an order takes is known from an earlier run
                few = [{"prompt": f"What came before {number}?"} for number in range(20)]
                program.json("run", str(program.rows(few, "few.jsonl")), "--route", "office", "--dedupe", "off")
            source = program.rows([{"prompt": text} for text in said])
            troubles = threading.Thread(target=_trouble, args=(upstream, program, live), daemon=True)
            troubles.start()
            command = ["run", str(source), "--route", "all", "--dedupe", "off", "--deadline", f"{live.window_s:g}s"]
            out = program.json(*command, code=None, timeout_s=3 * live.window_s)
            bill = sum(int(call["cost_pusd"]) for call in upstream.calls())
        costs = program.costs()
        results = program.results(out["run_id"])
        mine = costs.filter(costs["run_id"] == out["run_id"])
    whole = made.all_cloud_usd
    began, answered = mine["started_at"].min(), results.filter(results["status"] == "ok")
    assert (answered["output_tokens"].to_numpy() == made.outputs[answered["row"].to_numpy()]).all(), (
        "other rows than simulated"
    )
    took_s = [(ended - began).total_seconds() for ended in answered["finished_at"]]
    usd, end_s = float(out["cost_usd"]), max(took_s)
    late = live.rows - sum(each <= live.window_s for each in took_s)
    return {
        "name": name, "rows": live.rows, "window_s": live.window_s,
        "bound": round(bound(made).usd / whole, 4), "simulated": round(told.usd / whole, 4), "live": round(usd / whole, 4),
        "simulated_end_s": round(told.end_s, 1), "live_end_s": round(end_s, 1),
        "simulated_late": told.late_rows, "live_late": late,
        "lanes": dict(answered.group_by("lane").len().iter_rows()), "simulated_lanes": told.rows,
        "local_busy": round(busy_share(mine.filter(mine["lane"] == "local"), made.scenario.slots, 2 * made.scenario.slots), 4),
        "ledger_is_bill": sum(int(cost * 10**12) for cost in costs["cost_usd"]) == bill,
        "kept": _near(usd, told.usd, 0.005 * whole) and _near(end_s, told.end_s, 0.0) and late <= MISSED * live.rows,
        "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def _near(one: float, other: float, slack: float) -> bool:
    return abs(one - other) <= WITHIN * other + slack


def _trouble(upstream: Upstream, program: Program, live: Live) -> None:
    """What the scenario has happen to the servers, from the first call on."""
    scenario, window_s = live.scenario, live.window_s
    before = upstream.status("gpu")["requests"]
    while upstream.status("gpu")["requests"] == before:
        time.sleep(0.05)
    began_s = time.monotonic()
    events: list[tuple[float, str, Mapping[str, Any]]] = []
    if scenario.crash:
        events += [(0.4, "gpu", {"down": True}), (0.4 + scenario.crash, "gpu", {"down": False})]
    if scenario.refusals:
        for start in (0.3, 0.6, 0.85):
            events += [(start, "cloud", {"fault_rates": {"429": 1.0}})]
            events += [(start + scenario.refusals / 3, "cloud", {"fault_rates": {}})]
    for share, server, change in events:
        time.sleep(max(0.0, began_s + share * window_s - time.monotonic()))
        upstream.control(server, **change)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(LIVE))
    parser.add_argument("--together", type=int, default=2, help="so many at once; each is some seconds of CPU")
    given = parser.parse_args()
    names = given.only or list(LIVE)
    broken = 0
    print(
        "| | bound | simulated | live | simulated end s | live end s | rows late | within a tenth |\n|---|---|---|---|---|---|---|---|"
    )
    with ThreadPoolExecutor(given.together) as pool:
        for found in pool.map(measure, names, [LIVE[name] for name in names]):
            print(json.dumps(found), file=sys.stderr, flush=True)
            broken += not found["kept"]
            print(
                f"| {found['name']} | {found['bound']:.3f} | {found['simulated']:.3f} | {found['live']:.3f} | {found['simulated_end_s']:.0f} "
                f"| {found['live_end_s']:.0f} | {found['live_late']} | {'yes' if found['kept'] else '**no**'} |", flush=True,
            )  # fmt: skip
    raise SystemExit(1 if broken else 0)


if __name__ == "__main__":
    main()
