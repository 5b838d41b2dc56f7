"""`spillway results`: a run's rows as Parquet, JSON lines, CSV or OpenAI batch output, written whole or not at all."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
import typer

from pipelines import paths, wire
from pipelines.errors import StoreError, UsageError
from pipelines.printable import json_safe, printable
from producer.cli import session
from producer.cli.options import OfRun, taking

BLOCK_ROWS = 4096
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would run or swallow at the beginning of a cell."""
_JSON_COLUMNS = ("parsed", "tags", "response")
_MONEY_COLUMNS = ("cost_usd", "avoided_usd")
_NOT_RUN = {
    "expired": ("batch_expired", "This request was not executed before the deadline."),
    "cancelled": ("batch_cancelled", "This request was not executed because the run was cancelled."),
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results(OfRun):
    """Which run, in which form, where to."""

    format: Annotated[str, typer.Option(metavar="FORMAT", help="parquet, jsonl, csv or openai")] = "jsonl"
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="File to write [default: standard output]")] = None


@taking(Results)
def results(ask: Results) -> int:
    """Writes a finished run's rows, in input order."""
    if ask.format not in WRITERS:
        raise UsageError(f"--format {ask.format!r} is not one of {', '.join(WRITERS)}")
    root = session.settings_of(ask).spillway.data
    source = _results_file(root, ask.run)
    if ask.format == "parquet" and ask.out is None and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal; give --out PATH")
    with _target(ask.out) as target:
        WRITERS[ask.format](source, target)
    return 0


def _results_file(root: str, run_id: str) -> str:
    from producer.records import Records

    records = Records(root)
    record = records.read(run_id)
    if record is None:
        raise UsageError(f"no run {run_id[:64]!r} under {root}; `spillway status` lists the runs")
    name = records.path(paths.results(run_id))
    if record.get("status") not in wire.RUN_ENDED:
        raise UsageError(f"run {run_id} has not ended; `spillway status {run_id}` says how far it is")
    if "://" not in name and not Path(name).exists():
        raise StoreError(f"{name} is gone; `spillway run --fresh` makes it again")
    return name


@contextmanager
def _target(out: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears only when all of it is written."""
    from producer.records import whole_file

    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole_file(out, f"--out {out}") as staging, staging.open("wb") as file:
        yield file


def _parquet(source: str, target: BinaryIO) -> None:
    with _opened(source) as stream:
        shutil.copyfileobj(stream, target, 1 << 20)


def _jsonl(source: str, target: BinaryIO) -> None:
    encode = msgspec.json.Encoder().encode
    for row in _rows(source):
        for name in _JSON_COLUMNS:
            row[name] = _embedded(row[name])
        for name in _MONEY_COLUMNS:
            row[name] = f"{row[name]:f}"
        target.write(json_safe(encode(row).decode()).encode())
        target.write(b"\n")


def _csv(source: str, target: BinaryIO) -> None:
    text = io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    on_screen = target.isatty()
    for number, row in enumerate(_rows(source)):
        if number == 0:
            writer.writerow(row)
        cells = [csv_cell(value) for value in row.values()]
        writer.writerow([printable(cell) if on_screen and isinstance(cell, str) else cell for cell in cells])
    text.detach()


def _openai(source: str, target: BinaryIO) -> None:
    encode = msgspec.json.Encoder().encode
    for row in _rows(source):
        target.write(json_safe(encode(openai_line(row)).decode()).encode())
        target.write(b"\n")


WRITERS: Mapping[str, Callable[[str, BinaryIO], None]] = {
    "parquet": _parquet, "jsonl": _jsonl, "csv": _csv, "openai": _openai,
}  # fmt: skip


def csv_cell(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets a leading apostrophe; money and times stay plain."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    if value is None or isinstance(value, bool | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else f"{value:f}"


def openai_line(row: Row) -> Row:
    """One line of an OpenAI batch's output (or error) file."""
    request = f"batch_req_{row['run_id']}_{row['row']}"
    line: Row = {"id": request, "custom_id": row["custom_id"] or str(row["row"]), "response": None, "error": None}
    status = row["status"]
    if status in ("ok", "duplicate", "refused"):
        return {**line, "response": _response(200, request, _body(row))}
    if status in _NOT_RUN:
        code, message = _NOT_RUN[status]
        return {**line, "error": {"code": code, "message": message}}
    error = {"message": row["error_message"], "type": "invalid_request_error", "param": None, "code": row["error_code"]}
    if status == "failed":
        error["type"] = "server_error"
    return {
        **line,
        "response": _response(row["http_status"] or (400 if status == "invalid" else 500), request, {"error": error}),
    }


def _response(status: int, request: str, body: Any) -> Row:
    return {"status_code": status, "request_id": request, "body": body}


def _body(row: Row) -> Any:
    """The provider's own answer where it was kept, else one made of its parts."""
    if row["response"] is not None:
        return _embedded(row["response"])
    usage = {"prompt_tokens": row["input_tokens"] or 0, "completion_tokens": row["output_tokens"] or 0}
    message = {"role": "assistant", "content": row["output"], "refusal": None}
    return {
        "id": f"chatcmpl-{row['run_id']}-{row['row']}",
        "object": "chat.completion",
        "created": int(row["finished_at"].timestamp()) if row["finished_at"] else 0,
        "model": row["model"],
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": row["finish_reason"] or "stop"}
        ],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }


def _embedded(text: str | None) -> Any:
    """JSON inside JSON as itself; what is no JSON stays text."""
    if text is None:
        return None
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return text
    return msgspec.Raw(text.encode())


def _rows(source: str) -> Iterable[Row]:
    import pyarrow.parquet as pq

    with _opened(source) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(BLOCK_ROWS):
            yield from batch.to_pylist()


@contextmanager
def _opened(source: str) -> Iterator[Any]:
    if "://" not in source:
        with Path(source).open("rb") as file:
            yield file
        return
    from pyarrow import fs

    store, where = fs.FileSystem.from_uri(source)
    with store.open_input_file(where) as stream:
        yield stream
