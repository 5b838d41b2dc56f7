"""What a run came to: its figures from the files (unfinished: from Redis), the exit code, the copies for --out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import paths
from pipelines.errors import StoreError, UsageError
from pipelines.printable import one_line
from producer import exports
from producer.cli import frames, say
from producer.records import Records
from producer.store import opened, whole_file

if TYPE_CHECKING:
    from producer.runs import RunView

STATUSES = ("ok", "duplicate", "invalid", "failed", "refused")
OK, UNREADABLE, FAILED, INCOMPLETE = 0, 2, 3, 4
REASONS = 3
"""Reasons for rows without an answer that the end of a run names."""
_COUNTED = {"rows", *STATUSES, "calls", "local_calls", "cost_pusd", "avoided_pusd"}
_PICO = Decimal(10) ** -12


def exit_code(figures: Mapping[str, Any]) -> int:
    """Of 2, 4, 3, 0 the first that applies; a run as a whole fails only on its source."""
    if figures["status"] == "failed":
        return UNREADABLE
    if figures["unanswered"]:
        return INCOMPLETE
    return FAILED if figures["failed"] or figures["invalid"] or figures["refused"] else OK


def of_ended(records: Records, run_id: str, status: str, summary: Mapping[str, Any] | None) -> dict[str, Any]:
    """The contract's object for a run whose files are complete: as its worker counted them, else counted again."""
    if not frames.results_files(records.root, run_id):
        raise StoreError(f"{records.path(paths.results(run_id))} is gone; --fresh runs the source again")
    known = summary or {}
    counted = known if known.keys() >= _COUNTED else _count(records, run_id)
    calls = counted["calls"]
    return {
        "run_id": run_id,
        "status": status,
        "rows": counted["rows"],
        **{name: counted[name] for name in STATUSES},
        "unanswered": counted["rows"] - sum(counted[name] for name in STATUSES),
        "cost_usd": counted["cost_pusd"] * _PICO,
        "avoided_usd": counted["avoided_pusd"] * _PICO,
        "calls": calls,
        "local_calls": counted["local_calls"],
        "cloud_calls": calls - counted["local_calls"],
        "seconds": float(known.get("seconds") or 0),
        "results": records.path(paths.results(run_id)),
        "costs": records.path("costs"),
    }


def _count(records: Records, run_id: str) -> dict[str, int]:
    """What a summary should say, from the files themselves."""
    import polars as pl

    results, costs = frames.scan(records.root, run_id)
    with frames.reading(f"run {run_id}"):
        statuses = dict(results.group_by("status").len().collect().iter_rows())
        avoided = results.select(pl.col("avoided_usd").sum()).collect().item()
        cost = costs.select(pl.col("cost_usd").sum()).collect().item()
        lanes = dict(costs.group_by("lane").len().collect().iter_rows())
    return {
        "rows": sum(statuses.values()),
        **{name: statuses.get(name, 0) for name in STATUSES},
        "calls": sum(lanes.values()),
        "local_calls": lanes.get("local", 0),
        "cost_pusd": int(cost / _PICO),
        "avoided_pusd": int(avoided / _PICO),
    }


def of_unfinished(view: RunView, seconds: float) -> dict[str, Any]:
    """The same object for a run that goes on later: live counters, no files yet."""
    return {
        "run_id": view.run_id,
        "status": view.status,
        "rows": view.total,
        **{status: getattr(view, status) for status in STATUSES},
        "duplicate": view.reused,
        "unanswered": max(0, view.total - view.done),
        "cost_usd": view.cost_pusd * _PICO,
        "avoided_usd": view.avoided_pusd * _PICO,
        "calls": view.calls,
        "local_calls": view.local_calls,
        "cloud_calls": view.cloud_calls,
        "seconds": round(seconds, 3),
        "results": None,
        "costs": None,
    }


def prepare_out(out: Path | None) -> None:
    """Makes sure, before anything is paid, that the copies can be written."""
    if out is None:
        return
    probe = out / ".spillway-probe"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise UsageError(f"cannot write to --out {out}: {error.strerror or error}; choose another folder") from None


def copy_out(records: Records, figures: dict[str, Any], out: Path) -> dict[str, Any]:
    """results.parquet, costs.parquet and summary.json in `out`; returns the figures with the paths of the copies."""
    run_id, name = figures["run_id"], f"--out {out}"
    with whole_file(out / "results.parquet", name) as staging, staging.open("wb") as file:
        exports.write("parquet", records.path(paths.results(run_id)), file)
    with whole_file(out / "costs.parquet", name) as staging:
        _merge(frames.costs_files(records.root, run_id), staging)
    figures = {**figures, "results": str(out / "results.parquet"), "costs": str(out / "costs.parquet")}
    with whole_file(out / "summary.json", name) as staging:
        staging.write_text(say.to_json(figures) + "\n", encoding="utf-8")
    return figures


def _merge(files: list[str], target: Path) -> None:
    """The run's ledger parts as one file, part by part: memory does not grow with the run."""
    import pyarrow.parquet as pq

    from pipelines import schemas

    with pq.ParquetWriter(target, schemas.COSTS, compression="zstd") as writer:
        for file in files:
            with opened(file) as stream:
                writer.write_table(pq.read_table(stream).cast(schemas.COSTS))


# -- for people and programs -----------------------------------------------------------------------------------------


def tell(records: Records, figures: Mapping[str, Any], *, as_json: bool) -> int:
    """The end of a run, and its exit code."""
    if as_json:
        say.as_json(figures)
    else:
        describe(records, figures)
    return exit_code(figures)


def describe(records: Records, figures: Mapping[str, Any]) -> None:
    """The end of a run in a few lines and the savings report."""
    from pipelines import reports
    from pipelines.reports.shared.format import dollars, duration

    answered = figures["ok"] + figures["duplicate"]
    rest = ", ".join(
        f"{figures[name]:,} {name}" for name in ("invalid", "failed", "refused", "unanswered") if figures[name]
    )
    print(
        f"\nrun {figures['run_id']} {figures['status']} in {duration(figures['seconds'])}: "
        f"{answered:,} of {figures['rows']:,} rows answered ({figures['duplicate']:,} by duplicates)"
        + (f", {rest}" if rest else "")
    )
    print(
        f"{figures['calls']:,} calls, {figures['local_calls']:,} local and {figures['cloud_calls']:,} in the cloud; "
        f"spent {dollars(figures['cost_usd'])}, avoided {dollars(figures['avoided_usd'])}"
    )
    if figures["results"] is None:
        return
    for reason, rows in _reasons(records, figures):
        print(f"{rows:,} {'row' if rows == 1 else 'rows'}: {reason}")
    with frames.reading("the savings report"):
        savings = reports.load("savings").build(*frames.scan(records.root, figures["run_id"]), []).collect()
    say.table(savings.rows(named=True), savings.columns)
    print(f"results  {figures['results']}\ncosts    {figures['costs']}")


def _reasons(records: Records, figures: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Why rows have no answer: the most frequent kinds of reason, each by its first row's words, and their rows."""
    if not any(figures[name] for name in ("invalid", "failed", "refused")):
        return []
    import polars as pl

    with frames.reading("the results"):
        results, _ = frames.scan(records.root, figures["run_id"])
        why = pl.coalesce("error_message", "error_code")
        wrong = results.filter(pl.col("status").is_in(["invalid", "failed", "refused"]) & why.is_not_null())
        kinds = wrong.group_by(pl.coalesce("error_code", "status").alias("kind"))
        counted = kinds.agg(pl.len(), why.sort_by("row").first().alias("why"), (why.n_unique() > 1).alias("differ"))
        found = counted.sort("len", "kind", descending=[True, False]).head(REASONS).collect().rows()
    return [(one_line(f"{kind}, such as: {why}" if differ else why)[:200], rows) for kind, rows, why, differ in found]
