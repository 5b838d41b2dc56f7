"""Which files a run names, what is refused before anything is enqueued, and what counts as a change."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines.errors import SourceError
from pipelines.files import WHOLE_DIGEST_BYTES, changed
from pipelines.types import Source
from producer import sources
from producer.sources import estimate, resolve

LINE = b'{"prompt": "hello"}\n'


def names(found: tuple[Source, ...]) -> list[str]:
    return [Path(source.url).name for source in found]


def refused(path: str | Path, base: Path | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        resolve([str(path)], base)
    message = str(caught.value)
    assert "\n" not in message
    return message


def put(path: Path, content: bytes = LINE) -> Path:
    path.write_bytes(content)
    return path


# -- names -------------------------------------------------------------------------------------------------------------


def test_globs_are_sorted_and_arguments_keep_their_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "z.csv"):
        put(tmp_path / name, b"prompt\nx\n" if name.endswith("csv") else LINE)
    (tmp_path / "dir.jsonl").mkdir()
    found = resolve(["z.csv", "*.jsonl", str(tmp_path / "a.*")], tmp_path)
    assert names(found) == ["z.csv", "a.jsonl", "b.jsonl"]
    assert all(Path(source.url).is_absolute() for source in found)


def test_recursive_globs_and_awkward_names(tmp_path: Path) -> None:
    (tmp_path / "x[1]" / "deep").mkdir(parents=True)
    put(tmp_path / "x[1]" / "deep" / "a.jsonl")
    put(tmp_path / "x[1]" / "data[2].jsonl")
    assert names(resolve(["**/*.jsonl"], tmp_path / "x[1]")) == ["data[2].jsonl", "a.jsonl"]
    assert names(resolve(["data[2].jsonl"], tmp_path / "x[1]")) == ["data[2].jsonl"]


def test_one_file_under_several_names_is_taken_once(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl")
    (tmp_path / "sub").mkdir()
    found = resolve(["a.jsonl", "sub/../a.jsonl", path.as_uri(), "./a.jsonl"], tmp_path)
    assert [source.url for source in found] == [str(path)]


def test_a_link_keeps_its_own_name(tmp_path: Path) -> None:
    blob = put(tmp_path / "0f3a")
    (tmp_path / "a.jsonl").symlink_to(blob)
    (found,) = resolve(["a.jsonl"], tmp_path)
    assert (names((found,)), found.format) == (["a.jsonl"], "jsonl")


@pytest.mark.parametrize(
    ("name", "form", "compression"),
    [
        ("a.jsonl", "jsonl", ""),
        ("a.ndjson", "jsonl", ""),
        ("a.json", "jsonl", ""),
        ("A.JSONL.GZ", "jsonl", "gz"),
        ("a.b.csv.zst", "csv", "zst"),
        ("a.parquet", "parquet", ""),
    ],
)
def test_formats(tmp_path: Path, name: str, form: str, compression: str) -> None:
    path = tmp_path / name
    content = b"prompt,id\nx,1\n" if form == "csv" else LINE
    if form == "parquet":
        pq.write_table(pa.table({"prompt": ["x"]}), path)
    else:
        pack = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress, "": bytes}[compression]
        put(path, pack(content))
    (found,) = resolve([name], tmp_path)
    assert (found.format, found.compression) == (form, compression)
    assert found.size_bytes == path.stat().st_size
    assert found.mtime_ns == path.stat().st_mtime_ns
    rows, _ = estimate(found)
    assert rows == 1


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_missing_things_are_named(tmp_path: Path) -> None:
    assert "nothing.jsonl: no such file" in refused("nothing.jsonl", tmp_path)
    assert "*.jsonl: no file matches" in refused("*.jsonl", tmp_path)
    assert "is a directory; name its files" in refused(tmp_path)
    assert "cannot be read" in refused("x" * 5000 + ".jsonl", tmp_path)
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert "not a regular file" in refused("pipe.jsonl", tmp_path)
    with pytest.raises(SourceError, match="no source given"):
        resolve([])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", LINE, "no supported format; rename it to one of .jsonl"),
        ("a.gz", gzip.compress(LINE, mtime=0), "no supported format"),
        ("noending", LINE, "no supported format"),
        ("a.parquet.gz", gzip.compress(b"PAR1", mtime=0), "unpack the .gz first"),
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b" \n\n", "the file is empty"),
        ("a.jsonl.gz", gzip.compress(b"", mtime=0), "the file is empty"),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress(b"\n"), "the file is empty"),
        ("a.jsonl", b"\xef\xbb\xbf\r\n\t\n", "the file is empty"),
        ("a.jsonl", b"\n" * (2 << 20) + LINE, "begins with over a MiB of blank lines"),
        ("a.csv", b"id,prompt\n", "has a header but no rows"),
        ("a.csv", b"id;prompt\r\n\r\n\n", "has a header but no rows"),
        ("a.csv.gz", gzip.compress(b'"id","a\nb"', mtime=0), "has a header but no rows"),
        ("a.jsonl.gz", LINE, "looks like text, but its name says gzip"),
        ("a.jsonl.zst", gzip.compress(LINE, mtime=0), "looks like gzip, but its name says zstd"),
        ("a.jsonl", gzip.compress(LINE, mtime=0), "looks like gzip, but its name says text"),
        ("a.jsonl", LINE.decode().encode("utf-16"), "looks like UTF-16"),
        ("a.csv", b"PK\x03\x04rest", "looks like zip"),
        ("a.parquet", LINE, "looks like text, but its name says Parquet"),
        ("a.jsonl.gz", gzip.compress(LINE, mtime=0)[:10], "its end is missing"),
        ("a.jsonl.zst", zstandard.ZstdCompressor().compress(LINE * 9)[:-3], "its end is missing"),
        ("a.parquet", b"PAR1 cut off in the middle", "the end of the Parquet file is missing"),
        ("a.json", b'\n[{"prompt": "x"}]', "holds a JSON array"),
        ("a.csv", b"\nx\n", "header"),
        ("a.csv", b",,\n1,2,3\n", "header"),
        ("a.csv", b"id,prompt,id\n", "'id' twice"),
        ("a.csv", b"pr\xffompt\nx\n", "header is not UTF-8"),
        ("a.csv", b'"prompt\nx\n', "header is not CSV"),
        ("a.jsonl.gz", gzip.compress(LINE, mtime=0)[:10] + b"\xff" * 30, "cannot be decompressed"),
    ],
)
def test_a_file_that_is_not_what_it_says(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    message = refused(put(tmp_path / name, content))
    assert reason in message
    assert name in message


def test_a_glob_does_not_skip_what_it_cannot_read(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl")
    put(tmp_path / "notes.txt")
    assert "notes.txt" in refused("*", tmp_path)


def test_unreachable_urls() -> None:
    assert "gopher://x/a.jsonl: cannot be opened" in refused("gopher://x/a.jsonl")
    message = refused("gopher://user:secret@x/a.jsonl?key=secret")
    assert "secret" not in message


def test_a_parquet_file_with_a_broken_footer(tmp_path: Path) -> None:
    path = put(tmp_path / "a.parquet", b"PAR1" + b"x" * 50 + (40).to_bytes(4, "little") + b"PAR1")
    assert "no readable Parquet file" in refused(path)


def test_a_parquet_file_without_rows(tmp_path: Path) -> None:
    pq.write_table(pa.schema({"prompt": pa.string()}).empty_table(), tmp_path / "a.parquet")
    assert "a.parquet: has columns but no rows" in refused(tmp_path / "a.parquet")


# -- remote objects: the same code over a local file's URL, for want of an object store --------------------------------


def test_remote_objects(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("in/b.jsonl", "in/a.jsonl", "in/c.csv", "in/deep/d.jsonl"):
        put(tmp_path / name, LINE)
    root = f"file://{tmp_path}"
    assert sources._expand_remote(f"{root}/in/*.jsonl") == [f"{root}/in/a.jsonl", f"{root}/in/b.jsonl"]
    assert sources._expand_remote(f"{root}/*/deep/?.jsonl") == [f"{root}/in/deep/d.jsonl"]
    with pytest.raises(SourceError, match="no object matches"):
        sources._expand_remote(f"{root}/in/*.parquet")
    found = sources.inspect(f"{root}/in/a.jsonl")
    (local,) = resolve([str(tmp_path / "in" / "a.jsonl")])
    assert changed(local, found) is None
    assert estimate(found) == estimate(local)
    with pytest.raises(SourceError, match="no such object"):
        sources.inspect(f"{root}/in/missing.jsonl")


# -- fingerprints ------------------------------------------------------------------------------------------------------


def test_a_touched_file_is_the_same_and_an_edited_one_is_not(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl")
    (old,) = resolve([str(path)])
    os.utime(path, ns=(1, 1))
    (touched,) = resolve([str(path)])
    assert touched.mtime_ns == 1
    assert changed(old, touched) is None
    put(path, LINE.replace(b"hello", b"jello"))
    (edited,) = resolve([str(path)])
    assert "content" in (changed(old, edited) or "")
    put(path, LINE * 2)
    (longer,) = resolve([str(path)])
    assert changed(old, longer) == f"its size was {len(LINE)} bytes and is {2 * len(LINE)}"


def test_a_large_file_is_sampled(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    size = WHOLE_DIGEST_BYTES + 12_345
    with path.open("wb") as stream:
        stream.write(LINE)
        stream.truncate(size)
    (old,) = resolve([str(path)])

    def after_writing(offset: int) -> Source:
        stat = path.stat()
        with path.open("r+b") as stream:
            stream.seek(offset)
            stream.write(b"!")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        return resolve([str(path)])[0]

    (same,) = resolve([str(path)])
    assert changed(old, same) is None
    assert "content" in (changed(old, after_writing(size - 1)) or "")
    assert "content" in (changed(old, after_writing(30)) or "")
    (before,) = resolve([str(path)])
    os.utime(path, ns=(1, 1))
    (touched,) = resolve([str(path)])
    assert "written again" in (changed(before, touched) or "")


# -- estimates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "jsonl.zst", "csv", "csv.zst"])
def test_estimates_of_large_files_are_close(tmp_path: Path, ending: str) -> None:
    count = 60_000
    if "csv" in ending:
        text = b"id,prompt\n" + b"".join(b'%d,"line\nof %d"\n' % (n, n * n) for n in range(count * 2))
        count *= 2
    else:
        text = b"".join(b'{"id": %d, "prompt": "what is %d?"}\n' % (n, n * n) for n in range(count))
    pack = gzip.compress if ending.endswith("gz") else zstandard.ZstdCompressor().compress
    path = put(tmp_path / f"a.{ending}", pack(text) if ending.endswith(("gz", "zst")) else text)
    rows, size_bytes = estimate(resolve([str(path)])[0])
    assert abs(rows - count) < 0.25 * count
    assert abs(size_bytes - len(text)) < 0.25 * len(text)


def test_small_files_and_parquet_are_counted_exactly(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl", LINE + b"\n  \n" + LINE[:-1])
    assert estimate(resolve([str(path)])[0]) == (2, path.stat().st_size)
    quoted = put(tmp_path / "b.csv", b'prompt\n"two\nlines"\nx\n')
    assert estimate(resolve([str(quoted)])[0])[0] == 2
    table = tmp_path / "c.parquet"
    pq.write_table(pa.table({"prompt": ["x"] * 12345}), table)
    assert estimate(resolve([str(table)])[0])[0] == 12345


def test_submitting_a_local_text_file_imports_nothing_heavy(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jsonl")
    code = (
        "import sys; from producer.sources import resolve, estimate; estimate(resolve([sys.argv[1]])[0]);"
        "sys.exit(' '.join({'pyarrow', 'polars', 'torch', 'numpy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert done.returncode == 0
