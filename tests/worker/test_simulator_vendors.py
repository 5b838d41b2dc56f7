"""The personalities of OpenRouter, Cerebras, RunPod and Hugging Face, read by the clients that know the shapes."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import pytest

from tests.support_net import CERTIFICATES
from tests.worker.vendors import account, gpt, one, until


async def test_openrouter_tells_the_cost_and_recovers_it() -> None:
    faults = [{"at": 2, "kind": "402"}, {"at": 3, "kind": "moderation"}]
    async with (
        one("openrouter", faults=faults) as running,
        gpt(running) as client,
        httpx.AsyncClient(trust_env=False, verify=CERTIFICATES) as http,
    ):
        ask: Any = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
        answer = await client.chat.completions.create(**ask)
        assert answer.usage is not None
        assert round(answer.usage.cost * 1e12) == account(running).cost_pusd  # type: ignore[attr-defined]
        with pytest.raises(openai.APIStatusError) as funds:
            await client.chat.completions.create(**ask)
        assert funds.value.status_code == 402
        with pytest.raises(openai.PermissionDeniedError):
            await client.chat.completions.create(**ask)
        url = running.base_urls["s"]
        assert (await http.get(f"{url}/generation", params={"id": answer.id})).json()["data"][
            "total_cost"
        ] == answer.usage.cost  # type: ignore[attr-defined]
        [model] = (await http.get(f"{url}/models")).json()["data"]
        assert (model["pricing"]["prompt"], model["pricing"]["completion"]) == ("0.00000015", "0.0000006")


async def test_openrouter_batches_carry_their_results() -> None:
    async with one("openrouter") as running, httpx.AsyncClient(trust_env=False, verify=CERTIFICATES) as http:
        rows = [{"custom_id": f"r{n}", "body": {"messages": [{"role": "user", "content": str(n)}]}} for n in range(5)]
        url = running.base_urls["s"] + "/batches"
        body = {"endpoint": "/v1/chat/completions", "model": "m", "completion_window": "24h", "requests": rows}
        made = await http.post(url, json=body)
        assert made.status_code == 202

        async def check() -> Any:
            batch = (await http.get(f"{url}/{made.json()['id']}")).json()
            return batch if batch["status"] == "completed" else None

        results = (await until(check))["results"]
        assert {each["custom_id"] for each in results} == {f"r{n}" for n in range(5)}
        cost = sum(each["response"]["body"]["usage"]["cost"] for each in results)
        assert round(cost * 1e12) == account(running).cost_pusd


async def test_cerebras_charges_the_longest_answer_beforehand() -> None:
    async with one("cerebras", tpm=9_000) as running, httpx.AsyncClient(trust_env=False, verify=CERTIFICATES) as http:
        url = running.base_urls["s"] + "/chat/completions"
        body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
        replies = [await http.post(url, json={**body, "max_completion_tokens": 100}) for _ in range(5)]
        assert [reply.status_code for reply in replies] == [200] * 5
        assert replies[0].json()["time_info"]["total_time"] >= 0
        assert int(replies[0].headers["x-ratelimit-remaining-tokens-minute"]) < 9_000
        greedy = [await http.post(url, json=body) for _ in range(2)]
        assert [reply.status_code for reply in greedy] == [200, 429]
        assert greedy[1].json()["code"] == "token_quota_exceeded"


async def test_runpod_hides_errors_in_200_and_is_paid_by_the_second() -> None:
    config = {"faults": [{"at": 2, "kind": "500"}], "usd_per_hour": 3.6, "cold_start_ms": 200, "idle_s": 0.1}
    async with one("runpod", **config) as running, httpx.AsyncClient(trust_env=False, verify=CERTIFICATES) as http:
        body = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
        started = asyncio.get_running_loop().time()
        first = await http.post(running.base_urls["s"] + "/chat/completions", json=body)
        assert first.json()["choices"]
        assert asyncio.get_running_loop().time() - started >= 0.2
        second = await http.post(running.base_urls["s"] + "/chat/completions", json=body)
        assert (second.status_code, second.json()["error"]["type"]) == (200, "worker_error")
        await asyncio.sleep(0.3)
        bill = (await http.get(running.control_url + "/bill")).json()["servers"]["s"]
        assert 0.29 < bill["worker_s"] < 0.6
        assert bill["worker_cost_pusd"] == pytest.approx(bill["worker_s"] * 1e9, rel=0.01)
        health = (await http.get(running.url("s") + "/v2/stand-in/health")).json()
        assert health["workers"]["running"] == health["workers"]["idle"] == 0


async def test_huggingface_serves_a_model_by_its_provider() -> None:
    async with (
        one("huggingface", model="org/name") as running,
        gpt(running) as client,
        httpx.AsyncClient(trust_env=False, verify=CERTIFICATES) as http,
    ):
        answer = await client.chat.completions.create(
            model="org/name:stand-in", messages=[{"role": "user", "content": "Hello."}]
        )
        assert answer.model == "org/name"
        [model] = (await http.get(running.base_urls["s"] + "/models")).json()["data"]
        assert model["providers"][0]["pricing"] == {"input": 0.15, "output": 0.6}
