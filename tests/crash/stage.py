"""The processes of a crash test: a Redis with its append-only file, workers that are started again when they die.

It breaks and mends them on demand; what must hold afterwards is judge.py's matter.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from redis import Redis
from redis.exceptions import RedisError

from pipelines import wire
from pipelines.journal import fold
from pipelines.types import Entry
from tests.crash.hosts import OtherHost
from tests.support_program import Program, wait_until
from tests.support_redis import server_program
from tests.support_upstream import ROOT
from tests.support_warm import Warm

LEASE_S = 2.0
START_S = 20.0
T = TypeVar("T")


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

    def kill_forgetting(self, seconds: float) -> None:
        """As `everysec` allows on a slow disk: what was acknowledged in the last seconds is not in the file."""
        self.forgetting(lambda: time.sleep(seconds))

    def forgetting(self, happening: Callable[[], T]) -> T:
        """What `happening` returns; then a Redis that has forgotten all of it, killed and started again."""
        [log] = self.folder.rglob("*.aof")
        kept_bytes = log.stat().st_size
        happened = happening()
        self.kill()
        os.truncate(log, kept_bytes)
        self.start()
        return happened

    def pause(self, seconds: float) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)


class Workers:
    """`spillway worker` processes, one per entry of `roles` ('' is all roles); `mend` starts the dead again."""

    def __init__(
        self, program: Program, redis_url: str, roles: list[str], hosts: dict[int, OtherHost] | None = None,
        dies: bool = False,
    ) -> None:  # fmt: skip
        self._program, self._url, self._roles = program, redis_url, roles
        self._hosts, self._dies = hosts or {}, dies
        self._log = (program.folder / "workers.log").open("ab")
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def registered(self) -> int:
        """How many say that they are there: one of all roles prepares in a process apart."""
        return sum(1 if roles else 2 for roles in self._roles)

    def __enter__(self) -> Self:
        self.processes = [self._start(index) for index in range(len(self._roles))]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wake()
        for process in self.processes:
            process.kill()
            process.wait()
        self._log.close()

    def _start(self, index: int) -> subprocess.Popen[bytes]:
        roles, host = self._roles[index], self._hosts.get(index)
        command = self._program.command("worker", "--redis", self._url, *(("--roles", roles) if roles else ()))
        if self._dies:
            command = dying(self._program, command)
        environment = {**clean_environment(), **(host.environment if host else {})}
        command = [*(host.prefix if host else []), *command]
        return Warm(command, cwd=ROOT, env=environment, stdout=self._log, stderr=self._log)

    def signal(self, index: int, number: int) -> None:
        process, host = self.processes[index], self._hosts.get(index)
        if process.poll() is None:
            with suppress(ProcessLookupError, FileNotFoundError):
                os.kill(host.process_of(process.pid) if host else process.pid, number)

    def mend(self) -> int:
        """Starts what died; how many that were."""
        dead = [index for index, process in enumerate(self.processes) if process.poll() is not None]
        for index in dead:
            self.processes[index] = self._start(index)
        return len(dead)

    def wake(self) -> None:
        for index in range(len(self.processes)):
            self.signal(index, signal.SIGCONT)

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


def dying(program: Program, command: list[str]) -> list[str]:
    """A command of the program as dying.py runs it."""
    return [sys.executable, "-m", "tests.crash.dying", str(program.folder), *command[3:]]


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


class Field:
    """Redis, stand-in servers and workers together; the run is registered by `spillway submit`."""

    def __init__(
        self,
        folder: Path,
        upstream: Any,
        roles: list[str],
        data: str | None = None,
        hosts: dict[int, OtherHost] | None = None,
        fsync: str = "always",
        dies: bool = False,
        **settings: Any,
    ) -> None:
        self._hosts, self._dies = hosts, dies
        self.program = Program(folder, upstream, **settings)
        self.program.root = data or self.program.root
        self.upstream = upstream
        self.redis = RedisProcess(folder / "redis", fsync)
        self.roles = roles

    def __enter__(self) -> Self:
        self.redis.start()
        self.workers = Workers(self.program, self.redis.url, self.roles, self._hosts, self._dies)
        self.workers.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.workers.__exit__(None, None, None)
        self.redis.kill()

    def submit(self, source: Path | str, *arguments: str) -> str:
        return submit(self.program, self.redis.url, str(source), "--dedupe", "exact", *arguments)

    def ask(self, *arguments: str, code: int | None = 0) -> str:
        """What another command says, on both streams."""
        done = self.program.run(*arguments, "--redis", self.redis.url, code=code)
        return done.stdout + done.stderr

    def fields(self, run_id: str) -> dict[str, str]:
        return fields(self.redis.client, run_id)

    def wait_for_end(self, run_id: str, seconds: float = 60.0) -> str:
        """The status in which the run ended."""
        until = time.monotonic() + seconds
        while not ended(self.redis.client, run_id):
            self.workers.mend()
            if time.monotonic() > until:
                state = figures(self.program, self.redis.client, run_id, self.upstream)
                raise AssertionError(f"not ended after {seconds} s: {state}\n{self.workers.log()[-4000:]}")
            time.sleep(0.05)
        return self.fields(run_id)["status"]

    def kill_workers(self, *, mend: bool = True) -> None:
        """kill -9, all of them."""
        for index in range(len(self.roles)):
            self.workers.signal(index, signal.SIGKILL)
        for process in self.workers.processes:
            process.wait()
        if mend:
            self.workers.mend()

    def calling(self) -> int | None:
        """The index of a worker whose calls are out, as its last heartbeat has it; None when there is none."""
        redis = self.redis.client
        for index, owner in self.owners().items():
            said = json.loads(redis.get(f"spillway:worker:{owner}") or "{}")  # type: ignore[arg-type]
            if any(target["in_flight"] > 1 for target in said.get("targets", {}).values()):
                return index
        return None

    def calls_out(self, index: int) -> dict[str, set[str]]:
        """Calls of one worker's batches that were sent and have not ended, as the journals in Redis have them."""
        owner, found = self.owners()[index], {}
        for batch in self.redis.client.zrange("spillway:rung", 0, -1):  # type: ignore[union-attr]
            if self.holder(batch) == owner and (lost := fold(self._journal(batch)).lost()):
                found[batch] = {intent.call for intent in lost}
        return found

    def epoch(self, batch: str) -> str | None:
        return self.redis.client.hget(f"spillway:batch:{batch}", "epoch")  # type: ignore[return-value]

    def holder(self, batch: str) -> str | None:
        """The worker that has claimed a batch; nothing when nobody has."""
        return self.redis.client.hget(f"spillway:batch:{batch}", "holder")  # type: ignore[return-value]

    def _journal(self, batch: str) -> list[Entry]:
        with Redis(unix_socket_path=str(self.redis.socket)) as raw:
            return wire.readable_entries(raw.lrange(f"spillway:journal:{batch}", 0, -1))  # type: ignore[arg-type]

    def owners(self) -> dict[int, str]:
        """The names that the living workers go by, by index."""
        pids = {process.pid: index for index, process in enumerate(self.workers.processes)}
        said = self.redis.client.hgetall("spillway:workers").items()  # type: ignore[union-attr]
        return {pids[pid]: owner for owner, who in said if (pid := json.loads(who)["pid"]) in pids}

    def requests(self) -> int:
        return sum(int(each["requests"]) for each in self.upstream.status().values())
