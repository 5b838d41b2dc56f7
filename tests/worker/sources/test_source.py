"""Rows from every file format, from any cursor, from damaged files, and in constant memory."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines import files, wire
from pipelines.errors import SourceError
from pipelines.rendering import Template, compile_template
from pipelines.shard import ROW_MAX_BYTES
from pipelines.types import BadRow, Row, Source
from producer.sources import inspect
from worker.sources.source import Cursor, Reader, rows_at

ALL = (1 << 20, 1 << 40)


def source(path: Path) -> Source:
    suffixes = path.name.split(".")
    compression = suffixes[-1] if suffixes[-1] in ("gz", "zst") else ""
    size, form = path.stat().st_size, suffixes[-2 if compression else -1]
    with path.open("rb") as stream:
        return Source(str(path), form, compression, size, path.stat().st_mtime_ns, files.digest(stream, size))


def write(path: Path, content: bytes) -> Path:
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".zst":
        content = zstandard.ZstdCompressor().compress(content)
    path.write_bytes(content)
    return path


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def read(*paths: Path, template: Template | None = None) -> list[Row | BadRow]:
    rows, cursor = Reader(tuple(source(path) for path in paths), template).read(Cursor(), *ALL)
    assert cursor is None
    return rows


def said(rows: list[Row | BadRow]) -> list[str]:
    """The prompt of each row, or the code of what is wrong with it."""
    return [row.body["messages"][-1]["content"] if isinstance(row, Row) else row.code for row in rows]


def walk(reader: Reader, max_rows: int, *, restart: bool) -> tuple[list[Row | BadRow], list[Cursor]]:
    """Reads all in steps; with `restart`, through a new reader and a cursor from JSON each time."""
    rows: list[Row | BadRow] = []
    cursor: Cursor | None = Cursor()
    cursors: list[Cursor] = []
    while cursor is not None:
        cursors.append(cursor)
        if restart:
            reader = Reader(reader._sources, reader._template)
            cursor = Cursor(**wire.load(wire.dump(cursor)))
        part, cursor = reader.read(cursor, max_rows, 1 << 40)
        rows += part
    return rows, cursors


# -- JSONL -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_jsonl_plain_and_compressed(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"a.jsonl{ending}", lines({"id": "a", "prompt": "one"}, {"prompt": "two"}))
    rows = read(path)
    assert said(rows) == ["one", "two"]
    assert [(row.row, row.custom_id) for row in rows] == [(0, "a"), (1, None)]


def test_jsonl_oddities(tmp_path: Path) -> None:
    content = (
        b'\xef\xbb\xbf{"prompt": "bom"}\r\n\n  \r\n{"prompt": "crlf"}\r\n{"prompt": "sep\xe2\x80\xa8 \x0c"}\n'.replace(
            b"\x0c", b"\\u000c"
        )
        + b'{"prompt": "no newline"}'
    )
    assert said(read(write(tmp_path / "a.jsonl", content))) == ["bom", "crlf", "sep\u2028 \x0c", "no newline"]


def test_jsonl_bad_lines_are_rows_with_a_reason(tmp_path: Path) -> None:
    content = b"\n".join(
        [
            b'{"prompt": "fine"}',
            b"{not json",
            b"[1]",
            b'{"id": "x", "prompt": "\xff"}',
            b'{"id": "y", "prompt": "p", "temperature": NaN}',
            b'{"id": 5, "prompt": "p", "score": 1e999}',
            b'{"id": "\\ud800", "prompt": "p"}',
            b"[" * 100_000,
            b'{"prompt": ' + b"[" * 700 + b"]" * 700 + b"}",
            b'{"prompt": "last"}',
        ]
    )
    rows = read(write(tmp_path / "a.jsonl", content))
    assert said(rows) == [
        *("fine", "not_json", "not_an_object", "invalid_utf8", "not_finite"),
        *("not_finite", "not_json", "too_deep", "invalid_prompt", "last"),
    ]
    assert [row.custom_id for row in rows[3:7]] == ["x", "y", "5", None]
    broken, nan = rows[1], rows[4]
    assert isinstance(broken, BadRow) and "line 2" in broken.message
    assert isinstance(nan, BadRow) and "`temperature`" in nan.message
    msgspec.json.encode(rows)


def test_line_numbers_survive_a_restart(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b'{"prompt": "a"}\n\n{"prompt": "b"}\nbroken\n')
    rows, _ = walk(Reader((source(path),)), 1, restart=True)
    assert isinstance(rows[2], BadRow)
    assert "line 4" in rows[2].message


@pytest.mark.parametrize("size", [ROW_MAX_BYTES + 1, 50_000_000])
@pytest.mark.parametrize("last", [False, True])
def test_a_line_too_long_is_one_bad_row(tmp_path: Path, size: int, last: bool) -> None:
    content = b'{"prompt": "a"}\n' + b"x" * size + (b"" if last else b'\n{"prompt": "b"}\n')
    rows, cursors = walk(Reader((source(write(tmp_path / "a.jsonl", content)),)), 1, restart=True)
    assert said(rows) == ["a", "row_too_large"] + ([] if last else ["b"])
    assert [cursor.row for cursor in cursors] == list(range(len(cursors)))


def test_the_longest_line_allowed_is_read(tmp_path: Path) -> None:
    frame = len(b'{"prompt": ""}')
    content = b'{"prompt": "a"}\n{"prompt": "' + b"x" * (ROW_MAX_BYTES - frame) + b'"}\n{"prompt": "b"}'
    assert [len(text) for text in said(read(write(tmp_path / "a.jsonl", content)))] == [1, ROW_MAX_BYTES - frame, 1]


# -- cursors -----------------------------------------------------------------------------------------------------------


def many(path: Path, count: int = 500) -> Path:
    """Rows of very different lengths, a broken one and a blank line among them; over a block for text formats."""
    rng = random.Random(5)
    texts = [f"{number} " + "é\n\"'," * rng.choice((0, 3, 5000)) + "end" for number in range(count)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"prompt": texts, "id": range(count)}), path, row_group_size=70)
    elif ".csv" in path.name:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(("id", "prompt"))
        for number, prompt in enumerate(texts):
            writer.writerow((number, prompt) if number != 33 else (number, prompt, "ragged"))
        write(path, text.getvalue().encode())
    else:
        records = [json.dumps({"id": number, "prompt": prompt}) for number, prompt in enumerate(texts)]
        records[33] = "broken"
        records[40] = ""
        write(path, "\n".join(records).encode())
    return path


NAMES = ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.csv", "a.csv.gz", "a.parquet")


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_reading_in_steps_gives_the_same_rows(tmp_path: Path, name: str, restart: bool) -> None:
    first, second = many(tmp_path / name), write(tmp_path / "z.jsonl", lines({"prompt": "z"}))
    whole = read(first, second)
    stepped, cursors = walk(Reader((source(first), source(second))), 37, restart=restart)
    assert stepped == whole
    assert [row.row for row in whole] == list(range(len(whole)))
    assert [cursor.row for cursor in cursors] == list(range(0, len(whole), 37))


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_read_again_from_a_chunk(tmp_path: Path, name: str) -> None:
    path = many(tmp_path / name)
    whole, cursors = walk(Reader((source(path),)), 100, restart=False)
    start = cursors[2]
    wanted = {start.row, start.row + 50, start.row + 99}
    again = rows_at(Reader((source(path),)), start, wanted)
    assert again == [whole[number] for number in sorted(wanted)]


def test_a_row_that_is_gone_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines({"prompt": "a"}))
    with pytest.raises(SourceError, match="row 5 is no longer"):
        rows_at(Reader((source(path),)), Cursor(), {0, 5})


def test_bytes_bound_a_chunk_but_one_row_always_comes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines(*({"prompt": "x" * 1000} for _ in range(10))))
    reader = Reader((source(path),))
    rows, cursor = reader.read(Cursor(), 100, 2500)
    assert len(rows) == 3
    assert cursor is not None
    assert len(reader.read(cursor, 100, 1)[0]) == 1


def test_reading_on_opens_the_file_once(tmp_path: Path) -> None:
    path = many(tmp_path / "a.jsonl.gz")
    reader = Reader((source(path),))
    rows, cursor = reader.read(Cursor(), 100, 1 << 40)
    path.unlink()
    while cursor is not None:
        part, cursor = reader.read(cursor, 100, 1 << 40)
        rows += part
    assert len(rows) == 499


def test_sources_with_nothing_in_them(tmp_path: Path) -> None:
    blank = write(tmp_path / "a.jsonl", b"\n\n")
    header = write(tmp_path / "b.csv", b"prompt,id\n")
    table = tmp_path / "c.parquet"
    pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), table)
    assert read(blank, header, table) == []
    assert said(read(blank, header, table, write(tmp_path / "d.jsonl", lines({"prompt": "d"})))) == ["d"]
    assert Reader(()).read(Cursor(), 10, 10) == ([], None)


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


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.csv.gz"])
def test_a_truncated_file_is_an_error_that_names_the_row(tmp_path: Path, name: str) -> None:
    path = many(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"cannot be read beyond row \d+ .*damaged"):
        walk(Reader((source(path),)), 100, restart=False)


def test_a_damaged_page_is_an_error_that_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": [f"{n}" * 50 for n in range(10_000)]}), path, row_group_size=1000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.parquet: cannot be read beyond row [1-9]\d{3} "):
        walk(Reader((source(path),)), 100, restart=False)


def test_a_file_that_changed_or_went_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines({"prompt": "a"}))
    seen = source(path)
    path.write_bytes(lines({"prompt": "a"}, {"prompt": "b"}))
    with pytest.raises(SourceError, match="changed since it was submitted"):
        Reader((seen,)).read(Cursor(), *ALL)
    write(path, lines({"prompt": "a"}))
    known = inspect(str(path))
    path.touch()
    assert Reader((known,)).read(Cursor(), *ALL)[0], "written again, and the same"
    write(path, lines({"prompt": "b"}))
    os.utime(path, ns=(0, known.mtime_ns + 1))
    with pytest.raises(SourceError, match=r"a\.jsonl: changed since .*the size is the same"):
        Reader((known,)).read(Cursor(), *ALL)
    os.utime(path, ns=(0, known.mtime_ns))
    with pytest.raises(SourceError, match=r"a\.jsonl: changed since .*the size is the same"):
        Reader((known,)).read(Cursor(), *ALL)
    path.unlink()
    with pytest.raises(SourceError, match="cannot be opened"):
        Reader((seen,)).read(Cursor(), *ALL)


@pytest.mark.parametrize("how", ["in its place", "by another file"])
def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path, how: str) -> None:
    """Also where its length and its time are set back to what they were."""
    path = write(tmp_path / "a.jsonl", lines(*({"prompt": f"a {i}"} for i in range(9))))
    known = inspect(str(path))
    reader = Reader((known,))
    rows, cursor = reader.read(Cursor(), 4, 1 << 40)
    assert len(rows) == 4 and cursor is not None
    other = path if how == "in its place" else tmp_path / "b.jsonl"
    write(other, lines(*({"prompt": f"b {i}"} for i in range(9))))
    other.replace(path)
    os.utime(path, ns=(0, known.mtime_ns))
    with pytest.raises(SourceError, match="the size is the same"):
        reader.read(cursor, 4, 1 << 40)


# -- templates ---------------------------------------------------------------------------------------------------------


def test_a_template_makes_prompts_of_any_record(tmp_path: Path) -> None:
    template = compile_template("{{ product }}, {{ n }} times: {{ text }}")
    path = write(tmp_path / "a.csv", b"id,product,n,text,temperature\n1,cup,003,good,0.5\n2,cup,,bad,\n3,,,,\n")
    rows = read(path, template=template)
    assert said(rows) == ["cup, 003 times: good", "cup,  times: bad", ",  times: "]
    first = rows[0]
    assert isinstance(first, Row)
    assert (first.custom_id, first.body["temperature"]) == ("1", 0.5)
    assert template.fields(first.tags) == ("cup", "003", "good")


def test_a_row_that_the_template_cannot_use_is_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines({"id": "a", "x": 1}, {"id": "b", "y": 2}))
    good, wrong = read(path, template=compile_template("{{ x }}"))
    assert isinstance(good, Row) and isinstance(wrong, BadRow)
    assert (wrong.code, wrong.custom_id, wrong.tags) == ("template_error", "b", {"y": 2})
    assert "'x'" in wrong.message


# -- memory ------------------------------------------------------------------------------------------------------------

_PEAK = """
import sys
from pathlib import Path
from tests.worker.sources.test_source import source
from worker.sources.source import Cursor, Reader
def high_water_kib():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
cursor, rows = Cursor(), 0
reader = Reader((source(Path(sys.argv[1])),))
base = high_water_kib()
while cursor is not None:
    part, cursor = reader.read(cursor, 256, 8 << 20)
    rows += len(part)
print(rows, (high_water_kib() - base) >> 10)
"""
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory use as Linux tells it")


def _peak_mib(path: Path) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True)
    rows, grown = done.stdout.split()
    return int(rows), int(grown)


@linux
def test_memory_does_not_grow_with_a_row_group(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rng = random.Random(1)
    texts = [rng.randbytes(1500).hex() for _ in range(40_000)]
    pq.write_table(pa.table({"prompt": texts}), path, row_group_size=1 << 30, compression="none", use_dictionary=False)
    assert path.stat().st_size > 110 << 20
    rows, grown_mib = _peak_mib(path)
    assert rows == 40_000
    assert grown_mib < 95  # Arrow's allocator keeps about 70 of its own, whatever the file's size


@linux
@pytest.mark.parametrize("ending", ["", ".zst"])
def test_memory_does_not_grow_with_a_line(tmp_path: Path, ending: str) -> None:
    content = b"x" * 150_000_000 + b"\n" + lines({"prompt": "a"})
    rows, grown_mib = _peak_mib(write(tmp_path / f"a.jsonl{ending}", content))
    assert rows == 2
    assert grown_mib < 60
