"""Worker processes of `spillway run` and `spillway worker`: started before their settings are known, told them by a pipe when they
are.

Half of a first answer's time is imports. They are done beside the program's own; the rest of a child's life is
embedded.py's and main.py's matter. Nothing heavy is imported here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CONTROL_ROLES = ("prepare", "schedule", "settle")
DRAIN_ROLES = ("local", "cloud")
LEAN = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "262144",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OMP_NUM_THREADS": str(os.cpu_count() or 2),
}
"""Memory that is freed goes back to the system, instead of into one reserve per thread and for ever."""

Child = subprocess.Popen[bytes]
_waiting: dict[tuple[str, ...], Child] = {}


def warm(*, heard: bool = False) -> None:
    """Starts the one that takes longest, on the core that the program's own imports leave; `discard` ends it if it was not
    needed after all. The lanes would only take their time from both. `heard`: it will speak where we do."""
    _waiting[CONTROL_ROLES] = _start(CONTROL_ROLES, heard)


def start(roles: tuple[str, ...], redis_url: str, settings: dict[str, Any], log: Path | None) -> Child:
    """A worker that runs, and speaks into this log or (None) where we do. Settings travel by a pipe, since they hold keys; never
    by arguments or files."""
    child = _waiting.pop(roles, None) or _start(roles, log is None)
    assert child.stdin is not None
    told = {"redis_url": redis_url, "settings": settings, "log": str(log or "")}
    try:
        child.stdin.write(json.dumps(told).encode())
        child.stdin.close()
    except BrokenPipeError:  # it has ended already; whoever looks after it will see
        pass
    return child


def discard() -> None:
    """Ends the children that were never told anything."""
    for child in _waiting.values():
        with child:
            child.kill()
    _waiting.clear()


def _start(roles: tuple[str, ...], heard: bool) -> Child:
    out = None if heard else subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-m", "worker", "--roles", ",".join(roles), "--parent", str(os.getpid())],
        env={**os.environ, **LEAN},
        stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True,
        cwd=Path(__file__).resolve().parent.parent,
    )  # fmt: skip
