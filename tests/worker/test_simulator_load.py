"""The stand-in servers over real HTTP: what they refuse, and how much they do at once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from tests.worker.simulated import GPU, Client, one

# Limits and checks


async def test_requests_beyond_the_rate_get_429_with_the_wait() -> None:
    async with one(rpm=600, burst_s=1.0) as client:
        replies = [await client.chat(f"row {number}") for number in range(14)]
        refused = [reply for reply in replies if reply.status_code == 429]
        assert [reply.status_code for reply in replies[:10]] == [200] * 10
        assert refused and all(reply.headers["retry-after"] == "1" for reply in refused)
        assert replies[0].headers["x-ratelimit-limit-requests"] == "600"
        await asyncio.sleep(0.15)
        assert (await client.chat("later")).status_code == 200


async def test_tokens_beyond_the_rate_and_calls_at_once_get_429() -> None:
    async with one(tpm=6_000, burst_s=1.0) as client:
        replies = [(await client.chat("x" * 200, max_tokens=10)).status_code for _ in range(3)]
        assert replies == [200, 429, 429]
    async with one(max_parallel=3, latency_ms=150) as client:
        replies = [each.status_code for each in await asyncio.gather(*(client.chat(f"row {n}") for n in range(5)))]
        assert sorted(replies) == [200, 200, 200, 429, 429]


async def test_keys_models_and_windows_are_checked() -> None:
    async with one(api_key="sk-right", context_tokens=50) as client:
        assert (await client.chat("Hello.")).status_code == 401
        right = {"authorization": "Bearer sk-right"}
        assert (await client.chat("Hello.", headers=right)).status_code == 200
        assert (await client.chat("Hello.", headers=right, model="gpt-9")).json()["error"]["code"] == "model_not_found"
        overflow = (await client.chat("word " * 100, headers=right)).json()["error"]
        assert overflow["code"] == "context_length_exceeded"
        assert "maximum context length is 50 tokens" in overflow["message"]
        account = await client.bill()
        assert list(account["by_key"]) == ["sk-right"]
        assert account["outcomes"] == {"401": 1, "ok": 1, "404": 1, "context_overflow": 1}


@pytest.mark.parametrize(
    "body", [b"not json", b"[]", b'{"model": "gpt-4o-mini", "messages": []}', b'{"messages": 3}', b"\xff"]
)
async def test_bodies_that_are_no_requests_get_400(body: bytes) -> None:
    async with one() as client:
        response = await client.http.post(client.running.base_urls["s"] + "/chat/completions", content=body)
        assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")
        assert (await client.bill())["rejected"] == 1


# Capacity


async def test_slots_are_never_exceeded_and_the_queue_waits() -> None:
    async with one(**GPU, latency_ms=50) as client:
        started = time.monotonic()
        replies = await asyncio.gather(*(client.chat(f"row {number}") for number in range(16)))
        took_s = time.monotonic() - started
        assert {reply.status_code for reply in replies} == {200}
        figures = await client.status()
        assert (figures["max_busy_slots"], figures["max_in_flight"], figures["max_queued"]) == (4, 16, 12)
        assert took_s >= 0.2
        assert 0.75 < figures["busy_slot_s"] < 4.1 * took_s


@pytest.mark.parametrize("parallel", [1, 4, 16])
async def test_throughput_follows_the_curve(parallel: int) -> None:
    """T·n/(n + h) with T = 4000 and h = 8, in output tokens per second."""
    tokens, calls = 100, 4 * parallel
    config = {"slots": 64, "tokens_per_s": 4000.0, "half_at": 8.0, "prefill_share": 0.0, "output_tokens_median": tokens}
    async with one(personality="vllm", answer="text", **{**config, "slots": parallel}) as client:
        started = time.monotonic()
        await asyncio.gather(*(client.chat(f"row {number}") for number in range(calls)))
        rate = calls * tokens / (time.monotonic() - started)
        expected = 4000 * parallel / (parallel + 8)
        assert 0.6 * expected < rate < 1.05 * expected  # a busy machine makes it slower, nothing faster


async def test_prompts_are_read_one_after_the_other_beside_what_is_written() -> None:
    """Four prompts of 50 ms each: the last one waits 200, whatever the slots; and a short one that came first does not."""
    config = {"slots": 8, "tokens_per_s": 1e6, "half_at": 0.0, "prefill_tokens_per_s": 2000.0}
    async with one(personality="vllm", answer="hash", **config) as client:
        ends: dict[str, float] = {}

        async def ask(name: str, prompt: str) -> None:
            await client.chat(prompt)
            ends[name] = time.monotonic() - started

        started = time.monotonic()
        short = asyncio.create_task(ask("short", "x"))
        await asyncio.sleep(0.02)
        await asyncio.gather(short, *(ask(str(number), "word" * 96 + str(number)) for number in range(4)))
        assert max(ends.values()) >= 0.2 and ends["short"] == min(ends.values())


async def test_a_client_that_leaves_frees_a_local_slot_but_is_billed_by_a_cloud() -> None:
    async def leave(client: Client) -> dict[str, Any]:
        with pytest.raises(httpx.ReadTimeout):
            await client.chat("Hello.")
        await asyncio.sleep(0.4)
        return await client.bill()

    async with one(**GPU, latency_ms=300, timeout_s=0.1) as client:
        assert (await leave(client))["answered"] == 0
        assert (await client.status())["abandoned"] == 1
    async with one(latency_ms=300, timeout_s=0.1) as client:
        account = await leave(client)
        assert (account["answered"], account["delivered"], account["lost"]) == (1, 0, 1)
        assert account["outcomes"] == {"lost": 1}


async def test_a_stalled_answer_holds_its_slot_until_its_client_leaves() -> None:
    async with one(**{**GPU, "slots": 1}, faults=[{"at": 1, "kind": "stall"}], timeout_s=0.3) as client:
        stalled = asyncio.create_task(client.chat("Hello."))
        await asyncio.sleep(0.1)
        assert (await client.status())["busy_slots"] == 1
        waiting = asyncio.create_task(client.chat("Hello."))
        with pytest.raises(httpx.ReadTimeout):
            await stalled
        assert (await waiting).status_code == 200


async def test_a_full_queue_refuses() -> None:
    async with one(personality="ollama", max_queue=2, latency_ms=100) as client:
        replies = [reply.status_code for reply in await asyncio.gather(*(client.chat(f"row {n}") for n in range(5)))]
        assert sorted(replies) == [200, 200, 200, 503, 503]


async def test_another_model_is_loaded_when_asked_for_and_takes_time() -> None:
    async with one(**GPU, models=["llama"], swap_ms=200) as client:
        for model, least_s in (("qwen", 0.0), ("llama", 0.19), ("llama", 0.0), ("qwen", 0.19)):
            started = time.monotonic()
            assert (await client.chat("Hello.", model=model)).json()["model"] == model
            assert time.monotonic() - started >= least_s
        assert (await client.status())["model_swaps"] == 2
