"""Seconds from the command to the first call, as a user waits for it: `spillway run` with a Redis of its own, exact dedupe."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path

from tests.support_program import CLOUD, Program
from tests.support_upstream import Upstream


def first_call_s(rows: int) -> float:
    """One run against a stand-in server of 1 ms; interrupted once it has been asked."""
    with (
        Upstream({"servers": {"cloud": {**CLOUD, "latency_ms": 1}}}) as upstream,
        tempfile.TemporaryDirectory() as name,
    ):
        program = Program(Path(name), upstream)
        source = program.rows([{"prompt": f"Question number {i}"} for i in range(rows)])
        begun_s = time.monotonic()
        run = program.start("run", str(source), "--dedupe", "exact")
        while not upstream.status("cloud")["requests"]:
            time.sleep(0.01)
        found_s = time.monotonic() - begun_s
        run.send_signal(signal.SIGINT)
        run.wait()
    return found_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    found = sorted(round(first_call_s(options.rows), 2) for _ in range(options.rounds))
    load = round(os.getloadavg()[0], 1)
    print(json.dumps({"rows": options.rows, "seconds": found, "median_s": statistics.median(found), "load": load}))


if __name__ == "__main__":
    main()
