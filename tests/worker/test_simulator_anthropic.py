"""Anthropic's personality: messages, errors and batches."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.support_net import CERTIFICATES
from tests.worker.vendors import KEY, one, until


async def test_anthropic_client_reads_messages_and_errors() -> None:
    anthropic = pytest.importorskip("anthropic")
    faults = [{"at": 3, "kind": "503"}, {"at": 4, "kind": "insufficient_quota"}, {"at": 5, "kind": "refusal"}]
    cache = {
        "prefix_cache_tokens": 100_000,
        "prefix_min_tokens": 0,
        "prefix_block_tokens": 16,
        "usd_per_mtok_cached": 0.015,
    }
    async with (
        one("anthropic", faults=faults, **cache, usd_per_mtok_cache_write=0.1875) as running,
        AsyncExitStack() as stack,
    ):
        client = await stack.enter_async_context(
            anthropic.AsyncAnthropic(api_key=KEY, base_url=running.base_urls["s"], max_retries=0)
        )
        system = [{"type": "text", "text": "A long instruction. " * 30, "cache_control": {"type": "ephemeral"}}]
        ask: Any = {
            "model": "m",
            "max_tokens": 50,
            "system": system,
            "messages": [{"role": "user", "content": "Hello."}],
        }
        first, second = await client.messages.create(**ask), await client.messages.create(**ask)
        assert (first.stop_reason, first.content[0].type) == ("end_turn", "text")
        assert first.usage.cache_creation_input_tokens > 100
        assert second.usage.cache_read_input_tokens == first.usage.cache_creation_input_tokens
        total = first.usage.input_tokens + first.usage.cache_creation_input_tokens
        assert total == second.usage.input_tokens + second.usage.cache_read_input_tokens
        lines = list(running.bill.calls())
        cost = first.usage.input_tokens * 150_000 + first.usage.cache_creation_input_tokens * 187_500
        assert lines[0].cost_pusd == cost + first.usage.output_tokens * 600_000
        with pytest.raises(anthropic.APIStatusError) as overloaded:
            await client.messages.create(**ask)
        assert (overloaded.value.status_code, overloaded.value.body["error"]["type"]) == (529, "overloaded_error")
        with pytest.raises(anthropic.RateLimitError) as spent:
            await client.messages.create(**ask)
        assert spent.value.body["error"]["details"]["error_code"] == "enforced_spend_limit_reached"
        refused = await client.messages.create(**ask)
        assert (refused.stop_reason, refused.stop_details.type) == ("refusal", "refusal")
        count = await client.messages.count_tokens(model="m", messages=ask["messages"])
        assert count.input_tokens == 6


async def test_anthropic_refuses_sampling_parameters_in_its_new_version() -> None:
    async with one("anthropic") as running, httpx.AsyncClient(trust_env=False, verify=CERTIFICATES) as http:
        body = {"model": "m", "max_tokens": 5, "temperature": 0, "messages": [{"role": "user", "content": "Hello."}]}
        for version, status in (("2023-06-01", 200), ("2026-10-21", 400)):
            headers = {"anthropic-version": version, "x-api-key": KEY}
            response = await http.post(running.base_urls["s"] + "/v1/messages", json=body, headers=headers)
            assert response.status_code == status


async def test_anthropic_batches_show_nothing_until_they_have_ended() -> None:
    anthropic = pytest.importorskip("anthropic")
    rules = [{"at": 2, "kind": "expire", "share": 0.5}]
    async with one("anthropic", batch_faults=rules, batch_window_s=0.8) as running, AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            anthropic.AsyncAnthropic(api_key=KEY, base_url=running.base_urls["s"], max_retries=0)
        )
        rows: Any = [
            {
                "custom_id": f"r{number}",
                "params": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": str(number)}]},
            }
            for number in range(10)
        ]
        rows[3]["params"]["max_tokens"] = -1

        async def run() -> tuple[Any, dict[str, str]]:
            made = await client.messages.batches.create(requests=rows)
            assert (made.processing_status, made.request_counts.processing) == ("in_progress", 10)

            async def check() -> Any:
                batch = await client.messages.batches.retrieve(made.id)
                assert batch.processing_status == "ended" or batch.request_counts.succeeded == 0
                return batch if batch.processing_status == "ended" else None

            batch = await until(check)
            return batch, {
                line.custom_id: line.result.type async for line in await client.messages.batches.results(made.id)
            }

        done, results = await run()
        assert (done.request_counts.succeeded, done.request_counts.errored) == (9, 1)
        assert (len(results), results["r3"]) == (10, "errored")
        done, results = await run()
        assert list(results.values()).count("expired") == done.request_counts.expired == 5
        assert len(results) == 10
