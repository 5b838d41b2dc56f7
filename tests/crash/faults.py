"""A run under fire: what stands in a seed of the chaos suite, and the faults that may hit it; chaos.py plays and judges."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.crash import stage
from tests.support_net import free_port
from tests.support_program import CLOUD, GPU, Program
from tests.support_upstream import Upstream

ROWS = 480
SLOTS = 8
BAD_ANSWERS = ["empty", "error_in_200", "reset", "lost", "cut", "truncated", "late", "hang", "500", "429", "paid_502"]


class Scene:
    """One run under fire: what stands, and how many calls a fault may have cut off."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.seed, self.folder = seed, folder
        self.in_flight = 0
        self.lane = "gpu"
        self.said: list[str] = []
        self.began_s = time.monotonic()

    def say(self, what: str) -> None:
        self.said.append(f"{time.monotonic() - self.began_s:.1f}s {what}")

    def upstream(self) -> Upstream:
        """Fixed ports: a server that died comes back under its address."""
        gpu = {**GPU, "slots": SLOTS, "latency_ms": 150, "port": free_port(), "late_ms": 3500}
        cloud = {**CLOUD, "latency_ms": 60, "port": free_port(), "late_ms": 3500}
        rate = self.random.choice([0.0, 0.0, 0.04])
        bad = dict.fromkeys(self.random.sample(BAD_ANSWERS, 2), rate) if rate else {}
        if bad:
            self.say(f"answers: {bad}")
        servers = {"gpu": gpu, "cloud": {**cloud, "fault_rates": bad}}
        self.lane = self.random.choice(["gpu", "gpu", "cloud"])
        if self.lane == "cloud":
            servers = {"cloud": {**servers["cloud"], "latency_ms": 150}}
            self.say("cloud only")
        return Upstream({"seed": self.seed, "servers": servers})

    def program(self, upstream: Upstream) -> Program:
        config = upstream.settings()
        for target in config["targets"].values():
            target["timeout_s"] = 2.0
            target["max_paid_attempts"] = 24  # no row may end for the faults alone
            target["max_concurrency"] = SLOTS
        program = Program(self.folder, None, **config)
        program.rows([{"id": f"r{i}", "prompt": f"Name the colour of object number {i}."} for i in range(ROWS)])
        return program


# -- faults on workers and one Redis ----------------------------------------------------------------------------------


class Field(Scene):
    """Workers by `spillway worker` on a Redis of the test's own."""

    redis: stage.RedisProcess
    workers: stage.Workers
    servers: Upstream
    data: Path
    store: subprocess.Popen[bytes] | None = None
    """The object store that the data root is on, if it is on one."""

    def kill_worker(self) -> None:
        self._hit(signal.SIGKILL, "kill -9")
        self.in_flight += 2 * SLOTS

    def stop_worker(self) -> None:
        self._hit(signal.SIGTERM, "SIGTERM")

    def pause_worker(self) -> None:
        """Longer than every lease: the others take over, then there are two."""
        index = self._hit(signal.SIGSTOP, "SIGSTOP")
        self.in_flight += 2 * SLOTS
        time.sleep(self.random.uniform(1.2, 3.0) * stage.LEASE_S)
        self.workers.signal(index, signal.SIGCONT)
        self.say(f"SIGCONT worker {index}")

    def kill_redis(self) -> None:
        away_s = self.random.choice([0.1, 1.0, 4.0, 4.0, 20.0])
        self.say(f"kill -9 redis ({self.redis.fsync}), back after {away_s} s")
        self.in_flight += 2 * SLOTS
        self.redis.kill()
        time.sleep(away_s)
        self.redis.start()

    def forget_redis(self) -> None:
        """Acknowledged writes are gone, as `everysec` allows: everybody who lives says them again."""
        if self.redis.fsync == "always":  # which forgets nothing
            return self.kill_redis()
        seconds = self.random.uniform(0.1, 2.0)
        self.say(f"kill -9 redis, the last {seconds:.1f} s are forgotten")
        self.in_flight += 2 * SLOTS
        return self.redis.kill_forgetting(seconds)

    def pause_redis(self) -> None:
        self.say("redis hangs 3 s")
        self.redis.pause(3.0)

    def fill_redis(self) -> None:
        """It answers and refuses to write, as one whose memory is used up."""
        self.say("redis has no memory for 3 s")
        self.redis.client.config_set("maxmemory", "1mb")
        time.sleep(3.0)
        self.redis.client.config_set("maxmemory", "0")

    def block_data(self) -> None:
        if self.store is not None:
            return self._pause_store(self.store)
        name = self.random.choice(["costs", "results"])
        self.say(f"{name} cannot be written for 2 s")
        with stage.Blocked(self.data / name):
            time.sleep(2.0)
        return None

    def _pause_store(self, store: subprocess.Popen[bytes]) -> None:
        self.say("the object store hangs 3 s")
        store.send_signal(signal.SIGSTOP)
        time.sleep(3.0)
        store.send_signal(signal.SIGCONT)

    def kill_upstream(self) -> None:
        """The bill is its own, so the process stays and only refuses."""
        name = self.lane
        self.say(f"{name} is down for 2 s")
        self.servers.control(name, down=True)
        time.sleep(2.0)
        self.servers.control(name, down=False)

    def break_upstream(self) -> None:
        what = self.random.choice(["hang", "reset", "late", "empty", "error_in_200", "lost_reset"])
        self.say(f"{self.lane}: the next 12 answers: {what}")
        self.servers.control(self.lane, faults=[{"kind": what, "match": "Name", "times": 12}])

    def _hit(self, number: int, name: str) -> int:
        index = self.random.randrange(len(self.workers.processes))
        self.say(f"{name} worker {index}")
        self.workers.signal(index, number)
        return index

    def faults(self) -> list[Callable[[], None]]:
        return [
            self.kill_worker, self.kill_worker, self.stop_worker, self.pause_worker, self.kill_redis, self.forget_redis, self.pause_redis,
            self.fill_redis, self.block_data, self.kill_upstream, self.break_upstream,
        ]  # fmt: skip
