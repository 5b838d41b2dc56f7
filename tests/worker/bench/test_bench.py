"""GPU memory: what the server says of its model, else what nvidia-smi says is in use; never of a server elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.sections import Target
from worker.bench import bench


def target(url: str = "http://127.0.0.1:1/v1") -> Target:
    return Target(kind="vllm", model="m", base_url=url)


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


async def test_memory_of_all_cards_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, "echo 1024; echo 2048")
    assert await bench._gpu_memory(target()) == (3_072 << 20, "nvidia-smi")
    assert await bench._gpu_memory(target("http://gpu.example:8000/v1")) == (None, "")


@pytest.mark.parametrize("script", ["exit 9", "echo '[N/A]'", "exec sleep 60"])
async def test_a_tool_that_does_not_work_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(bench, "NVIDIA_S", 0.5)
    pretend(tmp_path, monkeypatch, script)
    assert await bench._gpu_memory(target()) == (None, "")


async def test_without_the_tool_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await bench._gpu_memory(target()) == (None, "")
