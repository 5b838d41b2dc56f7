"""`spillway doctor`: is this installation fit for work, or with --run: do a run's files hold. It mends nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from pipelines import paths
from pipelines.errors import QueueError, UsageError
from pipelines.printable import one_line
from producer.cli import frames, installation, say, session
from producer.cli.options import Output, taking

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.violation import Violation

FOUND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor(Output):
    """The installation, or one run."""

    run: Annotated[str | None, typer.Option(metavar="RUN", help="Check this run's files instead.")] = None


@taking(Doctor)
def doctor(ask: Doctor) -> int:
    """Checks the installation, or with --run that a run's files hold (exit 3 when something is wrong)."""
    settings = session.settings_of(ask)
    return asyncio.run(_files_of(ask, settings, ask.run)) if ask.run else asyncio.run(_installation(ask, settings))


# -- a run -----------------------------------------------------------------------------------------------------------


async def _files_of(ask: Doctor, settings: Settings, run_id: str) -> int:
    rows_in = await _rows_in(settings, run_id)
    root = settings.spillway.data
    if not frames.results_files(root, run_id):
        raise UsageError(f"run {run_id} has no results.parquet under {root}: it has not ended, or its files are gone")
    with frames.reading(f"run {run_id}"):
        broken = await asyncio.to_thread(_broken, root, run_id, rows_in)
    if ask.json:
        say.as_json({"run_id": run_id, "rows": rows_in, "violations": [msgspec.to_builtins(one) for one in broken]})
    elif broken:
        for violation in broken:
            print(violation.what if violation.row is None else f"row {violation.row} {violation.what}")
    else:
        print(f"run {run_id}: {rows_in:,} rows, every invariant holds")
    return FOUND if broken else 0


def _broken(root: str, run_id: str, rows_in: int) -> list[Violation]:
    """What does not hold of the run itself and of its duplicates of other runs."""
    import polars as pl

    from pipelines.invariants import check, check_across

    results, costs = frames.scan(root, run_id)
    chunks = frames.chunks(root, [run_id]) if frames.chunk_rows(root, run_id) is not None else None
    broken = check(results, costs, rows_in, chunks, frames.parts(root, run_id), frames.prices(root, run_id))
    if broken:
        return broken
    runs = results.select(pl.col("duplicate_run").drop_nulls().unique()).collect()["duplicate_run"].to_list()
    kept = [run for run in runs if paths.is_run_id(run) and frames.results_files(root, run)]
    return check_across(results, pl.concat([frames.scan(root, run)[0] for run in kept])) if kept else []


async def _rows_in(settings: Settings, run_id: str) -> int:
    """How many rows went in: as Redis counted them at intake, else as the chunk parts say; never from the results."""
    from producer import runs
    from producer.records import Records

    if not paths.is_run_id(run_id):
        raise UsageError(f"{run_id[:64]!r} is not a run id; `spillway status` lists the runs")
    with suppress(QueueError):  # files are judged without a Redis, too
        async with session.looking(settings) as found:
            if found is not None:
                fields = await runs.fields_of(found.redis, found.keys, run_id)
                if fields:
                    return runs.view(run_id, fields).rows
    chunks = frames.chunk_rows(settings.spillway.data, run_id)
    if chunks is not None:
        return chunks
    record = Records(settings.spillway.data).read(run_id)
    if record is None or not record.get("summary"):
        raise UsageError(f"no run {run_id!r} under {settings.spillway.data}; `spillway status` lists the runs")
    return int(record["summary"]["rows"])


# -- the installation ------------------------------------------------------------------------------------------------


async def _installation(ask: Doctor, settings: Settings) -> int:
    findings = await installation.look(settings)
    if ask.json:
        say.as_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            print(f"{finding.state:8} {finding.what:18} {one_line(finding.detail)}")
    return FOUND if any(finding.state == installation.BAD for finding in findings) else 0
