"""CSV: values, delimiters, and rows that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import SourceError
from pipelines.shard import ROW_MAX_BYTES
from pipelines.types import BadRow, Row
from tests.worker.sources.reading import read, said, write

# -- CSV ---------------------------------------------------------------------------------------------------------------


def test_csv_values(tmp_path: Path) -> None:
    text = (
        "\ufeffid,prompt,temperature,max_tokens,stop,count,system\r\n"
        '1,"two\r\nlines, ""quoted""",0.5,100,END,7,\r\n'
        "\r\n"
        "2,plain,,,,,be brief\r\n"
    )
    rows = read(write(tmp_path / "a.csv", text.encode()))
    first, second = rows
    assert isinstance(first, Row) and isinstance(second, Row)
    assert (first.custom_id, said(rows)) == ("1", ['two\r\nlines, "quoted"', "plain"])
    assert {**first.body, "messages": 0} == {"messages": 0, "temperature": 0.5, "max_tokens": 100, "stop": "END"}
    assert first.tags == {"count": "7"}
    assert second.body["messages"][0] == {"role": "system", "content": "be brief"}
    assert set(second.body) == {"messages"}


def test_csv_bad_rows_name_their_line(tmp_path: Path) -> None:
    text = b'id,prompt\n1,"a\nb"\n2,x,y\n3\n4,\xff\n5,"q"x\n6,fine\n7,"never closed\n'
    rows = read(write(tmp_path / "a.csv", text))
    assert said(rows) == ["a\nb", "ragged_row", "ragged_row", "invalid_utf8", "not_csv", "fine", "not_csv"]
    messages = [row.message for row in rows if isinstance(row, BadRow)]
    assert [message.split(" ", 2)[:2] for message in messages] == [["line", str(line)] for line in (4, 5, 6, 7, 9)]


def test_csv_messages_column_is_json(tmp_path: Path) -> None:
    text = 'messages\n"[{""role"": ""user"", ""content"": ""hi""}]"\nhello\n'
    rows = read(write(tmp_path / "a.csv", text.encode()))
    assert said(rows) == ["hi", "invalid_messages"]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_csv_with_other_delimiters(tmp_path: Path, mark: str) -> None:
    assert said(read(write(tmp_path / "a.csv", f"id{mark}prompt\n1{mark}a, b\n".encode()))) == ["a, b"]


def test_csv_long_fields_and_too_long_rows(tmp_path: Path) -> None:
    text = b"prompt\n" + b"x" * 500_000 + b'\n"' + b"line\n" * (ROW_MAX_BYTES // 5) + b'"\nafter\n'
    rows = read(write(tmp_path / "a.csv", text))
    assert len(said(rows)[0]) == 500_000
    assert said(rows)[1] == "row_too_large"
    assert said(rows)[-1] == "after"


@pytest.mark.parametrize("head", [b"\n", b",,\n1,2,3\n", b"a,a\n1,2\n"])
def test_csv_without_a_header_is_an_error(tmp_path: Path, head: bytes) -> None:
    with pytest.raises(SourceError, match="header"):
        read(write(tmp_path / "a.csv", head))
