"""Parquet: values as JSON, wrong columns and cells, damaged pages."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import SourceError
from pipelines.shard import ROW_MAX_BYTES
from pipelines.types import BadRow, Row
from tests.worker.sources.reading import read, said, source, walk
from worker.sources.source import Reader

# -- Parquet -----------------------------------------------------------------------------------------------------------


def test_parquet_values_become_json(tmp_path: Path) -> None:
    moment = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)
    table = pa.table(
        {
            "prompt": ["p"],
            "temperature": pa.array([Decimal("0.5")], pa.decimal128(4, 2)),
            "max_tokens": pa.array([20.0]),
            "price": pa.array([Decimal("12.30")], pa.decimal128(10, 2)),
            "when": pa.array([moment], pa.timestamp("ns", "Europe/Berlin")),
            "day": pa.array([moment.date()]),
            "list": pa.array([[1, None]]),
            "struct": pa.array([{"a": [Decimal("1.5")], "b": float("nan")}]),
            "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
            "text": pa.array([b"text"]),
            "bytes": pa.array([b"\xff\x00"]),
            "missing": pa.array([float("nan")]),
            "label": pa.array(["l"]).dictionary_encode(),
            "nothing": pa.nulls(1),
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    (row,) = read(path)
    assert isinstance(row, Row)
    assert row.body == {"messages": [{"role": "user", "content": "p"}], "temperature": 0.5, "max_tokens": 20}
    assert row.tags == {
        "price": "12.30", "when": "2024-05-01T12:30:00+00:00", "day": "2024-05-01", "list": [1, None],
        "struct": {"a": ["1.5"], "b": None}, "map": {"k": 1}, "text": "text", "bytes": "/wA=", "label": "l",
    }  # fmt: skip
    msgspec.json.encode(row.tags)


def test_parquet_messages_bodies_and_bad_cells(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hi", "tool_calls": None}]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"messages": [messages], "temperature": [float("nan")]}), path)
    assert said(read(path)) == ["not_finite"]
    pq.write_table(pa.table({"messages": [messages, None], "id": ["a", "b"]}), path)
    first, second = read(path)
    assert isinstance(first, Row) and isinstance(second, BadRow)
    assert first.body["messages"] == [{"role": "user", "content": "hi"}]
    assert (second.code, second.custom_id) == ("no_prompt", "b")
    body = {"model": "m", "messages": messages, "temperature": None}
    pq.write_table(pa.table({"custom_id": ["a"], "url": ["/v1/chat/completions"], "body": [body]}), path)
    assert said(read(path)) == ["hi"]


def test_parquet_with_a_wrong_column_names_what_it_found(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"question": ["a"], "answer": ["b"]}), path)
    (row,) = read(path)
    assert isinstance(row, BadRow)
    assert "'question', 'answer'" in row.message
    pq.write_table(pa.table({"prompt": [1, 2]}), path)
    assert said(read(path)) == ["invalid_prompt", "invalid_prompt"]


def test_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"\xff\xfe", None])
    wrong = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0])
    path = tmp_path / "a.parquet"
    for column in (raw, wrong):
        pq.write_table(pa.table({"prompt": column}), path)
        assert said(read(path)) == ["good", "invalid_utf8", "no_prompt"]


def test_parquet_row_too_large(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": ["a", "x" * (ROW_MAX_BYTES + 1), "b"]}), path)
    assert said(read(path)) == ["a", "row_too_large", "b"]


def test_a_damaged_page_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": [f"{n}" * 50 for n in range(10_000)]}), path, row_group_size=1000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.parquet: cannot be read beyond row [1-9]\d{3} "):
        walk(Reader((source(path),)), 100, restart=False)
