"""A data root that is full, on a small file system of its own: nothing is lost, and the same command goes on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.judge import judge
from tests.support_program import CLOUD, Program, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts

ROWS = 600
SLOTS = 8
ROOT_BYTES = 24 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs; mounting one takes rights that not every machine gives."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOT_BYTES}", "tmpfs", str(folder)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no mount program: {error}")
    if done.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Every last byte of the disk."""
    with path.open("wb", buffering=0) as out:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    out.write(b"x" * size)
            except OSError:
                continue


def test_a_full_data_root_loses_nothing_and_resumes(tmp_path: Path, small_disk: Path) -> None:
    with Upstream({"servers": {"cloud": {**CLOUD, "latency_ms": 80}}}) as upstream:
        config = upstream.settings()
        for target in config["targets"].values():
            target["max_concurrency"] = SLOTS
        program = Program(tmp_path, None, **config)
        program.data, program.root = small_disk / "data", str(small_disk / "data")
        source = str(program.rows(prompts(ROWS)))
        running = program.start("run", source, "--dedupe", "exact", "--json")
        wait_until(lambda: len(upstream.calls()) > ROWS // 4, 60)
        fill(small_disk / "filler")
        began_s = time.monotonic()
        _, err = running.communicate(timeout=90)
        assert running.returncode in (1, 4), (running.returncode, err[-800:])
        assert "full" in err and "Traceback" not in err, err[-800:]
        assert time.monotonic() - began_s < 60
        stopped_at = len(upstream.calls())
        assert stopped_at < ROWS, "it stopped in the middle"
        assert not program.workers(), "no process stays behind"
        fill(small_disk / "filler-2")  # what stopped processes gave back
        again = program.run("run", source, "--dedupe", "exact", code=None)
        assert again.returncode in (1, 2, 4) and "full" in again.stderr, "still full, and it says so"
        for filler in small_disk.glob("filler*"):
            filler.unlink()
        out = program.json("run", source, "--dedupe", "exact")
        wrong = judge(program, out["run_id"], ROWS, upstream.calls(), in_flight=2 * SLOTS)
    assert not wrong, wrong
