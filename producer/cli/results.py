"""`spillway results`: a run's rows as Parquet, JSON lines, CSV or OpenAI batch output, written whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from pipelines import paths, wire
from pipelines.errors import StoreError, UsageError
from producer.cli import session
from producer.cli.options import OfRun, taking
from producer.exports import FORMATS, write


@dataclass(frozen=True, slots=True, kw_only=True)
class Results(OfRun):
    """Which run, in which form, where to."""

    format: Annotated[str, typer.Option(metavar="FORMAT", help="parquet, jsonl, csv or openai")] = "jsonl"
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="File to write [default: standard output]")] = None


@taking(Results)
def results(ask: Results) -> int:
    """Writes a finished run's rows, in input order."""
    if ask.format not in FORMATS:
        raise UsageError(f"--format {ask.format!r} is not one of {', '.join(FORMATS)}")
    root = session.settings_of(ask).spillway.data
    source = _results_file(root, ask.run)
    if ask.format == "parquet" and ask.out is None and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal; give --out PATH")
    with _target(ask.out) as target:
        write(ask.format, source, target)
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
    from producer.store import whole_file

    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with whole_file(out, f"--out {out}") as staging, staging.open("wb") as file:
        yield file
