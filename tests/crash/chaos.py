"""`python -m tests.crash.chaos --seeds 20`: real processes, several faults at random moments, the bill as the judge.

A seed decides the form (workers on one Redis, or the embedded one), the faults and their moments; it is printed first.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redis.exceptions import RedisError

from tests.crash import stage
from tests.crash.judge import judge
from tests.support_net import free_port
from tests.support_program import CLOUD, GPU, Program
from tests.support_upstream import ROOT, Upstream

ROWS = 480
SLOTS = 8
CALM_S = 75.0
"""A run must end within this, once nothing is broken any more."""
ROLES = [["", "", ""], ["prepare,schedule,settle", "local,cloud", "local,cloud"], ["", "local,cloud"]]
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

    def block_data(self) -> None:
        name = self.random.choice(["costs", "results"])
        self.say(f"{name} cannot be written for 2 s")
        with stage.Blocked(self.data / name):
            time.sleep(2.0)

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
            self.block_data, self.kill_upstream, self.break_upstream,
        ]  # fmt: skip


def in_the_field(folder: Path, seed: int) -> list[str]:
    """Workers on one Redis; what does not hold afterwards."""
    scene = Field(folder, seed)
    roles = scene.random.choice(ROLES)
    scene.redis = stage.RedisProcess(folder / "redis", scene.random.choice(["everysec", "always"]))
    scene.redis.start()
    try:
        with scene.upstream() as scene.servers:
            program = scene.program(scene.servers)
            scene.data = program.data
            with stage.Workers(program, scene.redis.url, roles) as scene.workers:
                return _field_run(scene, program)
    finally:
        scene.redis.kill()


def _field_run(scene: Field, program: Program) -> list[str]:
    source = str(program.folder / "rows.jsonl")
    run_id = stage.submit(program, scene.redis.url, source, "--dedupe", "exact")
    for fault in scene.random.choices(scene.faults(), k=scene.random.randint(3, 8)):
        time.sleep(scene.random.uniform(0.2, 1.6))
        fault()
        scene.workers.mend()
    calm_s = time.monotonic()
    while not stage.ended(scene.redis.client, run_id):
        if time.monotonic() - calm_s > CALM_S:
            print(scene.workers.log()[-6000:])
            state = stage.figures(program, scene.redis.client, run_id, scene.servers)
            return [f"not ended {CALM_S} s after the last fault: {state}", *scene.said]
        scene.workers.mend()
        time.sleep(0.2)
    scene.say(f"ended {time.monotonic() - calm_s:.1f} s after the last fault")
    time.sleep(1.0)
    calls = scene.servers.calls()
    wrong = judge(program, run_id, ROWS, calls, in_flight=scene.in_flight, redis=scene.redis.client)
    return [*wrong, *scene.said] if wrong else []


# -- faults on the embedded form --------------------------------------------------------------------------------------


def embedded(folder: Path, seed: int) -> list[str]:
    """`spillway run` again and again while its processes are shot; what does not hold afterwards."""
    scene = Scene(folder, seed)
    with scene.upstream() as servers, _buried(scene.program(servers)) as program:
        command = program.command("run", str(folder / "rows.jsonl"), "--dedupe", "exact", "--quiet", "--json")
        for _ in range(scene.random.randint(2, 4)):
            process = _started(command)
            time.sleep(scene.random.uniform(1.5, 6.0))
            _shoot(scene, program, process)
            process.communicate(timeout=CALM_S)
        done = _started(command)
        out, err = done.communicate(timeout=CALM_S)
        wrong = [] if done.returncode == 0 else [f"exit {done.returncode}: {out[-800:]} {err[-1500:]}"]
        runs = sorted((program.data / "results").glob("run=*"))
        if not wrong and len(runs) == 1:
            run_id = runs[0].name.removeprefix("run=")
            wrong = judge(program, run_id, ROWS, servers.calls(), in_flight=scene.in_flight)
        elif not wrong:
            wrong = [f"{len(runs)} runs instead of one"]
    return [*wrong, *scene.said, program.log()] if wrong else []


@contextmanager
def _buried(program: Program) -> Iterator[Program]:
    """Nothing of the program outlives the block, however it ends."""
    try:
        yield program
    finally:
        for pid in [*program.workers(), *_redis_of(program)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=ROOT, env=stage.clean_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _shoot(scene: Scene, program: Program, process: subprocess.Popen[str]) -> None:
    """kill -9 or SIGTERM of the program, some worker, everything, or the Redis behind it."""
    victims = {"program": [process.pid], "workers": program.workers(), "redis": _redis_of(program)}
    name = scene.random.choice(list(victims))
    number = scene.random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
    chosen = victims[name] if scene.random.random() < 0.5 else victims[name][:1]
    scene.say(f"{number.name} {name} {len(chosen)}")
    scene.in_flight += 2 * SLOTS
    for pid in chosen:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    if name == "workers" and process.poll() is None:
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)


def _redis_of(program: Program) -> list[int]:
    socket = program.data / "redis" / "redis.sock"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_text()
            except OSError:
                continue
            if str(socket) in line and "redis-server" in line and "python" not in line:
                found.append(int(entry.name))
    return found


FORMS: dict[str, Callable[[Path, int], list[str]]] = {"field": in_the_field, "embedded": embedded}


def play(seed: int, form: str | None = None) -> list[str]:
    """One seed in a folder of its own; an empty list means that everything holds."""
    chosen = form or ("embedded" if seed % 4 == 3 else "field")
    with tempfile.TemporaryDirectory(prefix="sw-crash-", ignore_cleanup_errors=True) as folder:
        return FORMS[chosen](Path(folder), seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--form", choices=sorted(FORMS))
    options = parser.parse_args()
    failed = 0
    for seed in range(options.first, options.first + options.seeds):
        began_s = time.monotonic()
        try:
            wrong = play(seed, options.form)
        except (RedisError, AssertionError, ValueError, OSError, subprocess.TimeoutExpired) as error:
            wrong = [f"{type(error).__name__}: {error}"]
        print(f"seed {seed}: {'holds' if not wrong else 'FAILS'} ({time.monotonic() - began_s:.0f} s)", flush=True)
        for line in wrong:
            print(f"    {line}", flush=True)
        failed += bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
