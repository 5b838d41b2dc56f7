"""`spillway status`, `cancel` and `retry`: runs that are registered already."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pipelines import wire
from pipelines.errors import UsageError
from pipelines.printable import one_line
from producer.cli import notices, outcome, rehearse, say, session
from producer.cli.options import OfRun, Output, taking
from producer.cli.run import follow, until_interrupted

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from producer.records import Records
    from producer.runs import LaneView, RunView

WATCH_S = 1.0
_PICO, _NANO = Decimal(10) ** -12, Decimal(10) ** -9
_COLUMNS = (
    "run", "status", "client", "done", "rows", "duplicate", "failed", "local_calls", "cloud_calls", "provider_batch_calls",
    "cost_usd", "avoided_usd", "since",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Output):
    """`status` of one run or of all."""

    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Run id; all runs without it.")] = None
    watch: Annotated[bool, typer.Option("--watch", help="Go on until the run has ended.")] = False


@taking(Status)
def status(ask: Status) -> int:
    """Shows runs: how far, on which lane, at what cost."""
    return until_interrupted(_status(ask))


@taking(OfRun)
def cancel(ask: OfRun) -> int:
    """Stops a run: calls in flight end, what was answered is kept. The same `run` command resumes it."""
    return until_interrupted(_cancel(ask))


@taking(OfRun)
def retry(ask: OfRun) -> int:
    """Asks the failed rows of an ended run again."""
    return until_interrupted(_retry(ask))


async def _status(ask: Status) -> int:
    from producer import runs

    settings = session.settings_of(ask)
    records = _records(settings.spillway.data)
    async with session.looking(settings) as found:
        if ask.watch and found is not None and ask.run and not (await _view(found, records, ask.run)).ended:
            followed = await follow(ask.run, found, quiet=False)
            _show([followed.view], [], ask.json, one=True)
            return 0
        while True:
            lanes = await runs.lanes(found.redis, found.keys) if found else []
            views = await _views(found, records, ask.run)
            money = await _money(found, settings.spillway.timezone, views)
            _show(views, lanes, ask.json, one=ask.run is not None, money=money)
            if found is not None and not ask.json:
                await notices.show(found, {view.run_id for view in views}, money.closed)
            if not ask.json:
                for message in await notices.paused(found, settings):
                    print(message)
            if not ask.watch or found is None or all(view.ended for view in views):
                return 0
            await asyncio.sleep(WATCH_S)


async def _views(found: session.Session | None, records: Records, run_id: str | None) -> list[RunView]:
    """What Redis knows, and what only the records know, newest first."""
    from producer import runs

    if run_id is not None:
        return [await _view(found, records, run_id)]
    live = await runs.list_runs(found.redis, found.keys) if found else []
    known = {view.run_id for view in live}
    rest = [records.read(name) for name in records.ids()[:50] if name not in known]
    told = [await _recorded(found, records, record) for record in rest if record]
    return sorted([*live, *told], key=lambda view: view.run_id, reverse=True)


async def _view(found: session.Session | None, records: Records, run_id: str) -> RunView:
    from producer import runs

    record = records.read(run_id)
    if found is not None:
        try:
            return await runs.get(found.redis, found.keys, run_id)
        except UsageError:
            if record is None:
                raise
    if record is None:
        raise UsageError(f"no run {run_id[:64]!r} under {records.root}; `spillway status` lists the runs")
    return await _recorded(found, records, record)


async def _recorded(found: session.Session | None, records: Records, record: Mapping[str, Any]) -> RunView:
    from producer import runs

    if found is None or record.get("summary"):
        return runs.of_record(record)
    has_parts = records.has_parts(record["run_id"])
    return runs.of_record(record, await runs.why_unknown(found.redis, found.keys, record, has_parts=has_parts))


class Money(NamedTuple):
    """What the budgets say beside the runs."""

    exposures_nusd: Mapping[str, int] = {}
    alerts: Sequence[Mapping[str, Any]] = ()
    closed: Mapping[str, str] = {}


async def _money(found: session.Session | None, timezone: str, views: Sequence[RunView]) -> Money:
    if found is None:
        return Money()
    from producer import limits

    open_ids = [view.run_id for view in views if not view.ended]
    exposures = await limits.exposures_nusd(found.redis, found.keys, open_ids)
    return Money(exposures, await limits.alerts(found.redis, found.keys, timezone), await notices.closed_targets(found))


def _show(
    views: Sequence[RunView],
    lanes: Iterable[LaneView],
    as_json: bool,
    *,
    one: bool,
    money: Money = Money(),  # noqa: B008
) -> None:
    if as_json:
        said = [
            {**_figures(view), "unknown_exposure_usd": money.exposures_nusd.get(view.run_id, 0) * _NANO,
             "alerts": [alert for alert in money.alerts if _concerns(alert, view)], "closed_targets": dict(money.closed)}
            for view in views
        ]  # fmt: skip
        say.as_json(said[0] if one else said)
        return
    if not views:
        say.note("no runs yet; `spillway run SOURCE` starts one")
        return
    say.table([_row(view) for view in views], _COLUMNS)
    for view in views:
        if view.blocked or view.error:
            print(one_line(f"{view.run_id}: {view.error or f'waiting: {view.blocked}'}"))
        if view.needs:
            print(one_line(f"{view.run_id}: {view.needs}"))
        if exposed := money.exposures_nusd.get(view.run_id):
            print(f"{view.run_id}: calls under way may still cost up to ${exposed * _NANO:f}")
    for alert in money.alerts:
        print(one_line(f"alert: {alert.get('message')}"))
    shown = [
        {"target": lane.name, "lane": lane.lane, "state": "up" if lane.up else f"down: {lane.reason}",
         "in_flight": f"{lane.in_flight}/{lane.slots}" if lane.slots else f"{lane.in_flight} rows", "rows_per_s": lane.rows_per_s}
        for lane in lanes
    ]  # fmt: skip
    if shown and any(not view.ended for view in views):
        say.table(shown, list(shown[0]))


def _concerns(alert: Mapping[str, Any], view: RunView) -> bool:
    """Everybody's alerts, the run's own and its client's."""
    return alert.get("run_id") in (None, view.run_id) and alert.get("client") in (None, view.client)


def _figures(view: RunView) -> dict[str, Any]:
    began = view.started_ms or view.created_ms
    seconds = (view.finished_ms - began) / 1000 if view.finished_ms else 0.0
    files = view.summary or {}  # named by the worker that wrote them, wherever its data root is
    return {
        **outcome.of_unfinished(view, seconds),
        "results": files.get("results"),
        "costs": files.get("costs"),
        "provider_batch_calls": view.provider_batch_calls,
        "client": view.client,
        "created_at": _time(view.created_ms),
        "deadline_at": _time(view.deadline_ms),
        "finished_at": _time(view.finished_ms),
        "blocked": view.blocked,
        "lacks": None if view.ended else view.lacks,
        "error": view.error,
    }


def _row(view: RunView) -> dict[str, Any]:
    return {
        "run": view.run_id,
        "status": view.status,
        "client": view.client,
        "done": view.done,
        "rows": view.total,
        "duplicate": view.duplicate,
        "failed": view.failed + view.refused + view.invalid,
        "local_calls": view.local_calls,
        "cloud_calls": view.cloud_calls,
        "provider_batch_calls": view.provider_batch_calls or None,  # few have any: the column goes where it is narrow
        "cost_usd": view.cost_pusd * _PICO,
        "avoided_usd": view.avoided_pusd * _PICO,
        "since": datetime.fromtimestamp(view.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
    }


def _time(ms: int | None) -> str | None:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat() if ms else None


async def _cancel(ask: OfRun) -> int:
    from producer import intake

    settings = session.settings_of(ask)
    records = _records(settings.spillway.data)
    async with session.looking(settings) as found:
        if found is not None and await _others_work(settings, found):
            return _cancelled(await intake.cancel(found.redis, found.keys, ask.run), ask.json)
        view = await _view(found, records, ask.run)
    if view.ended:
        return _cancelled(view, ask.json)
    async with rehearse.working(ask, records.rehearsal()) as own, session.draining(own) as now:
        await intake.cancel(now.redis, now.keys, ask.run)  # and somebody has to close the run's books
        followed = await follow(ask.run, now, quiet=True)
    return _cancelled(followed.view, ask.json)


def _cancelled(view: RunView, as_json: bool) -> int:
    if as_json:
        say.as_json(_figures(view))
    else:
        print(f"run {view.run_id} is {view.status}")
    return 0


async def _retry(ask: OfRun) -> int:
    """With a Redis that lives the workers there go on; on one machine this command drains what it asks again."""
    from producer import intake
    from producer.queue import now_ms

    settings = session.settings_of(ask)
    records = _records(settings.spillway.data)
    async with session.looking(settings) as found:
        if found is not None and await _others_work(settings, found):
            view = await intake.retry(found.redis, found.keys, records, ask.run, await now_ms(found.redis))
            return _cancelled(view, ask.json)
        await _view(found, records, ask.run)
    async with rehearse.working(ask, records.rehearsal()) as own, session.draining(own) as now:
        await intake.retry(now.redis, now.keys, records, ask.run, await now_ms(now.redis))
        view = (await follow(ask.run, now, quiet=False)).view
    if view.status not in wire.RUN_ENDED:
        say.note(f"run {view.run_id} waits: {view.blocked}")
        return outcome.INCOMPLETE
    figures = outcome.of_ended(records, view.run_id, view.status, view.summary)
    return outcome.tell(records, figures, as_json=ask.json)


async def _others_work(settings: Settings, found: session.Session) -> bool:
    """Whether workers drain here or will; a rehearsal's only work beside the command that started its servers."""
    from producer import runs

    return not session.is_rehearsal(settings) or bool(await runs.workers(found.redis, found.keys))


def _records(root: str) -> Records:
    from producer.records import Records

    return Records(root)
