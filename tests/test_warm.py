"""A program that starts warm is one that started cold, for whoever looks at it from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support_program import wait_until
from tests.support_upstream import Upstream
from tests.support_warm import Warm

COMMAND = [sys.executable, "-m", "producer.cli"]


@pytest.mark.parametrize("arguments", [["--help"], ["run"], ["status", "--config", "none.toml"]])
def test_it_says_and_ends_as_a_cold_one_does(arguments: list[str], tmp_path: Path) -> None:
    told = []
    for kind in (Warm, subprocess.Popen):
        process = kind([*COMMAND, *arguments], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        told.append((*process.communicate(timeout=60), process.returncode))
    assert told[0] == told[1] and any(told[0])


def test_it_is_a_child_with_a_name_of_its_own_and_ends_by_signals() -> None:
    with Upstream({"servers": {"gpu": {"personality": "lmstudio", "model": "m"}}}) as upstream:
        process = upstream.process
        assert process is not None
        told = dict(line.split(":\t", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
        assert int(told["PPid"]) == os.getpid()
        assert "worker.simulator" in Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
        assert upstream.status("gpu")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, "it ends by itself"
        upstream.start()
        upstream.kill()
        assert upstream.process is not None and upstream.process.returncode == -signal.SIGKILL


def test_a_run_ends_all_that_it_started(tmp_path: Path) -> None:
    """Its workers are forked too, and are its own children: none is left, and none of those that were kept ready."""
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n')
    command = [*COMMAND, "run", "rows.jsonl", "--simulate", "--dedupe", "off", "--json"]
    Warm([*COMMAND, "--help"], stdout=subprocess.DEVNULL).wait(60)  # from here on there is somebody to fork from
    before = _descendants()
    process = Warm(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert '"ok":1' in out.replace(" ", "")
    assert Warm([*COMMAND, "run", "none.jsonl"], cwd=tmp_path, stderr=subprocess.DEVNULL).wait(60) == 2, (
        "it needs nobody"
    )
    wait_until(lambda: _descendants() <= before)


def _descendants() -> set[int]:
    """Live processes below this one, but for those that only wait to be reaped."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(entry.name)] = int(parent)
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def test_what_changes_what_an_import_reads_starts_cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path(__file__).parents[1]}")
    (tmp_path / "sitecustomize.py").write_text("print('a start of its own')")
    process = Warm([*COMMAND, "--help"], text=True, stdout=subprocess.PIPE)
    assert "a start of its own" in process.communicate(timeout=60)[0]
