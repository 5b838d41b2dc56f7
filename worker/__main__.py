"""`python -m worker`: a worker of `spillway run`; its settings come as JSON on standard input."""

from __future__ import annotations

import argparse
import json
import sys

from pipelines.errors import SpillwayError
from pipelines.settings import parse_settings
from worker.main import log_to_stderr, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--roles", required=True)
    parser.add_argument("--parent", type=int)
    options = parser.parse_args()
    log_to_stderr()
    try:
        settings = parse_settings(json.load(sys.stdin))
        run(settings, options.redis, tuple(options.roles.split(",")), parent=options.parent)
    except SpillwayError as error:
        print(f"spillway worker: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
