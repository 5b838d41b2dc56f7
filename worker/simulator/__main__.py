"""`python -m worker.simulator`: the same as `spillway simulate`, without the rest of the program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipelines.errors import SpillwayError
from worker.simulator import main


def run() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.simulator", description=__doc__)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--ready-file", type=Path)
    options = parser.parse_args()
    try:
        main(options.config, options.ready_file)
    except SpillwayError as error:
        print(f"spillway simulate: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(run())
