"""`python -m worker`: a worker of `spillway run` or `spillway worker`. It imports what its roles need, then waits for a JSON object
on standard input: `{"redis_url", "settings", "log"}`; what it has to say goes into that log, if there is one. Told nothing, it
ends."""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--roles", required=True)
    parser.add_argument("--parent", type=int)
    options = parser.parse_args()
    roles = tuple(options.roles.split(","))
    trouble = _load(roles)
    said = sys.stdin.buffer.read()
    if not said:
        return 0
    told = json.loads(said)
    if told["log"]:
        _write_to(told["log"])
    if trouble:
        print(trouble, file=sys.stderr)
        return 1
    return _run(told, roles, options.parent)


def _load(roles: tuple[str, ...]) -> str:
    """The modules of these roles; a traceback if they cannot be loaded."""
    try:
        from worker.tasks import load

        load(roles)
    except Exception:
        return traceback.format_exc()
    return ""


def _write_to(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _run(told: dict[str, object], roles: tuple[str, ...], parent: int | None) -> int:
    from pipelines.errors import SpillwayError
    from pipelines.settings import parse_settings
    from worker.main import log_to_stderr, run

    log_to_stderr()
    try:
        settings = parse_settings(told["settings"])  # type: ignore[arg-type]
        run(settings, str(told["redis_url"]), roles, parent=parent)
    except SpillwayError as error:
        print(f"spillway worker: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
