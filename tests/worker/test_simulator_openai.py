"""OpenAI's personality, read by its official client: chat, responses, files and batches."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.worker.vendors import account, gpt, one, until


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
