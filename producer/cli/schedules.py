"""`spillway schedules list|run`: runs by the clock, shown, fired by hand, or fired when due for as long as this runs."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.errors import SpillwayError, UsageError
from producer.cli import outcome, say, session
from producer.cli.options import Output, taking
from producer.cli.run import follow, until_interrupted

if TYPE_CHECKING:
    from pipelines.firing import Firing, Past
    from pipelines.settings import Settings
    from producer.schedules import Desk, Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class OfSchedule(Output):
    """One schedule, or all of them."""

    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A schedule of spillway.toml.")] = None


@taking(OfSchedule)
def schedules_list(ask: OfSchedule) -> int:
    """Every schedule: when it fires next, what its last firing did; with NAME the last firings of one."""
    return asyncio.run(_list(ask))


@taking(OfSchedule)
def schedules_run(ask: OfSchedule) -> int:
    """Fires NAME now; without a name it stays and fires every schedule when it is due."""
    return until_interrupted(_keep(ask) if ask.name is None else _fire(ask, ask.name))


async def _list(ask: OfSchedule) -> int:
    settings = session.settings_of(ask)
    async with session.looking(settings) as found:
        desk = None if found is None else _desk(found, settings)
        if ask.name is not None and desk is not None:
            return _show_history(await desk.table.history(_known(settings, ask.name)), ask.json, settings)
        standings = [await _standing(desk, settings, name) for name in ([ask.name] if ask.name else settings.schedules)]
    if ask.json:
        say.as_json([_figures(each, settings) for each in standings])
    elif standings:
        say.table([_row(each, settings) for each in standings], list(_row(standings[0], settings)))
        for each in standings:
            if each.last and each.last.message:
                print(f"{each.schedule}: {each.last.message}")
            if each.late:
                print(f"{each.schedule}: due, and waits for the end of its last run")
    else:
        say.note("no schedules; add [schedules.NAME] to spillway.toml")
    return 0


async def _standing(desk: Desk | None, settings: Settings, name: str) -> Standing:
    from producer import schedules
    from producer.queue import now_ms
    from producer.records import Records

    if desk is not None:
        return await schedules.standing(desk, name, await now_ms(desk.redis))
    return schedules.remembered(settings, Records(settings.spillway.data), name, time.time_ns() // 1_000_000)


async def _keep(ask: OfSchedule) -> int:
    """On one machine with workers of its own, as `spillway run` has them; with a shared Redis workers are elsewhere."""
    settings = session.settings_of(ask)
    if not settings.schedules:
        raise UsageError("no schedules; add [schedules.NAME] to spillway.toml")
    if settings.spillway.redis_url != session.EMBEDDED:
        async with session.looking(settings) as found:
            return await _stay(session.shared_redis(found, "schedules run"), settings)
    settings = session.with_targets(settings, ask)
    async with session.draining(settings) as now:
        return await _stay(now, settings)


async def _stay(now: session.Session, settings: Settings) -> int:
    from producer import schedules

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stopping = asyncio.Event()
    say.note(f"firing {', '.join(settings.schedules)} when due, {settings.spillway.timezone} time; Ctrl-C stops")
    keeper = asyncio.create_task(schedules.keep(_desk(now, settings), stopping))
    try:
        while not keeper.done():
            if now.engine is not None and (broken := now.engine.failed()):
                raise SpillwayError(broken)
            await asyncio.wait({keeper}, timeout=1.0)
        return 0
    finally:
        stopping.set()
        await keeper


async def _fire(ask: OfSchedule, name: str) -> int:
    settings = session.settings_of(ask)
    _known(settings, name)
    if settings.spillway.redis_url != session.EMBEDDED:
        async with session.looking(settings) as found:
            fired = await _fired(session.shared_redis(found, "schedules run"), settings, name)
        return _tell(fired, ask.json)
    settings = session.with_targets(settings, ask)
    async with session.draining(settings) as now:
        fired = await _fired(now, settings, name)
        if not fired.run_id:
            return _tell(fired, ask.json)
        say.note(f"run {fired.run_id}")
        ended = await follow(fired.run_id, now, quiet=False)
    if ended.blocked or not ended.view.ended:
        say.note(f"spillway: run {fired.run_id} waits: {ended.blocked or ended.view.status}")
        return outcome.INCOMPLETE
    records = _records(settings)
    figures = outcome.of_ended(records, ended.view.run_id, ended.view.status, ended.view.summary)
    return outcome.tell(records, figures, as_json=ask.json)


async def _fired(now: session.Session, settings: Settings, name: str) -> Firing:
    from producer import schedules
    from producer.queue import now_ms

    fired = await schedules.fire(_desk(now, settings), name, await now_ms(now.redis), by_hand=True)
    assert fired is not None, "by hand it is always due"
    if not fired.run_id and fired.message.startswith("failed: "):
        raise UsageError(f"schedule {name}: {fired.message.removeprefix('failed: ')}")
    return fired


def _tell(fired: Firing, as_json: bool) -> int:
    if as_json:
        say.as_json({"run_id": fired.run_id or None, "files": len(fired.sources), "message": fired.message})
        return 0
    if fired.run_id:
        print(fired.run_id)
    if fired.message:
        say.note(f"schedule {fired.schedule}: {fired.message}")
    return 0


def _desk(now: session.Session, settings: Settings) -> Desk:
    from producer.schedules import Desk

    return Desk(now.redis, now.keys, _records(settings), settings)


def _records(settings: Settings) -> Any:
    from producer.records import Records

    return Records(settings.spillway.data)


def _known(settings: Settings, name: str) -> str:
    from producer.schedules import schedule_of

    schedule_of(settings, name)
    return name


def _show_history(history: Sequence[Past], as_json: bool, settings: Settings) -> int:
    rows = [_past(each, settings) for each in history]
    if as_json:
        say.as_json(rows)
    elif rows:
        say.table(rows, list(rows[0]))
    else:
        say.note("it has not fired yet")
    return 0


def _past(of: Past, settings: Settings) -> dict[str, Any]:
    return {
        "due": _time(of.due_ms, settings), "fired": _time(of.at_ms, settings), "by": of.cause, "run": of.run_id or None,
        "files": of.files, "message": of.message,
    }  # fmt: skip


def _row(of: Standing, settings: Settings) -> dict[str, Any]:
    return {
        "schedule": of.schedule,
        "cron": of.cron,
        "next": _time(of.next_ms, settings),
        "last": _time(of.last.due_ms, settings) if of.last else None,
        "run": of.last.run_id or None if of.last else None,
        "state": of.status or None,
        "files": of.last.files if of.last else None,
    }


def _figures(of: Standing, settings: Settings) -> dict[str, Any]:
    last = _past(of.last, settings) if of.last else None
    return {
        "schedule": of.schedule, "cron": of.cron, "timezone": settings.spillway.timezone,
        "next_at": _time(of.next_ms, settings), "last": last, "state": of.status or None, "waits": of.late,
    }  # fmt: skip


def _time(ms: int, settings: Settings) -> str:
    from pipelines.days import local

    at: datetime = local(ms, settings.spillway.timezone)
    return at.isoformat(timespec="seconds")
