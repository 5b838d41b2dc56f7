"""How busy the local slots are while local work remains: two fresh worker processes, one run, one small server.

The server's own record of its calls is the judge. The run's last batch is left out, as are the workers' start-up and intake;
the ramp of a run with unknown rates is not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from tests.support_program import GPU, Program
from tests.support_redis import redis_server
from tests.support_team import team
from tests.support_upstream import Upstream


def busy_share(costs: pl.DataFrame, slots: int, last_rows: int) -> float:
    """Slot-seconds in use over slot-seconds there, from the first call to the start of the first of the last `last_rows`."""
    calls = costs.sort("started_at")
    begin, end = calls["started_at"][0], calls["started_at"][-last_rows]
    used = calls.select(
        (pl.min_horizontal("finished_at", pl.lit(end)) - pl.col("started_at"))
        .dt.total_microseconds()
        .clip(lower_bound=0)
        .sum()
    ).item()
    return float(used / ((end - begin).total_seconds() * 1e6 * slots))


def measure(rows: int, slots: int, latency_ms: int, workers: int) -> dict[str, Any]:
    gpu = {**GPU, "slots": slots, "latency_ms": latency_ms, "output_tokens_sigma": 0.3}
    with (
        redis_server() as url,
        Upstream({"servers": {"gpu": gpu}}) as upstream,
        tempfile.TemporaryDirectory() as name,
    ):
        program = Program(Path(name), upstream, spillway={"redis_url": url})
        source = program.rows(
            [{"id": f"r{i}", "prompt": f"Name the colour of object number {i}."} for i in range(rows)]
        )
        with team(program, url, lanes=workers):
            out = program.json("run", str(source), "--dedupe", "off", timeout_s=400)
        share = busy_share(program.costs(), slots, 128)
    return {"rows": rows, "slots": slots, "latency_ms": latency_ms, "workers": workers, "seconds": out["seconds"],
            "busy_share": round(share, 4)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--slots", type=int, nargs="*", default=[6, 16])
    parser.add_argument("--latency-ms", type=int, default=175)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    options = parser.parse_args()
    for slots in options.slots:
        for workers in options.workers:
            print(json.dumps(measure(options.rows, slots, options.latency_ms, workers)), flush=True)


if __name__ == "__main__":
    main()
