"""Fair shares through real processes: one client with many rows, twenty with few, one of them with a short deadline.

`python -m tests.benchmarks.fairness`: Jain's index of work done for weight while all wait (goal: 0.95), and how much later each client
ended than weighted fair sharing of the same server would have had it (goal: at most 1.2 times as late). A line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
from redis import Redis

from pipelines.batch import PREFILL_WEIGHT
from tests.support_program import Program, wait_until
from tests.support_redis import redis_server
from tests.support_team import KEYS, team
from tests.support_upstream import Upstream

JAIN, LATER = 0.95, 1.2
BIG, HURRIED, HEAVY = "big", "small-07", "small-13"
SLOTS = 16


def jain(shares: Sequence[float]) -> float:
    """1 when all are equal, 1/n when one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


def ideal_ends(work: Mapping[str, float], weights: Mapping[str, float], per_s: float) -> dict[str, float]:
    """When each client ends if all that still have work share the server by weight: seconds."""
    left, now, ends = dict(work), 0.0, dict[str, float]()
    while left:
        whole = sum(weights[name] for name in left)
        first = min(left, key=lambda name: left[name] / weights[name])
        step = left[first] / weights[first]  # of work for each weight
        now += step * whole / per_s
        left = {name: each - step * weights[name] for name, each in left.items() if name != first}
        ends[first] = now
    return ends


def measure(big: int, small: int, clients: int, seconds: float) -> dict[str, Any]:
    """`seconds`: what the whole should take."""
    rows = {BIG: big, **{f"small-{number:02}": small for number in range(clients)}}
    weights = {name: 2.0 if name == HEAVY else 1.0 for name in rows}
    server = {
        "personality": "vllm", "model": "m", "slots": SLOTS, "answer": "text", "output_tokens_median": 20,
        "output_tokens_sigma": 0.5, "tokens_per_s": 30 * sum(rows.values()) / seconds, "half_at": 0.0,
    }  # fmt: skip
    with (
        redis_server("--appendonly", "yes", "--appendfsync", "always") as url,
        Upstream({"servers": {"gpu": server}}) as upstream,
        tempfile.TemporaryDirectory(prefix="sw-fair-") as folder,
    ):
        configured = {name: {"weight": weights[name]} for name in rows}
        program = Program(Path(folder), upstream, spillway={"redis_url": url}, clients=configured)
        runs = dict(
            zip(
                rows,
                ThreadPoolExecutor(4).map(lambda name: _submit(program, name, rows[name], 3 * seconds), rows),
                strict=True,
            )
        )
        upstream.control("gpu", down=True)  # until all are prepared: who comes first would have it alone
        with team(program, url, lanes=2):
            redis = Redis.from_url(url, decode_responses=True)
            for run in runs.values():
                wait_until(lambda run=run: redis.hget(KEYS.run(run), "prepared") == "1", 300)
            upstream.control("gpu", down=False)
            for run in runs.values():
                wait_until(lambda run=run: _is_over(program, run), 10 * seconds)
        costs = program.costs()
    return {
        **judged(costs, weights),
        "rows": rows[BIG],
        "each_of": clients,
        "has": small,
        "load": round(os.getloadavg()[0], 1),
    }


def judged(costs: pl.DataFrame, weights: Mapping[str, float]) -> dict[str, Any]:
    """From the ledger: shares until the first client has ended, and each one's end against the ideal."""
    work = PREFILL_WEIGHT * pl.col("input_tokens") + pl.col("output_tokens")
    calls = costs.filter(pl.col("outcome") == "ok").with_columns(work.alias("work"))
    began = calls["started_at"].min()
    ends = {
        name: (end - began).total_seconds()
        for name, end in calls.group_by("client").agg(pl.col("finished_at").max()).iter_rows()
    }
    until = min(ends.values())
    waiting = calls.filter((pl.col("finished_at") - began).dt.total_microseconds() <= until * 1e6)
    done = dict(waiting.group_by("client").agg(pl.col("work").sum()).iter_rows())
    whole = dict(calls.group_by("client").agg(pl.col("work").sum()).iter_rows())
    ideal = ideal_ends(whole, weights, sum(whole.values()) / max(ends.values()))
    later = {name: ends[name] / ideal[name] for name in ends}
    equals = [name for name in ends if name not in (BIG, HEAVY)]
    usual_s = sum(ends[name] for name in equals) / len(equals)
    index = jain([done.get(name, 0.0) / weights[name] for name in ends])
    return {
        "jain": round(index, 4), "latest": round(max(later.values()), 3), "until_s": round(until, 1), "whole_s": round(max(ends.values()), 1),
        "hurried_by": round(usual_s / ends[HURRIED], 3), "heavy_ends_s": round(ends[HEAVY], 1), "others_end_s": round(usual_s, 1),
        "ends": {name: round(end, 1) for name, end in sorted(ends.items())},
        "kept": index >= JAIN and max(later.values()) <= LATER,
    }  # fmt: skip


def _submit(program: Program, client: str, rows: int, deadline_s: float) -> str:
    prompts = [{"prompt": f"Describe the object number {row} of {client}."} for row in range(rows)]
    more = ["--deadline", f"{deadline_s:g}s"] if client == HURRIED else []
    source = program.rows(prompts, f"{client}.jsonl")
    return str(program.json("submit", str(source), "--client", client, "--dedupe", "off", *more)["run_id"])


def _is_over(program: Program, run: str) -> bool:
    return (program.data / f"results/run={run}/results.parquet").exists()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000, help="of the one client")
    parser.add_argument("--small", type=int, default=100)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120.0)
    given = parser.parse_args()
    found = measure(given.rows, given.small, given.clients, given.seconds)
    print(json.dumps(found))
    raise SystemExit(0 if found["kept"] else 1)


if __name__ == "__main__":
    main()
