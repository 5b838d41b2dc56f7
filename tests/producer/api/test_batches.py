"""OpenAI's Files and Batches with the official client: the way of a batch, its files, and what is said of errors."""

from __future__ import annotations

import json
import time
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types import Batch, FileObject

from tests.support_serving import Server, jsonl, line

CHAT = "/v1/chat/completions"


def put(client: OpenAI, content: bytes, **more: Any) -> FileObject:
    return client.files.create(file=("input.jsonl", content), purpose="batch", **more)


def make(client: OpenAI, file_id: str, **more: Any) -> Batch:
    asked: Any = {"endpoint": CHAT, "completion_window": "24h", **more}
    return client.batches.create(input_file_id=file_id, **asked)


def ended(client: OpenAI, batch_id: str, seconds: float = 10) -> Batch:
    until = time.monotonic() + seconds
    while (batch := client.batches.retrieve(batch_id)).status not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < until, batch
        time.sleep(0.05)
    return batch


def lines_of(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [json.loads(each) for each in client.files.content(file_id).text.splitlines()] if file_id else []


def test_a_file_goes_in_and_comes_out_as_it_was(server: Server) -> None:
    content = jsonl([line("a", "Name a colour."), line("b", "REFUSE this."), line("c", "Name a fruit.")])
    with server.openai() as client:
        file = put(client, content)
        assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(content), "input.jsonl", "batch")
        assert file.status == "processed" and file.expires_at is not None
        assert file.expires_at - file.created_at == 30 * 86_400
        assert client.files.retrieve(file.id) == file and client.files.wait_for_processing(file.id) == file
        assert client.files.content(file.id).content == content
        assert file.id in [each.id for each in client.files.list(purpose="batch", limit=5)]
        assert client.files.delete(file.id).deleted
        for gone in (client.files.retrieve, client.files.content, client.files.delete):
            with pytest.raises(openai.NotFoundError):
                gone(file.id)
        assert file.id not in [each.id for each in client.files.list()]


def test_a_batch_goes_its_whole_way(server: Server) -> None:
    lines = [line("a", "Name a colour."), line("b", "REFUSE this."), line("c", "Name a fruit.")]
    with server.openai() as client:
        batch = make(client, put(client, jsonl(lines)).id, metadata={"tag": "x"})
        assert (batch.object, batch.status, batch.errors) == ("batch", "validating", None)
        assert batch.metadata == {"tag": "x"} and batch.endpoint == CHAT and batch.completion_window == "24h"
        assert batch.request_counts is not None and batch.request_counts.total == 0
        assert batch.expires_at == batch.created_at + 86_400
        done = ended(client, batch.id)
        assert done.status == "completed" and done.request_counts is not None and done.usage is not None
        counts = done.request_counts
        assert (counts.total, counts.completed, counts.failed) == (3, 2, 1)
        for at in (done.in_progress_at, done.finalizing_at, done.completed_at):
            assert at is not None and at >= done.created_at
        out, wrong = lines_of(client, done.output_file_id), lines_of(client, done.error_file_id)
        assert {each["custom_id"] for each in out} == {"a", "c"}
        for each in out:
            assert each["error"] is None and each["id"].startswith("batch_req_")
            assert each["response"]["status_code"] == 200 and each["response"]["request_id"]
            assert each["response"]["body"]["choices"][0]["message"]["content"]
        total = sum(each["response"]["body"]["usage"]["total_tokens"] for each in out)
        assert done.usage.total_tokens == total > 0
        (refused,) = wrong
        assert refused["custom_id"] == "b" and refused["error"] is None
        assert refused["response"]["status_code"] == 400 and refused["response"]["body"]["error"]["message"]
        file = client.files.retrieve(done.output_file_id or "")
        assert file.purpose == "batch_output" and file.bytes == len(client.files.content(file.id).content)


def test_a_batch_of_failures_alone_has_no_output_file(server: Server) -> None:
    with server.openai() as client:
        done = ended(client, make(client, put(client, jsonl([line("a", "REFUSE 1"), line("b", "REFUSE 2")])).id).id)
        assert (done.status, done.output_file_id) == ("completed", None)
        assert len(lines_of(client, done.error_file_id)) == 2
