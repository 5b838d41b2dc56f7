"""Adapters and discovery against the stand-in servers: two sides written apart that must understand each other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pipelines.settings import parse_settings
from tests.support_upstream import Upstream
from worker.backends.discovery import identify
from worker.bench.health import check

KINDS = ("openai", "lmstudio", "vllm", "ollama", "llamacpp")


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream({"servers": {kind: {"personality": kind, "model": "qwen"} for kind in KINDS}}) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_is_found_looked_at_and_called(upstream: Upstream, kind: str) -> None:
    url = await asyncio.to_thread(upstream.url, kind)
    assert await identify(url) == kind
    settings = parse_settings({"targets": {"it": {"kind": kind, "lane": "local", "model": "qwen", "base_url": url}}})
    record = await check(settings, "it")
    assert (record["up"], record["reason"], record["loaded_model"]) == (True, "", "qwen")
    assert (record["ok"], record["served_model"]) == (True, "qwen")
    assert record["output_tokens"] > 0
    assert record["input_tokens"] > 0
