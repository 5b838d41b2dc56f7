"""Gemini's personality: content blocks, errors and batches."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.support_net import CERTIFICATES
from tests.worker.vendors import KEY, account, one, until


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
