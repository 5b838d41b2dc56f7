"""`python -m tests.crash.chaos --seeds 20`: real processes, several faults at random moments, the bill as the judge.

A seed decides the form (workers on one Redis, of one host or several, or the embedded one), the faults (faults.py) and
their moments; it is printed first.
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

import pyarrow.fs as pafs
import pytest
from redis.exceptions import RedisError

from tests import support_bucket
from tests.crash import stage
from tests.crash.faults import ROWS, SLOTS, Field, Scene
from tests.crash.hosts import OtherHost
from tests.crash.judge import judge
from tests.crash.storm import one_by_one, overlapping
from tests.support_program import Program, wait_until
from tests.support_upstream import ROOT
from tests.support_warm import Warm

CALM_S = 120.0
"""A run must end within this, once nothing is broken any more."""
ROLES = [["", "", ""], ["prepare,schedule,settle", "local,cloud", "local,cloud"], ["", "local,cloud"]]


def in_the_field(
    folder: Path, seed: int, hosts: dict[int, OtherHost] | None = None, beset: Callable[[Field], None] = one_by_one,
    bucket: tuple[str, subprocess.Popen[bytes]] | None = None,
) -> list[str]:  # fmt: skip
    """Workers on one Redis; what does not hold afterwards. `bucket` is where the data root is, and the program that serves it."""
    scene = Field(folder, seed)
    roles = scene.random.choice(ROLES[:2] if hosts else ROLES)
    scene.redis = stage.RedisProcess(folder / "redis", scene.random.choice(["everysec", "always"]))
    scene.redis.start()
    try:
        with scene.upstream() as scene.servers:
            program = scene.program(scene.servers)
            scene.data = program.data
            if bucket is not None:
                program.root, scene.store = bucket
            with stage.Workers(program, scene.redis.url, roles, hosts) as scene.workers:
                return _field_run(scene, program, beset)
    finally:
        scene.redis.kill()


def on_two_hosts(folder: Path, seed: int) -> list[str]:
    """The same, with all workers but one elsewhere: their clocks are minutes off, and nobody sees their processes."""
    return in_the_field(folder, seed, _elsewhere(folder))


def in_a_storm(folder: Path, seed: int) -> list[str]:
    """Faults that overlap; odd seeds on two hosts."""
    return in_the_field(folder, seed, _elsewhere(folder) if seed % 2 else None, overlapping)


def in_a_storm_on_an_object_store(folder: Path, seed: int) -> list[str]:
    """The same, with the data root in a bucket."""
    with pytest.MonkeyPatch.context() as environment, support_bucket.served(environment) as bucket:
        return in_the_field(folder, seed, _elsewhere(folder) if seed % 2 else None, overlapping, bucket)


def _elsewhere(folder: Path) -> dict[int, OtherHost]:
    return {index: OtherHost(folder / f"host{index}", minutes * 60) for index, minutes in ((1, 7), (2, -11))}


def _registered(scene: Field, program: Program) -> str:
    """The run; sometimes Redis forgets its registration, and what had begun by then."""
    chance = random.Random(f"{scene.seed} registration")

    def submit() -> str:
        return stage.submit(program, scene.redis.url, str(program.folder / "rows.jsonl"), "--dedupe", "exact")

    def briefly() -> str:
        run_id = submit()
        time.sleep(chance.uniform(0.0, 1.5))
        return run_id

    if scene.redis.fsync == "always" or chance.random() < 0.6:
        return submit()
    wait_until(lambda: scene.redis.client.hlen("spillway:workers") >= scene.workers.registered, 40)
    time.sleep(1.2)  # what the workers said of themselves is on the disk
    scene.in_flight += 2 * SLOTS
    scene.say("redis forgets the registration")
    return scene.redis.forgetting(briefly)


def _field_run(scene: Field, program: Program, beset: Callable[[Field], None]) -> list[str]:
    run_id = _registered(scene, program)
    beset(scene)
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
    if scene.store is not None:
        remote, where = pafs.FileSystem.from_uri(program.root)
        pafs.copy_files(where, str(program.data), source_filesystem=remote)
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
        for pid in [*program.workers(), *program.redis()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _started(command: list[str]) -> subprocess.Popen[str]:
    env = stage.clean_environment()
    return Warm(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _shoot(scene: Scene, program: Program, process: subprocess.Popen[str]) -> None:
    """kill -9 or SIGTERM of the program, some worker, everything, or the Redis behind it."""
    victims = {"program": [process.pid], "workers": program.workers(), "redis": program.redis()}
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


FORMS: dict[str, Callable[[Path, int], list[str]]] = {
    "field": in_the_field, "embedded": embedded, "hosts": on_two_hosts, "storm": in_a_storm,
    "store": in_a_storm_on_an_object_store,
}  # fmt: skip


def play(seed: int, form: str | None = None) -> list[str]:
    """One seed in a folder of its own; an empty list means that everything holds."""
    chosen = form or ("embedded" if seed % 4 == 3 else "hosts" if seed % 8 == 5 else "field")
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
