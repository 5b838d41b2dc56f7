"""What safety costs: the end-to-end run with and without it, in turns, so that other work on the machine falls on all.

`always` is the product. `everysec` and `memory` are Redis' append-only file synced every second, and none; the `unsafe`
modes send each call without waiting until its intent is in Redis, and reserve and count no money.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from statistics import median

from tests.benchmarks import end_to_end

UNSAFE = Path(__file__).parent / "unsafe"
MODES = {"always": ("always", False), "everysec": ("everysec", False), "unsafe-everysec": ("everysec", True),
         "unsafe-memory": ("memory", True)}  # fmt: skip
FIGURES = ("run_seconds", "cpu_ms_per_prompt", "redis_commands_per_prompt", "redis_round_trips_per_prompt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    plain = os.environ.get("PYTHONPATH", "")
    seen: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory(prefix="bench-") as name, end_to_end.upstream(Path(name)) as port:
        for turn in range(options.rounds):
            for mode in list(MODES)[:: 1 if turn % 2 == 0 else -1]:
                os.environ["BENCH_FSYNC"], unsafe = MODES[mode]
                os.environ["PYTHONPATH"] = f"{UNSAFE}:{plain}" if unsafe else plain
                told = end_to_end.measure(Path(name), port, options.rows, "exact", 96)
                seen[mode].append({figure: told[figure] for figure in FIGURES})
                print(json.dumps({"round": turn, "mode": mode, **seen[mode][-1]}), flush=True)
    for mode, rounds in seen.items():
        ratios = {
            figure: round(
                median(mine[figure] / its[figure] for mine, its in zip(rounds, seen["always"], strict=True)), 3
            )
            for figure in FIGURES
        }
        print(json.dumps({"mode": mode, "median_ratio_to_always": ratios}), flush=True)


if __name__ == "__main__":
    main()
