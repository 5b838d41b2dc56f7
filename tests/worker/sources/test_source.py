"""Rows from every file format, from any cursor, from damaged files, and in constant memory."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import SourceError
from pipelines.rendering import compile_template
from pipelines.shard import ROW_MAX_BYTES
from pipelines.types import BadRow, Row
from producer.sources import inspect
from tests.worker.sources.reading import ALL, lines, read, said, source, walk, write
from worker.sources.source import Cursor, Reader, rows_at

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


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.csv.gz"])
def test_a_truncated_file_is_an_error_that_names_the_row(tmp_path: Path, name: str) -> None:
    path = many(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"cannot be read beyond row \d+ .*damaged"):
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
from tests.worker.sources.reading import source
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
