"""Stand-ins of vendors in the tests' own process, their bill, and OpenAI's client to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai

from worker.simulator import Running, serve

KEY = "sk-test"
PRICES = {"usd_per_mtok_in": 0.15, "usd_per_mtok_out": 0.6}
FAST = {"batch_latency_s": 0.3, "batch_validate_s": 0.05, "batch_cancel_s": 0.05}


@asynccontextmanager
async def one(personality: str, **config: Any) -> AsyncIterator[Running]:
    servers = {"s": {"personality": personality, "model": "m", **PRICES, **FAST, **config}}
    async with serve({"servers": servers}) as running:
        yield running


def account(running: Running) -> Any:
    return running.bill.account("s")


def gpt(running: Running) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=KEY, base_url=running.base_urls["s"], max_retries=0)


async def until(check: Any, seconds: float = 5.0) -> Any:
    """Polls until the value is there."""
    for _ in range(int(seconds / 0.02)):
        value = await check()
        if value:
            return value
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to pass")
