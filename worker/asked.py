"""`python -m worker.asked`: answers one question of the HTTP server, which knows no worker code, in a process of its own.

It reads a JSON object on standard input, `{"settings", "cpu_s", "question", …}`, prints another, and ends. What it takes
(an encoder, seconds of a processor) is gone with it, and the system ends it when it takes too much.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from pipelines.errors import SpillwayError
from pipelines.settings import Settings, parse_settings
from pipelines.types import Options, Source

NICE = 10


def main() -> int:
    told = msgspec.json.decode(sys.stdin.buffer.read())
    resource.setrlimit(resource.RLIMIT_CPU, (int(told["cpu_s"]), int(told["cpu_s"]) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICE)
    try:
        said = QUESTIONS[told["question"]](parse_settings(told["settings"]), told)
    except SpillwayError as error:
        said = {"error": str(error)}
    sys.stdout.buffer.write(msgspec.json.encode(said))
    return 0


def _plan(settings: Settings, told: dict[str, Any]) -> dict[str, Any]:
    """What `spillway plan` says of `sources` under `options`, on behalf of `client`."""
    from worker.dryrun import plan_run

    sources = msgspec.convert(told["sources"], tuple[Source, ...])
    options = msgspec.convert(told["options"], Options)
    return plan_run(settings, sources, options, told["client"], options.deadline_s)


def _check(settings: Settings, told: dict[str, Any]) -> dict[str, Any]:
    """What `spillway targets check` says of the target `name`: one real call."""
    from worker.bench.health import check

    return asyncio.run(check(settings, told["name"]))


QUESTIONS: dict[str, Callable[[Settings, dict[str, Any]], dict[str, Any]]] = {"plan": _plan, "check": _check}


if __name__ == "__main__":
    sys.exit(main())
