"""Several worker processes on one Redis server, as a team of hosts would be; stopped at the end of the block."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from pipelines import wire
from tests.support_program import Program, wait_until
from tests.support_upstream import ROOT
from tests.support_warm import Warm

KEYS = wire.Keys()
_numbers = count()


@contextmanager
def team(
    program: Program, redis_url: str, lanes: int = 2, flow: str = "prepare,schedule,settle"
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One process for the flow, `lanes` of them for the calls; ready when all say so."""
    logs = program.data / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    roles = [flow, *["local,cloud"] * lanes]
    names = [logs / f"worker-{next(_numbers)}.log" for _ in roles]
    workers = [_start(program, redis_url, role, name) for role, name in zip(roles, names, strict=True)]
    try:
        wait_until(lambda: all(" is up: " in name.read_text() for name in names), 60)
        yield workers
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            try:
                worker.wait(timeout=40)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def _start(program: Program, redis_url: str, roles: str, log: Path) -> subprocess.Popen[bytes]:
    command = program.command("worker", "--redis", redis_url, "--roles", roles)
    with log.open("ab") as out:
        return Warm(command, cwd=ROOT, stdout=out, stderr=out)
