"""OpenAI's Files and Batches with the official client: the way of a batch, its files, and what is said of errors."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import openai
import polars as pl
import pytest

from tests.support_serving import CHAT, Server, ended, fresh, jsonl, line, lines_of, make, put
from tests.support_upstream import Upstream


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


async def test_the_asynchronous_client_does_the_same(server: Server) -> None:
    async with server.async_openai() as client:
        file = await client.files.create(file=("a.jsonl", jsonl(fresh(2))), purpose="batch")
        batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        while (batch := await client.batches.retrieve(batch.id)).status != "completed":
            await asyncio.sleep(0.05)
        assert batch.output_file_id is not None
        content = await client.files.content(batch.output_file_id)
        assert len(content.text.splitlines()) == 2
        assert batch.id in [each.id async for each in client.batches.list(limit=1)]


def test_lists_page_by_themselves_newest_first(server: Server) -> None:
    with server.openai("pager") as client:
        file = put(client, jsonl(["{}"]))
        made = [make(client, file.id).id for _ in range(45)]
        listed = [each.id for each in client.batches.list(limit=20)]
        assert listed == made[::-1]
        page = client.batches.list(limit=20)
        assert page.has_more and len(page.data) == 20
        assert [each.id for each in client.batches.list(after=made[1])] == [made[0]]
        files = [put(client, b"{}").id for _ in range(5)]
        assert [each.id for each in client.files.list(limit=2)] == [*files[::-1], file.id]
        assert [each.id for each in client.files.list(limit=2, order="asc")] == [file.id, *files]
        client.files.delete(files[1])
        assert [each.id for each in client.files.list(after=files[1], limit=1)] == [files[0], file.id]
        assert list(client.files.list(purpose="batch_output")) == []


@pytest.mark.parametrize(
    ("wrong", "code", "param", "words"),
    [
        ({"endpoint": "/v1/nope"}, "invalid_value", "endpoint", ["invalid value", "/v1/nope", "supported values"]),
        ({"endpoint": "/v1/embeddings"}, "invalid_value", "endpoint", ["/v1/embeddings", "supported values"]),
        ({"completion_window": "49 days"}, "invalid_value", "completion_window", ["completion_window"]),
        ({"completion_window": ""}, "invalid_value", "completion_window", ["completion_window"]),
        ({"metadata": {"tags": ["a"]}}, "invalid_type", "metadata.tags", ["tags", "a string", "an array"]),
        ({"metadata": {"k": "v" * 513}}, "string_above_max_length", "metadata.k", ["512"]),
        ({"metadata": {str(i): "v" for i in range(17)}}, "object_above_max_properties", "metadata", ["16"]),
        (
            {"output_expires_after": {"anchor": "created_at", "seconds": 60}},
            "invalid_value",
            "output_expires_after.seconds",
            ["3600"],
        ),
    ],
)
def test_a_request_that_is_not_in_order_is_refused_at_once(
    server: Server, wrong: dict[str, Any], code: str, param: str, words: list[str]
) -> None:
    with server.openai() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            make(client, "file-x", **wrong)
        assert (refused.value.code, refused.value.param) == (code, param)
        assert refused.value.type == "invalid_request_error"
        assert all(word in refused.value.message.lower() for word in words)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "a.jsonl"), (b"not json\n", "a.jsonl"), (b"7\n", "a.jsonl"), (b"\n\n", "a.txt"),
        (jsonl([line("a", "x"), line("b", "y")]), "a.csv"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_input_is_not_taken(server: Server, content: bytes, name: str) -> None:
    folder = server.program.data / "files"
    before = set(folder.glob("*"))
    with server.openai("picky") as client:
        with pytest.raises(openai.BadRequestError) as refused:
            client.files.create(file=(name, content), purpose="batch")
        assert "invalid file format" in refused.value.message.lower() and "jsonl" in refused.value.message
        assert list(client.files.list()) == []
    assert set(folder.glob("*")) == before, "nothing of it is kept"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"purpose": "fine-tune"}, "purpose"),
        ({"expires_after": {"anchor": "created_at", "seconds": 60}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "never", "seconds": 3600}}, "expires_after.anchor"),
    ],
)
def test_an_upload_must_say_what_it_is_for(server: Server, more: dict[str, Any], param: str) -> None:
    with server.openai() as client, pytest.raises(openai.BadRequestError) as refused:
        client.files.create(**{"file": ("a.jsonl", b"{}"), "purpose": "batch", **more})
    assert refused.value.param == param


def test_an_unknown_input_file_fails_the_batch_and_not_the_request(server: Server) -> None:
    with server.openai() as client:
        for file_id in ("file-none", "../../etc/passwd", "x" * 500):
            failed = ended(client, make(client, file_id).id)
            assert failed.status == "failed" and failed.failed_at is not None and failed.errors is not None
            (error,) = failed.errors.data or []
            assert (error.code, error.param, error.line) == ("invalid_request", "file_id", None)
            assert "cannot find file" in (error.message or "").lower()


def test_every_mistake_of_a_file_is_told_with_its_line(server: Server) -> None:
    lines: list[Any] = [
        line("a", "x", body={"model": "nobody-knows"}), "not json", line("c", "x", url="/v1/embeddings"),
        line("d", "x", body={"stream": True}), {"method": "POST", "url": CHAT, "body": {}},
        line("f", "x", body={"model": ""}), line("g", "x", body={"messages": []}), "[1]", line("i", "x"), "",
        line("i", "x"),
    ]  # fmt: skip
    with server.openai() as client:
        failed = ended(client, make(client, put(client, jsonl(lines)).id).id)
        assert failed.status == "failed" and failed.errors is not None and failed.errors.data is not None
        assert [(each.line, each.code, each.param) for each in failed.errors.data] == [
            (1, "model_not_found", "body.model"),
            (2, "invalid_json_line", None),
            (3, "invalid_url", "url"),
            (4, "streaming_unsupported", "body.stream"),
            (5, "missing_required_parameter", "custom_id"),
            (6, "invalid_request", "body.model"),
            (7, "invalid_request", "body.messages"),
            (8, "invalid_request", None),
            (11, "duplicate_custom_id", "custom_id"),
        ]
        assert failed.output_file_id is None and failed.error_file_id is None


def test_an_unknown_batch_is_told_so(server: Server) -> None:
    with server.openai() as client:
        for call in (client.batches.retrieve, client.batches.cancel):
            with pytest.raises(openai.NotFoundError, match="No batch found"):
                call("batch_none")


def test_cancel_keeps_what_was_answered(server: Server, upstream: Upstream) -> None:
    upstream.control("*", latency_ms=400)
    try:
        with server.openai() as client:
            batch = make(client, put(client, jsonl(fresh(200))).id)
            until = time.monotonic() + 30
            while client.batches.retrieve(batch.id).request_counts.completed < 8:  # type: ignore[union-attr]
                assert time.monotonic() < until
                time.sleep(0.05)
            asked = client.batches.cancel(batch.id)
            assert asked.status == "cancelling" and asked.cancelling_at is not None
            done = ended(client, batch.id)
            assert done.status == "cancelled" and done.cancelled_at is not None and done.request_counts is not None
            out, rest = lines_of(client, done.output_file_id), lines_of(client, done.error_file_id)
            assert len(out) >= 8 and {each["error"]["code"] for each in rest} == {"batch_cancelled"}
            assert {each["custom_id"] for each in out + rest} == {f"r{i}" for i in range(200)}
            assert len(out) + len(rest) == done.request_counts.total == 200
            assert client.batches.cancel(batch.id).status == "cancelled", "twice is once"
    finally:
        upstream.control("*", latency_ms=20)


def test_cancel_at_once_works_too(server: Server) -> None:
    with server.openai() as client:
        batch = make(client, put(client, jsonl(fresh(50))).id)
        asked = client.batches.cancel(batch.id)
        assert asked.status in ("cancelling", "cancelled") and isinstance(asked.cancelling_at, int)
        done = ended(client, batch.id)
        assert done.status == "cancelled" and isinstance(done.cancelled_at, int)


def test_what_has_ended_cannot_be_cancelled_and_the_client_does_not_try_again(server: Server) -> None:
    with server.openai(max_retries=2) as client:
        batch = ended(client, make(client, put(client, jsonl(fresh(1))).id).id)
        client.files.delete(batch.output_file_id or "")
        with pytest.raises(openai.ConflictError, match=r"(?i)cannot cancel") as refused:
            client.batches.cancel(batch.id)
        assert (refused.value.code, refused.value.param) == (None, None)
        assert refused.value.response.headers["x-should-retry"] == "false"
        assert refused.value.request.headers["x-stainless-retry-count"] == "0"


def test_a_window_that_ends_leaves_what_was_answered(server: Server, upstream: Upstream) -> None:
    upstream.control("*", latency_ms=900)
    try:
        with server.openai() as client:
            batch = make(client, put(client, jsonl(fresh(400))).id, completion_window="4s")
            done = ended(client, batch.id)
            assert done.status == "expired" and done.expired_at is not None and done.request_counts is not None
            out, rest = lines_of(client, done.output_file_id), lines_of(client, done.error_file_id)
            assert out and rest and {each["error"]["code"] for each in rest} == {"batch_expired"}
            assert len({each["custom_id"] for each in out + rest}) == 400 == done.request_counts.total
    finally:
        upstream.control("*", latency_ms=20)


def test_another_client_sees_nothing(server: Server) -> None:
    with server.openai("owner") as mine, server.http("stranger") as theirs:
        file = put(mine, jsonl(fresh(1)))
        batch = ended(mine, make(mine, file.id).id)
        for kind, real, other in (
            ("files", file.id, f"file-{'0' * 32}"),
            ("files", batch.output_file_id or "", f"file-{'0' * 32}"),
            ("batches", batch.id, f"batch_{'0' * 32}"),
        ):
            tails = ["", "/content"] if kind == "files" else ["", "/cancel", "/retry", "/results"]
            for tail in tails:
                for method in ("GET", "POST", "DELETE"):
                    seen = theirs.request(method, f"/v1/{kind}/{real}{tail}")
                    none = theirs.request(method, f"/v1/{kind}/{other}{tail}")
                    assert seen.status_code == none.status_code >= 400
                    assert seen.text.replace(real, other) == none.text
            assert theirs.get(f"/v1/{kind}").json()["data"] == []
        stolen = theirs.post(
            "/v1/batches", json={"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
        ).json()
        with server.openai("stranger") as client:
            failed = ended(client, stolen["id"])
            assert failed.status == "failed" and failed.errors is not None and failed.errors.data is not None
            assert "cannot find file" in (failed.errors.data[0].message or "").lower()
        assert mine.files.retrieve(file.id).id == file.id


def test_a_file_that_is_deleted_while_it_is_read_is_gone_and_read_to_the_end(
    server: Server, upstream: Upstream
) -> None:
    upstream.control("*", latency_ms=200)
    try:
        with server.openai() as client, server.http() as http:
            file = put(client, jsonl(fresh(60)))
            batch = make(client, file.id)
            client.files.delete(file.id)
            with pytest.raises(openai.NotFoundError):
                client.files.retrieve(file.id)
            assert batch.id in [each.id for each in client.batches.list(limit=5)]
            done = ended(client, batch.id)
            assert done.status == "completed" and len(lines_of(client, done.output_file_id)) == 60
            until = time.monotonic() + 10
            while (server.program.data / "files" / f"{file.id}.jsonl").exists():
                assert time.monotonic() < until, "the last batch has ended"
                time.sleep(0.05)
            assert http.post(f"/v1/batches/{batch.id}/retry").status_code == 409
    finally:
        upstream.control("*", latency_ms=20)


def test_outputs_expire_when_they_were_asked_to(server: Server) -> None:
    with server.openai() as client:
        later = {"anchor": "created_at", "seconds": 7200}
        done = ended(client, make(client, put(client, jsonl(fresh(1))).id, output_expires_after=later).id)
        file = client.files.retrieve(done.output_file_id or "")
        assert file.expires_at == file.created_at + 7200
        input_file = put(client, b"{}", expires_after={"anchor": "created_at", "seconds": 3600})
        assert input_file.expires_at == input_file.created_at + 3600


def test_a_repeated_post_with_a_key_is_one_object_and_without_it_two(server: Server) -> None:
    with server.openai("once") as client:
        key = {"Idempotency-Key": "k-1"}
        files = {put(client, b"{}", extra_headers=key).id for _ in range(2)}
        assert len(files) == 1
        file_id = files.pop()
        assert len({make(client, file_id, extra_headers=key).id for _ in range(3)}) == 1
        assert len({make(client, file_id).id for _ in range(2)}) == 2
        with pytest.raises(openai.BadRequestError) as refused:
            make(client, file_id, metadata={"other": "body"}, extra_headers=key)
        assert refused.value.code == "idempotency_key_reused"
        assert len(list(client.batches.list())) == 3
    assert sum("likely a duplicate" in each for each in server.said) >= 1


def test_results_are_there_while_the_batch_runs(server: Server, upstream: Upstream) -> None:
    upstream.control("*", latency_ms=700)
    try:
        with server.openai() as client, server.http() as http:
            batch = make(client, put(client, jsonl(fresh(300))).id)
            until, early = time.monotonic() + 60, ""
            while not early:
                assert time.monotonic() < until
                early = http.get(f"/v1/batches/{batch.id}/results").text
                time.sleep(0.1)
            assert client.batches.retrieve(batch.id).status == "in_progress"
            upstream.control("*", latency_ms=20)
            done = ended(client, batch.id)
            whole = http.get(f"/v1/batches/{batch.id}/results").text.splitlines()
            assert len(whole) == 300 and {each["custom_id"] for each in map(json.loads, whole)} == {
                f"r{i}" for i in range(300)
            }
            assert set(early.splitlines()) <= set(whole), "what was told early is what is told at the end"
            assert sorted(whole) == sorted(client.files.content(done.output_file_id or "").text.splitlines())
    finally:
        upstream.control("*", latency_ms=20)


def test_parquet_goes_in_too(server: Server, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"custom_id": ["p1", "p2"], "prompt": ["Name a river.", "Name a lake."], "model": ["gpt-4o-mini"] * 2}
    )
    frame.write_parquet(tmp_path / "in.parquet")
    with server.openai() as client:
        file = client.files.create(file=tmp_path / "in.parquet", purpose="batch")
        done = ended(client, make(client, file.id).id)
        assert done.errors is None and done.status == "completed"
        assert {each["custom_id"] for each in lines_of(client, done.output_file_id)} == {"p1", "p2"}
        wrong = pl.DataFrame({"custom_id": ["p1", "p1"], "prompt": ["a", "b"], "model": ["gpt-4o-mini", "what"]})
        wrong.write_parquet(tmp_path / "wrong.parquet")
        failed = ended(
            client, make(client, client.files.create(file=tmp_path / "wrong.parquet", purpose="batch").id).id
        )
        assert failed.errors is not None
        assert [(e.code, e.line) for e in failed.errors.data or []] == [("model_not_found", 2)]


def test_files_that_mix_models_are_taken(server: Server) -> None:
    with server.openai() as client:
        lines = [line("a", "Name an animal."), line("b", "Name a plant.", body={"model": "gpu"})]
        done = ended(client, make(client, put(client, jsonl(lines)).id).id)
        assert done.status == "completed" and len(lines_of(client, done.output_file_id)) == 2
