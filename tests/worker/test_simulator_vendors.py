"""The vendors' personalities, read by those who know the shapes: the official clients where they are installed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import openai
import pytest

from tests.support_net import CERTIFICATES
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


# OpenAI


async def test_openai_client_chats_and_reads_errors() -> None:
    faults = [{"at": 3, "kind": "insufficient_quota"}, {"at": 4, "kind": "refusal"}]
    async with one("openai", faults=faults, reasoning_tokens=7) as running, gpt(running) as client:
        ask: Any = {"model": "m", "messages": [{"role": "user", "content": "Say yes or no."}]}
        answer = await client.chat.completions.create(**ask)
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None and answer.usage.completion_tokens_details is not None
        assert answer.usage.completion_tokens_details.reasoning_tokens == 7
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(**{**ask, "model": "unknown"})
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(**ask)
        assert caught.value.code == "insufficient_quota"
        assert (await client.chat.completions.create(**ask)).choices[0].message.refusal
        assert [model.id async for model in client.models.list()] == ["m"]


async def test_openai_client_reads_responses() -> None:
    faults = [{"at": 2, "kind": "refusal"}]
    async with one("openai", answer="echo", faults=faults) as running, gpt(running) as client:
        answer = await client.responses.create(model="m", input="Repeat this.", instructions="Be exact.")
        assert (answer.output_text, answer.status) == ("Repeat this.", "completed")
        assert answer.usage is not None
        assert answer.usage.total_tokens == account(running).input_tokens + account(running).output_tokens
        refused = await client.responses.create(model="m", input="Do harm.")
        assert refused.output[0].content[0].type == "refusal"  # type: ignore[union-attr,index]
        cut = await client.responses.create(model="m", input="one two three four five", max_output_tokens=2)
        assert cut.incomplete_details is not None
        assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def batch_lines(count: int) -> bytes:
    rows = [
        {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": "m", "messages": [{"role": "user", "content": f"row {number}"}]}}
        for number in range(count)
    ]  # fmt: skip
    return b"\n".join(json.dumps(row).encode() for row in rows)


async def start(client: openai.AsyncOpenAI, data: bytes) -> Any:
    file = await client.files.create(file=("rows.jsonl", data), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"spillway_batch": "b1"},
    )


async def ended(client: openai.AsyncOpenAI, identity: str) -> Any:
    async def check() -> Any:
        batch = await client.batches.retrieve(identity)
        return batch if batch.status in ("completed", "failed", "expired", "cancelled") else None

    return await until(check)


async def lines_of(client: openai.AsyncOpenAI, identity: str | None) -> list[Any]:
    assert identity is not None
    return [json.loads(line) for line in (await client.files.content(identity)).text.splitlines()]


async def test_openai_batch_runs_to_its_end_at_half_the_price() -> None:
    async with one("openai") as running, gpt(running) as client:
        batch = await start(client, batch_lines(20))
        assert (batch.status, batch.metadata) == ("validating", {"spillway_batch": "b1"})
        done = await ended(client, batch.id)
        assert (done.status, done.request_counts.completed, done.error_file_id) == ("completed", 20, None)
        lines = await lines_of(client, done.output_file_id)
        assert sorted(line["custom_id"] for line in lines) == sorted(f"r{number}" for number in range(20))
        assert [line["custom_id"] for line in lines] != [f"r{number}" for number in range(20)]
        usage = [line["response"]["body"]["usage"] for line in lines]
        assert sum(each["prompt_tokens"] for each in usage) == done.usage.input_tokens == account(running).input_tokens
        cost = sum(each["prompt_tokens"] * 75_000 + each["completion_tokens"] * 300_000 for each in usage)
        assert account(running).cost_pusd == cost
        assert {call.batch for call in running.bill.calls()} == {batch.id}


async def test_openai_batch_is_cancelled_with_what_it_has() -> None:
    async with one("openai", batch_latency_s=1.0) as running, gpt(running) as client:
        batch = await start(client, batch_lines(50))

        async def under_way() -> bool:
            return bool((await client.batches.retrieve(batch.id)).request_counts.completed)  # type: ignore[union-attr]

        await until(under_way)
        assert (await client.batches.cancel(batch.id)).status == "cancelling"
        done = await ended(client, batch.id)
        kept, rest = await lines_of(client, done.output_file_id), await lines_of(client, done.error_file_id)
        assert done.status == "cancelled"
        assert 0 < len(kept) < 50
        assert len(kept) + len(rest) == 50
        assert {line["error"]["code"] for line in rest} == {"batch_cancelled"}
        assert account(running).answered == len(kept)


@pytest.mark.parametrize(
    ("rule", "status", "completed"),
    [
        ({"kind": "expire", "share": 0.5}, "expired", 5),
        ({"kind": "errors"}, "completed", 0),
        ({"kind": "fail"}, "failed", 0),
        ({"kind": "token_limit"}, "failed", 0),
    ],
)
async def test_openai_batches_that_end_badly(rule: dict[str, Any], status: str, completed: int) -> None:
    async with one("openai", batch_faults=[rule], batch_window_s=0.6) as running, gpt(running) as client:
        done = await ended(client, (await start(client, batch_lines(10))).id)
        assert (done.status, done.request_counts.completed, account(running).answered) == (status, completed, completed)
        assert (done.output_file_id is None) is (completed == 0)
        if status == "failed":
            assert done.errors.data[0].code == (
                "token_limit_exceeded" if rule["kind"] == "token_limit" else "invalid_request"
            )
        else:
            assert len(await lines_of(client, done.error_file_id)) == 10 - completed


async def test_openai_batches_that_confuse_their_client() -> None:
    rules = [{"at": 1, "kind": "lost_create"}, {"at": 2, "kind": "429"}, {"at": 3, "kind": "late_cancel"}]
    async with one("openai", batch_faults=rules) as running, gpt(running) as client:
        with pytest.raises(openai.APIConnectionError):
            await start(client, batch_lines(3))
        [adopted] = [batch async for batch in client.batches.list()]
        assert adopted.metadata == {"spillway_batch": "b1"}
        with pytest.raises(openai.RateLimitError):
            await start(client, batch_lines(3))
        raced = await start(client, batch_lines(3))
        assert (await client.batches.cancel(raced.id)).status == "cancelling"
        assert (await ended(client, raced.id)).status == "completed"
        with pytest.raises(openai.ConflictError):
            await client.batches.cancel(raced.id)


async def test_openai_batches_keep_to_the_enqueued_token_cap() -> None:
    async with one("openai", batch_enqueued_tokens=50, batch_latency_s=30.0) as running, gpt(running) as client:
        first, second = await start(client, batch_lines(5)), await start(client, batch_lines(5))
        assert (await ended(client, second.id)).errors.data[0].code == "token_limit_exceeded"
        assert (await client.batches.retrieve(first.id)).status in ("validating", "in_progress")


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{not json", "invalid_json_line", None),
        (b"[1]", "invalid_request", None),
        (b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}', "missing_required_parameter", "body"),
        (b'{"custom_id": "a", "method": "POST", "url": "/v1/x", "body": {"model": "m"}}', "invalid_url", "url"),
        (batch_lines(1), "duplicate_custom_id", "custom_id"),
    ],
)
async def test_openai_batches_fail_as_a_whole_for_one_bad_line(line: bytes, code: str, param: str | None) -> None:
    async with one("openai") as running, gpt(running) as client:
        done = await ended(client, (await start(client, batch_lines(1) + b"\n" + line)).id)
        [error] = done.errors.data
        assert (done.status, error.code, error.param, error.line) == ("failed", code, param, 2)
        assert account(running).calls == 0


async def test_openai_refuses_files_and_batches_that_cannot_be() -> None:
    async with one("openai") as running, gpt(running) as client:
        with pytest.raises(openai.BadRequestError, match="jsonl"):
            await client.files.create(file=("a.jsonl", b"hello"), purpose="batch")
        file = await client.files.create(file=("a.jsonl", batch_lines(1)), purpose="batch")
        with pytest.raises(openai.BadRequestError, match="completion_window"):
            await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="1h")  # type: ignore[arg-type]
        assert (await client.files.delete(file.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.files.content(file.id)


async def test_openai_lists_batches_page_by_page() -> None:
    async with one("openai") as running, gpt(running) as client:
        made = [(await start(client, batch_lines(1))).id for _ in range(7)]
        listed = [batch.id async for batch in client.batches.list(limit=3)]
        assert listed == list(reversed(made))


# Anthropic


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


# Gemini


async def test_gemini_client_reads_content_blocks_and_errors() -> None:
    genai = pytest.importorskip("google.genai")
    faults = [{"at": 2, "kind": "content_filter"}, {"at": 3, "kind": "429_day"}]
    async with one("gemini", faults=faults, reasoning_tokens=5, answer="json") as running:
        options = {"base_url": running.url("s"), "api_version": "v1beta"}
        client = genai.Client(api_key=KEY, http_options=options)
        schema = {
            "type": "OBJECT",
            "properties": {"label": {"type": "STRING", "enum": ["a", "b"]}},
            "required": ["label"],
        }
        config = {
            "response_mime_type": "application/json",
            "response_schema": schema,
            "system_instruction": "Be brief.",
        }
        answer = await asyncio.to_thread(client.models.generate_content, model="m", contents="Label it.", config=config)
        assert json.loads(answer.text)["label"] in ("a", "b")
        usage = answer.usage_metadata
        assert (usage.thoughts_token_count, account(running).reasoning_tokens) == (5, 5)
        assert usage.candidates_token_count + 5 == account(running).output_tokens
        blocked = await asyncio.to_thread(client.models.generate_content, model="m", contents="Label it.")
        assert not blocked.candidates
        assert blocked.prompt_feedback.block_reason.name == "SAFETY"
        with pytest.raises(genai.errors.ClientError) as caught:
            await asyncio.to_thread(client.models.generate_content, model="m", contents="Label it.")
        details = json.dumps(caught.value.details)
        assert caught.value.code == 429
        assert "PerDay" in details
        assert '"22s"' in details
        assert (await asyncio.to_thread(client.models.count_tokens, model="m", contents="Label it.")).total_tokens == 7


@pytest.mark.parametrize("kind", ["", "swapped_keys"])
async def test_gemini_batches_come_back_by_key(kind: str) -> None:
    genai = pytest.importorskip("google.genai")
    rules = [{"kind": kind}] if kind else []
    async with one("gemini", answer="echo", batch_faults=rules) as running:
        client = genai.Client(api_key=KEY, http_options={"base_url": running.url("s"), "api_version": "v1beta"})
        rows = [
            {"contents": [{"parts": [{"text": f"row {n}"}], "role": "user"}], "metadata": {"key": f"k{n}"}}
            for n in range(6)
        ]
        job = await asyncio.to_thread(client.batches.create, model="m", src=rows, config={"display_name": "b1"})

        async def check() -> Any:
            found = await asyncio.to_thread(client.batches.get, name=job.name)
            return found if found.state.name == "JOB_STATE_SUCCEEDED" else None

        done = await until(check)
        got = {each.metadata["key"]: each.response.text for each in done.dest.inlined_responses}
        expected = {f"k{n}": f"row {n}" for n in range(6)}
        assert (got == expected) is (kind == "")
        assert sorted(got) == sorted(expected)
        assert done.display_name == "b1"
        assert account(running).answered == 6


async def test_gemini_batches_by_file() -> None:
    async with one("gemini", answer="echo") as running, httpx.AsyncClient(trust_env=False, verify=CERTIFICATES) as http:
        rows = [{"key": f"k{n}", "request": {"contents": [{"parts": [{"text": f"row {n}"}]}]}} for n in range(4)]
        begun = await http.post(running.url("s") + "/upload/v1beta/files", headers={"x-goog-upload-command": "start"})
        data = "\n".join(map(json.dumps, rows))
        file = (
            await http.post(
                begun.headers["x-goog-upload-url"], content=data, headers={"x-goog-upload-command": "upload, finalize"}
            )
        ).json()["file"]
        batch = {"displayName": "b", "inputConfig": {"fileName": file["name"]}}
        url = running.base_urls["s"]
        name = (await http.post(f"{url}/models/m:batchGenerateContent", json={"batch": batch})).json()["name"]

        async def check() -> Any:
            operation = (await http.get(f"{url}/{name}")).json()
            return operation if operation["done"] else None

        output = (await until(check))["response"]["responsesFile"]
        text = (await http.get(f"{running.url('s')}/download/v1beta/{output}:download?alt=media")).text
        got = {
            row["key"]: row["response"]["candidates"][0]["content"]["parts"][0]["text"]
            for row in map(json.loads, text.splitlines())
        }
        assert got == {f"k{n}": f"row {n}" for n in range(4)}


# OpenRouter, Cerebras, RunPod, Hugging Face


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
