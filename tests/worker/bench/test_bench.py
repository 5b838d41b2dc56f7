"""GPU memory: what the server says of its model, else what nvidia-smi says is in use; never of a server elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config.sections import Target
from tests.worker.backends.server import Scripted, answer
from worker.bench import bench


def target(url: str = "http://127.0.0.1:1/v1") -> Target:
    return Target(kind="vllm", model="m", base_url=url)


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


MODELS = answer(200, {"data": [{"id": "org/model", "owned_by": "vllm"}]})


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
@pytest.mark.parametrize("before", ["", "/proxy/gpu"])
async def test_an_address_is_understood_with_and_without_its_last_part(path: str, before: str) -> None:
    async with Scripted(paths={f"{before}/v1/models": MODELS}) as server:
        found = await bench.target_at(f"{server.url}{before}{path}")
    assert found is not None
    assert (found.kind, found.model, found.base_url) == ("vllm", "org/model", f"{server.url}{before}/v1")


async def test_an_api_that_is_not_under_v1_is_found_where_the_address_says() -> None:
    async with Scripted(paths={"/openai/models": MODELS}) as server:
        found = await bench.target_at(f"{server.url}/openai/")
    assert found is not None
    assert (found.kind, found.model, found.base_url) == ("openai", "org/model", f"{server.url}/openai")


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
