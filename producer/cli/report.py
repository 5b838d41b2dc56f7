"""`spillway report`: one report, narrowed, grouped and written in some form. The figures are pipelines/reports'."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.errors import UsageError
from producer.cli import frames, say, session
from producer.cli.options import Common, taking

if TYPE_CHECKING:
    import polars as pl

    from pipelines.reports.shared.sections import Extra, Section
    from pipelines.reports.shared.terms import Terms
    from pipelines.settings import Settings

SHOWN = 3
"""Unfinished runs that are named."""
FORMATS = ("table", "parquet", "csv", "json", "html")
WHOLE = ("table", "html")
"""These show what stands below the report too; the others are one table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Common):
    """Which report, of what, in which form."""

    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Which report; --list names them.")] = None
    list_: Annotated[bool, typer.Option("--list", help="Name every report.")] = False
    since: Annotated[str | None, typer.Option(metavar="WHEN", help="2026-03-01, 2026-03-01T08:00, or 24h ago")] = None
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Up to but without this time.")] = None
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="Of this month, in the configured time zone.")
    ] = None
    client: Annotated[str | None, typer.Option(metavar="NAME", help="Of this client only.")] = None
    run: Annotated[str | None, typer.Option(metavar="RUN", help="Of this run only.")] = None
    by: Annotated[list[str] | None, typer.Option(metavar="A,B", help="What to group by; again or with commas.")] = None
    format: Annotated[str, typer.Option(metavar="FORMAT", help=", ".join(FORMATS))] = "table"
    section: Annotated[
        str | None,
        typer.Option(
            metavar="TITLE", help="With csv, json or parquet: a table below the report, by part of its title."
        ),
    ] = None
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="File to write [default: standard output]")] = None


@taking(Report)
def report(ask: Report) -> int:
    """Shows what was spent, saved and done, from the Parquet files alone."""
    from pipelines import reports

    if ask.list_ or ask.name is None:
        for name in reports.names():
            print(f"{name:10} {reports.help_of(name)}")
        return 0
    if ask.format not in FORMATS:
        raise UsageError(f"--format {ask.format!r} is not one of {', '.join(FORMATS)}")
    if ask.section is not None and ask.format in WHOLE:
        raise UsageError(
            f"--section is for {', '.join(each for each in FORMATS if each not in WHOLE)}: {ask.format} shows all"
        )
    asked = [part.strip() for text in ask.by or [] for part in text.split(",") if part.strip()]
    by = reports.grouping(ask.name, asked)
    with frames.reading(f"report {ask.name}"):
        frame, sections = _build(ask, ask.name, by)
        if ask.section is not None:
            frame = _one(ask.name, sections, ask.section)
    _write(ask, ask.name, frame, sections)
    return 0


def _build(ask: Report, name: str, by: list[str]) -> tuple[pl.DataFrame, list[Section]]:
    from pipelines import paths, reports
    from pipelines.reports.shared.frames import narrow

    if ask.run is not None and not paths.is_run_id(ask.run):
        raise UsageError(f"--run {ask.run[:64]!r} is not a run id; `spillway status` lists the runs")
    settings = session.settings_of(ask)
    root, timezone = settings.spillway.data, settings.spillway.timezone
    since, until = _span(ask, timezone)
    terms = _terms(ask, name, settings) if reports.wants_terms(name) else None
    results, costs = _without_unfinished(ask, name, root, *frames.scan(root, ask.run))
    if reports.wants_links(name):
        results = frames.with_links(results, root, ask.run)
    results, costs = narrow(results, costs, since=since, until=until, client=ask.client, run=ask.run, timezone=timezone)
    if terms is not None:
        made, said = reports.billed(name, results, costs, terms)
        if not made["calls"][-1]:
            say.note(f"client {terms.client} made no call in {terms.month}")
        return made, said
    built = reports.load(name).build(results, costs, by).collect()
    if ask.format not in WHOLE and ask.section is None:
        return built, []
    if not reports.wants_links(name):
        return built, reports.told(name, costs, timezone, partial(frames.rooms, root, ask.run))
    allowed = {route: found.max_false_reuse for route, found in settings.routes.items()}
    return built, reports.sections(name, _extra(root, results, allowed), pairs=ask.format == "html")


def _one(name: str, sections: Sequence[Section], title: str) -> pl.DataFrame:
    """The table below the report that is called so."""
    import polars as pl

    there = [section for section in sections if section.rows]
    for section in there:
        if title.casefold() in section.title.casefold():
            frame = pl.DataFrame(list(section.rows), infer_schema_length=None)
            return frame.with_columns(pl.col(pl.Decimal).cast(pl.Decimal(38, 12)))
    raise UsageError(
        f"report {name} has no table {title[:60]!r} here; below it are {', '.join(repr(section.title) for section in there) or 'none'}"
    )


def _without_unfinished(
    ask: Report, name: str, root: str, results: pl.LazyFrame, costs: pl.LazyFrame
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Says which runs go on; a report that compares rows with calls gets neither of them."""
    import polars as pl

    from pipelines import reports

    runs = frames.unfinished(root, ask.run, ask.client)
    if not runs:
        return results, costs
    more = f" and {len(runs) - SHOWN} more" if len(runs) > SHOWN else ""
    whole = reports.wants_whole_runs(name)
    what = "left out until it ends" if whole else "its calls so far are counted, its rows when it ends"
    say.note(f"unfinished: {', '.join(runs[:SHOWN])}{more} ({what}); `spillway status` says how far")
    other = ~pl.col("run_id").is_in(runs).fill_null(False)
    return (results.filter(other), costs.filter(other)) if whole else (results, costs)


def _extra(root: str, results: pl.LazyFrame, allowed: dict[str, float]) -> Extra:
    """What the duplicate stage knows of the runs that are shown."""
    from pipelines.reports.shared.sections import Extra

    runs = sorted(results.select("run_id").unique().collect()["run_id"].to_list())
    said = frames.chunks(root, runs), frames.audits(root), partial(frames.texts, root)
    return Extra(results, *said, allowed, datetime.now(UTC))


def _terms(ask: Report, name: str, settings: Settings) -> Terms:
    """Whose bill for which month; a bill of part of a month is none."""
    from pipelines.config.sections import Client
    from pipelines.reports.shared.terms import Terms

    if ask.client is None or ask.month is None or ask.run or ask.by:
        raise UsageError(
            f"report {name} is of one client and month: write --client NAME --month YYYY-MM, and no --run or --by"
        )
    if ask.client not in settings.clients:
        say.note(f"no [clients.{ask.client}] in spillway.toml: its calls are billed at cost")
    plan = settings.clients.get(ask.client, Client())
    return Terms(ask.client, ask.month, settings.spillway.timezone, plan)


def _span(ask: Report, timezone: str) -> tuple[datetime | None, datetime | None]:
    """From when and up to when, by the clock of the configured zone."""
    from pipelines.days import month_span, zone

    if ask.month is None:
        now = datetime.now(UTC)
        return _when(ask.since, "--since", now, zone(timezone)), _when(ask.until, "--until", now, zone(timezone))
    if ask.since or ask.until:
        raise UsageError("--month says from when to when; leave --since and --until out")
    try:
        return month_span(ask.month, timezone)
    except ValueError as error:
        raise UsageError(f"--month {ask.month[:40]!r} {error}") from None


def _when(text: str | None, option: str, now: datetime, zone: tzinfo) -> datetime | None:
    """A date or time (of the zone unless it says otherwise), or how long ago."""
    from pipelines.config.sections import duration_s

    if text is None:
        return None
    try:
        return now - timedelta(seconds=duration_s(text))
    except ValueError:
        pass
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text[:40]!r} is no time; write 2026-03-01, 2026-03-01T08:00 or 24h") from None
    return (when if when.tzinfo else when.replace(tzinfo=zone)).astimezone(UTC)


def _write(ask: Report, name: str, frame: pl.DataFrame, sections: Sequence[Section]) -> None:
    if ask.format == "table" and ask.out is None:
        _print(name, frame, sections)
        return
    data = _bytes(ask, name, frame, sections)
    if ask.out is not None:
        from producer.store import whole_file

        with whole_file(ask.out, f"--out {ask.out}") as staging:
            staging.write_bytes(data)
    elif ask.format == "parquet" and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal; give --out PATH")
    else:
        sys.stdout.buffer.write(data)


def _print(name: str, frame: pl.DataFrame, sections: Sequence[Section]) -> None:
    from pipelines import reports

    rows = frame.rows(named=True)
    if not any(value for row in rows for value in row.values()):
        say.note("nothing to report: no rows and no calls match")
        return
    say.table(rows, frame.columns, reports.totals(name, rows))
    for section in sections:
        print(section.title)
        say.table(section.rows, list(section.rows[0]))


def _bytes(ask: Report, name: str, frame: pl.DataFrame, sections: Sequence[Section]) -> bytes:
    form = ask.format
    if form == "parquet":
        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="zstd")
        return buffer.getvalue()
    rows: Sequence[dict[str, Any]] = frame.rows(named=True)
    if form == "csv":
        return _csv(rows, frame.columns).encode()
    if form == "json":
        return (say.to_json(rows) + "\n").encode()
    if form == "html":
        return _html(_title(ask), name, rows, frame.columns, sections).encode()
    from contextlib import redirect_stdout

    text = io.StringIO()
    with redirect_stdout(text):
        _print(name, frame, sections)
    return text.getvalue().encode()


def _csv(rows: Sequence[dict[str, Any]], columns: list[str]) -> str:
    import csv

    from producer.exports import csv_cell

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([csv_cell(value) for value in row.values()] for row in rows)
    return text.getvalue()


def _title(ask: Report) -> str:
    about = ", ".join(part for part in (ask.client, ask.month) if part)
    return f"Spillway: {ask.name}{f' of {about}' if about else ''}"


def _html(
    title: str, name: str, rows: Sequence[dict[str, Any]], columns: list[str], sections: Sequence[Section]
) -> str:
    from pipelines import reports
    from pipelines.reports.shared.html import page

    return page(
        title, reports.help_of(name), rows, columns, reports.totals(name, rows), reports.bars(name, rows),
        sections,
    )  # fmt: skip
