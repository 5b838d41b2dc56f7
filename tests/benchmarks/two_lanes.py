"""One run through both lanes, as a user starts it, with the servers' own bill beside our ledger: rows by status and lane, seconds.

`python -m tests.benchmarks.two_lanes --rows 200000 --deadline 90s`, or `--source FILE` for a file of one's own.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.money import usd_to_pusd
from tests.support_program import CLOUD, GPU, Program
from tests.support_upstream import Upstream

SLOTS = 16


def made(folder: Path, rows: int) -> Path:
    """Parquet of short prompts, no two alike."""
    path = folder / "rows.parquet"
    numbers = range(rows)
    texts = {"id": [f"r{i}" for i in numbers], "prompt": [f"Describe item {i} in one word." for i in numbers]}
    pl.DataFrame(texts).write_parquet(path, row_group_size=20_000)
    return path


def measure(source: Path | None, rows: int, latency_ms: int, options: list[str]) -> dict[str, Any]:
    """What `run --json` says, and whether ledger, bill and doctor agree."""
    servers = {"gpu": {**GPU, "slots": SLOTS, "latency_ms": latency_ms}, "cloud": CLOUD}
    with Upstream({"servers": servers}) as upstream, tempfile.TemporaryDirectory() as name:
        program = Program(Path(name), upstream)
        file = source or made(Path(name), rows)
        out = program.json("run", str(file), *options, code=None, timeout_s=3600)
        bill = sum(int(call["cost_pusd"]) for call in upstream.calls())
        doctor = program.run("doctor", "--run", out["run_id"], code=None, timeout_s=600)
    kept = {name: value for name, value in out.items() if name not in ("run_id", "results", "costs")}
    return {
        **kept, "ledger_is_bill": usd_to_pusd(out["cost_usd"]) == bill, "doctor_holds": doctor.returncode == 0,
        "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--latency-ms", type=int, default=10, help="of the local server's calls")
    parser.add_argument("--deadline")
    parser.add_argument("--dedupe", default="exact")
    given = parser.parse_args()
    options = ["--dedupe", given.dedupe, *(["--deadline", given.deadline] if given.deadline else [])]
    print(json.dumps(measure(given.source, given.rows, given.latency_ms, options)))


if __name__ == "__main__":
    main()
