"""Every way in which a batch's input file can be wrong, on files in memory."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import polars as pl
import pytest

from pipelines.dialects.endpoints import CHAT_URL, RESPONSES_URL
from pipelines.shard import ROW_MAX_BYTES, parse_record
from pipelines.types import BadRow, Row
from producer.vetting import WRONG_MAX, Vetted, first_line_is_json, vet
from tests.support_serving import jsonl, line


def vetted(lines: list[Any] | bytes, models: set[str] | None = None, most_rows: int = 0) -> Vetted:
    content = lines if isinstance(lines, bytes) else jsonl(lines)
    return vet(io.BytesIO(content), "jsonl", CHAT_URL, models or {"gpt-4o-mini"}, most_rows)


def told(found: Vetted) -> list[tuple[int | None, str, str | None]]:
    return [(each.line, each.code, each.param) for each in found.wrong]


def test_a_file_in_order_is_counted_and_its_one_model_named() -> None:
    assert vetted([line("a", "x"), line("b", "y")]) == Vetted(2, "gpt-4o-mini")
    mixed = [line("a", "x"), line("b", "y", body={"model": "other"})]
    assert vetted(mixed, {"gpt-4o-mini", "other"}) == Vetted(2, None)
    assert vet(io.BytesIO(jsonl(mixed)), "jsonl", CHAT_URL, None).wrong == (), "without targets any model will do"


def test_a_byte_order_mark_blank_lines_and_crlf_are_no_mistake() -> None:
    content = b"\xef\xbb\xbf" + jsonl([line("a", "x"), "", "   ", line("b", "x")]).replace(b"\n", b"\r\n")
    assert vetted(content) == Vetted(2, "gpt-4o-mini")
    assert vetted(content.rstrip()) == Vetted(2, "gpt-4o-mini")
    assert first_line_is_json(io.BytesIO(content))


@pytest.mark.parametrize("missing", ["custom_id", "method", "url", "body"])
def test_a_missing_field_is_named(missing: str) -> None:
    record = {name: value for name, value in line("a", "x").items() if name != missing}
    (wrong,) = vetted([line("b", "x"), record]).wrong
    assert (wrong.code, wrong.param, wrong.line) == ("missing_required_parameter", missing, 2)
    assert "missing" in wrong.message.lower() and missing in wrong.message
    assert told(vetted([{**record, missing: None}])) == [(1, "missing_required_parameter", missing)]


@pytest.mark.parametrize(
    ("more", "code", "param", "words"),
    [
        ({"url": "/v1/embeddings"}, "invalid_url", "url", ["does not match", "endpoint"]),
        ({"method": "GET"}, "invalid_request", "method", ["POST"]),
        ({"custom_id": 7}, "invalid_request", "custom_id", ["custom_id"]),
        ({"custom_id": "x" * 513}, "invalid_request", "custom_id", ["512"]),
        ({"body": [1]}, "invalid_request", "body", ["object"]),
        ({"body": {"model": "gpt-4o-mini", "messages": [{}], "stream": True}}, "streaming_unsupported", "body.stream",
         ["not supported"]),
        ({"body": {"model": "who", "messages": [{}]}}, "model_not_found", "body.model", ["not supported", "who"]),
        ({"body": {"messages": [{}]}}, "invalid_request", "body.model", ["model"]),
        ({"body": {"model": "gpt-4o-mini"}}, "invalid_request", "body.messages", ["messages"]),
    ],
)  # fmt: skip
def test_each_mistake_has_its_code_and_param(more: dict[str, Any], code: str, param: str, words: list[str]) -> None:
    (wrong,) = vetted([line("ok", "x"), {**line("a", "x"), **more}]).wrong
    assert (wrong.code, wrong.param, wrong.line) == (code, param, 2)
    assert all(word in wrong.message for word in words)


def test_what_is_no_json_is_told_after_an_earlier_mistake() -> None:
    found = vetted([line("a", "x", body={"model": "who"}), "{not json", b"\xff".decode("latin-1"), "[" * 5000])
    assert told(found) == [
        (1, "model_not_found", "body.model"), (2, "invalid_json_line", None), (3, "invalid_json_line", None),
        (4, "invalid_json_line", None),
    ]  # fmt: skip
    assert "not" in found.wrong[1].message and "valid JSON" in found.wrong[1].message


def test_an_id_that_occurs_twice_is_told_where_it_does_so_again() -> None:
    lines = [line(name, "x") for name in ("a", "b", "a", "c", "a")]
    assert told(vetted(lines)) == [(3, "duplicate_custom_id", "custom_id"), (5, "duplicate_custom_id", "custom_id")]


def test_too_many_lines_fail_where_there_is_a_limit() -> None:
    lines = [line(str(number), "x") for number in range(11)]
    assert vetted(lines[:10], most_rows=10).wrong == ()
    assert told(vetted(lines, most_rows=10)) == [(None, "too_many_requests", None)]


def test_not_more_mistakes_are_told_than_anybody_reads() -> None:
    assert len(vetted(["x"] * 5000).wrong) == WRONG_MAX
    assert len(vetted([line("a", "x")] * 5000).wrong) == WRONG_MAX


def test_an_endless_line_is_skipped_in_constant_memory() -> None:
    content = b'{"a": "' + b"x" * (ROW_MAX_BYTES * 3) + b'"}\n' + jsonl([line("b", "x")])
    stream = io.BytesIO(content)
    tracemalloc.start()
    found = vet(stream, "jsonl", CHAT_URL, None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert told(found) == [(1, "invalid_request", None)] and found.rows == 2
    assert peak < 2 * ROW_MAX_BYTES + (8 << 20)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"hello", b"[1]\n{}", b"PK\x03\x04"])
def test_a_first_line_that_is_no_object_is_no_input(content: bytes) -> None:
    assert not first_line_is_json(io.BytesIO(content))


def test_every_line_that_passes_is_a_row_that_can_be_asked() -> None:
    """What this takes must not be refused further on for its shape."""
    content = jsonl([line("a", "x", body={"temperature": 0, "n": 1})])
    assert vetted(content).wrong == ()
    assert isinstance(parse_record(0, json.loads(content)), Row)


def test_a_parquet_row_is_judged_as_whoever_prepares_it_reads_it() -> None:
    body = json.dumps({"model": "gpt-4o-mini", "input": "x"})
    rows = {"custom_id": ["a", "b"], "body": [body, body], "url": [RESPONSES_URL, None]}
    written = io.BytesIO()
    pl.DataFrame(rows).write_parquet(written)
    found = vet(written, "parquet", RESPONSES_URL, {"gpt-4o-mini"})
    assert told(found) == [(2, "invalid_url", "url")]
    for url, kind in ((RESPONSES_URL, Row), (None, BadRow)):
        assert isinstance(parse_record(0, {"custom_id": "a", "body": json.loads(body), "url": url}), kind)
