"""The processes of a crash test: a Redis with its append-only file, workers that are started again when they die.

It breaks and mends them on demand; what must hold afterwards is judge.py's matter.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from tests.support_program import Program, wait_until
from tests.support_redis import server_program
from tests.support_upstream import ROOT

LEASE_S = 2.0
START_S = 20.0


def clean_environment() -> dict[str, str]:
    """The machine's, without settings and keys; leases are short, so that a pause outlives them soon."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPILLWAY_")}
    return {**kept, "SPILLWAY_TEST_LEASE_S": str(LEASE_S)}


class RedisProcess:
    """A Redis that can be killed, paused and started again on the same files."""

    def __init__(self, folder: Path, fsync: str = "everysec") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.fsync = folder, fsync
        self.socket = folder / "r.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None
        self.client = Redis(unix_socket_path=str(self.socket), decode_responses=True)

    def start(self) -> None:
        program = server_program()
        assert program is not None, "no Redis server program"
        command = [
            program, "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", self.fsync, "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self.answers, START_S)

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except RedisError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def pause(self, seconds: float) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)


class Workers:
    """`spillway worker` processes, one per entry of `roles` ('' is all roles); `mend` starts the dead again."""

    def __init__(self, program: Program, redis_url: str, roles: list[str]) -> None:
        self._program, self._url, self._roles = program, redis_url, roles
        self._log = (program.folder / "workers.log").open("ab")
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.processes = [self._start(roles) for roles in self._roles]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self._log.close()

    def _start(self, roles: str) -> subprocess.Popen[bytes]:
        command = self._program.command("worker", "--redis", self._url, *(("--roles", roles) if roles else ()))
        return subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=self._log, stderr=self._log)

    def signal(self, index: int, number: int) -> None:
        if self.processes[index].poll() is None:
            self.processes[index].send_signal(number)

    def mend(self) -> int:
        """Starts what died; how many that were."""
        dead = [index for index, process in enumerate(self.processes) if process.poll() is not None]
        for index in dead:
            self.processes[index] = self._start(self._roles[index])
        return len(dead)

    def wake(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        self._log.flush()
        return (self._program.folder / "workers.log").read_text(errors="replace")


class Blocked:
    """A folder of the data root that cannot be written: a file stands in its place."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._aside = folder, folder.with_name(f"{folder.name}.aside")

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.rename(self._aside)
        self._folder.write_text("in the way")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.unlink()
        self._aside.rename(self._folder)


def submit(program: Program, redis_url: str, *arguments: str) -> str:
    """The id of a run that workers elsewhere drain."""
    done = program.json("submit", *arguments, "--redis", redis_url)
    return str(done["run_id"])


def fields(redis: Redis, run_id: str) -> dict[str, str]:
    found: dict[str, str] = redis.hgetall(f"spillway:run:{run_id}")  # type: ignore[assignment]
    return found


def ended(redis: Redis, run_id: str) -> bool:
    try:
        return fields(redis, run_id).get("status") in ("completed", "failed", "expired", "cancelled")
    except RedisError:
        return False


def figures(program: Program, redis: Redis, run_id: str, upstream: Any) -> str:
    """Where a run stands, for the message of a test that waited too long."""
    keys = sorted(name for name in redis.keys("spillway:*") if "fingerprints" not in name)  # type: ignore[union-attr]
    shown = {name: value for name, value in fields(redis, run_id).items() if name not in ("options", "sources")}
    return f"{shown}\n{keys}\n{upstream.status()}"
