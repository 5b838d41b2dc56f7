"""Runs by the clock: what is due is decided, written down, registered and closed, in this order.

A process that is killed between two of these steps leaves a firing that is written down; whoever looks next finishes it
under the same run id. One firing at a time, and none while the schedule's last run is open: what was missed meanwhile is
caught up once. It answers no prompt (workers do) and moves no file.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipelines import cron, firing
from pipelines.config.sections import Schedule
from pipelines.errors import SpillwayError, UsageError
from pipelines.firing import BY_CLOCK, BY_HAND, Firing, Past
from pipelines.money import usd_to_nusd
from pipelines.printable import one_line
from pipelines.settings import Settings
from pipelines.types import Options
from pipelines.wire import RUN_OPEN, Keys
from producer import arrivals, asked, intake, timetable
from producer.lease import held
from producer.queue import Redis, RedisError, now_ms
from producer.records import Records
from producer.runs import fields_of
from producer.timetable import State, Timetable

log = logging.getLogger("spillway.schedules")

POLL_S, LEASE_MS = 2.0, 6_000
TRIES = 5
MESSAGE_CHARS = 300
NOTHING_NEW = "nothing new"


class Desk(NamedTuple):
    """Where schedules are looked after."""

    redis: Redis
    keys: Keys
    records: Records
    settings: Settings

    @property
    def table(self) -> Timetable:
        return Timetable(self.redis, self.keys)


class Standing(msgspec.Struct, frozen=True):
    """How a schedule stands; times are unix ms."""

    schedule: str
    cron: str
    next_ms: int
    last: Past | None
    status: str  # of the last firing's run; empty without one
    late: bool  # due, but the last run has not ended


async def keep(desk: Desk, stopping: asyncio.Event) -> None:
    """Fires whatever is due until `stopping`; several may do so on one Redis, one of them acts. Trouble is logged and
    tried again."""
    while desk.settings.schedules and not stopping.is_set():
        try:
            async with held(desk.redis, desk.keys, "schedules", LEASE_MS) as ours:
                if ours:
                    await tick(desk, await now_ms(desk.redis))
        except (RedisError, OSError) as error:
            log.warning("schedules: %s; trying again", error)
        except Exception:
            log.exception("schedules failed; trying again")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), POLL_S)


async def tick(desk: Desk, at_ms: int) -> list[Firing]:
    """Fires every schedule that is due at `at_ms`; one that cannot, holds up no other."""
    fired = []
    for name in desk.settings.schedules:
        try:
            if (done := await fire(desk, name, at_ms)) is not None:
                fired.append(done)
        except SpillwayError as error:
            log.error("schedule %s: %s; trying again", name, one_line(str(error)))
    return fired


async def fire(desk: Desk, name: str, at_ms: int, *, by_hand: bool = False) -> Firing | None:
    """Carries out one firing; None when none is due, or when it is and the last run has not ended.

    By hand it is always due; UsageError then for a name that is no schedule, and while the last run is open.
    """
    schedule = schedule_of(desk.settings, name)
    for _ in range(TRIES):
        seen = await _state(desk, name, at_ms)
        if seen.raw:
            await _finish(desk, name, seen, at_ms)
            continue
        due_ms = at_ms if by_hand else cron.missed_ms(schedule.cron, _zone(desk), seen.since_ms, at_ms)
        if due_ms is None or (not by_hand and await _is_open(desk, seen.last)):
            return None
        decided = await _decide(desk, name, due_ms, at_ms, BY_HAND if by_hand else BY_CLOCK)
        begun = await desk.table.begin(seen, decided)
        if begun == timetable.BUSY:
            if not by_hand:
                return None
            raise UsageError(f"schedule {name}: its last run {seen.last} has not ended; wait, or `spillway cancel` it")
        if begun == timetable.BEGUN:
            await carry_out(desk, decided, timetable.text(decided), at_ms)
            return decided
    raise UsageError(f"schedule {name} is being fired by somebody else; look with `spillway schedules list`")


async def carry_out(desk: Desk, decided: Firing, raw: str, at_ms: int) -> None:
    """From a firing that is written down, as `raw`, to its run and its place in the history; safe to repeat."""
    if decided.run_id:
        await intake.register_as(
            desk.redis, desk.keys, desk.records, decided.run_id, client=decided.client, sources=decided.sources,
            options=decided.options, now_ms=at_ms, origin=decided.origin, estimate=decided.estimate,
        )  # fmt: skip
    marks = {source.url: arrivals.mark(source) for source in decided.sources}
    by_clock = decided.cause == BY_CLOCK
    if await desk.table.end(decided, raw, firing.past(decided), by_clock=by_clock, files=marks):
        said = f"run {decided.run_id}, {len(decided.sources)} files" if decided.run_id else "no run"
        log.info("schedule %s: %s%s", decided.schedule, said, f"; {decided.message}" if decided.message else "")


async def standing(desk: Desk, name: str, at_ms: int) -> Standing:
    """How a schedule stands, by Redis."""
    schedule = schedule_of(desk.settings, name)
    state, history = await desk.table.state(name), await desk.table.history(name)
    last = history[0] if history else None
    status = await _status(desk, last.run_id) if last else ""
    since_ms = state.since_ms or at_ms
    late = cron.missed_ms(schedule.cron, _zone(desk), since_ms, at_ms) is not None
    late = late and bool(state.last) and await _is_open(desk, state.last)
    return Standing(name, schedule.cron, cron.next_ms(schedule.cron, _zone(desk), at_ms), last, status, late)


def remembered(settings: Settings, records: Records, name: str, at_ms: int) -> Standing:
    """The same by the records alone, when no Redis runs: only firings that made a run are in there."""
    schedule = schedule_of(settings, name)
    last, status = None, ""
    for record in (records.read(run_id) or {} for run_id in records.ids()[: arrivals.REMEMBERED_RUNS]):
        of, due_ms = firing.of_origin(record.get("origin"))
        if of == name:
            made_ms, files = int(record.get("created_ms") or 0), len(record.get("sources") or ())
            last = Past(due_ms, made_ms, "", str(record["run_id"]), files, "")
            status = str(record.get("status") or "")
            break
    return Standing(
        name, schedule.cron, cron.next_ms(schedule.cron, settings.spillway.timezone, at_ms), last, status, False
    )


def schedule_of(settings: Settings, name: str) -> Schedule:
    if name not in settings.schedules:
        known = ", ".join(settings.schedules) or "none"
        raise UsageError(f"no schedule {name[:64]!r}; spillway.toml has {known}")
    return settings.schedules[name]


def _zone(desk: Desk) -> str:
    return desk.settings.spillway.timezone


async def _state(desk: Desk, name: str, at_ms: int) -> State:
    """What Redis knows. A schedule that is new to it goes on from what the records say, else begins now; one whose
    times were changed begins now as well: nobody means to catch up with hours that were not planned."""
    rule = f"{desk.settings.schedules[name].cron} in {_zone(desk)}"
    seen = await desk.table.state(name)
    if seen.rule != rule:
        since_ms, files = await asyncio.to_thread(arrivals.remembered, desk.records, name) if not seen.rule else (0, {})
        await desk.table.adopt(name, seen, rule, since_ms or at_ms, files)
        seen = await desk.table.state(name)
    return seen


async def _finish(desk: Desk, name: str, seen: State, at_ms: int) -> None:
    """Somebody began this firing and did not end it."""
    if seen.firing is None or seen.firing.schedule != name:
        log.error("schedule %s: what Redis holds of its firing cannot be read; forgotten", name)
        await desk.table.discard(name, seen.raw)
        return
    await carry_out(desk, seen.firing, seen.raw, at_ms)


async def _decide(desk: Desk, name: str, due_ms: int, at_ms: int, cause: str) -> Firing:
    """What this firing is to do. What is wrong with a schedule's files is a firing without a run, told in the history."""
    schedule, taken = desk.settings.schedules[name], await desk.table.files(name)
    nothing = Firing(name, due_ms, at_ms, cause)
    try:
        options = options_of(schedule, desk.settings.spillway.keep_response)
        found = await asyncio.to_thread(arrivals.look, schedule.source, taken)
    except SpillwayError as error:
        log.error("schedule %s: %s", name, one_line(str(error)))
        return msgspec.structs.replace(nothing, message=_short(f"failed: {error}"))
    await desk.table.touch(name, found.touched)
    message = _left(found.unusable)
    if not found.sources:
        return msgspec.structs.replace(nothing, message=message or NOTHING_NEW)
    return msgspec.structs.replace(
        nothing, run_id=firing.run_id(name, due_ms, at_ms), client=schedule.client or "default", sources=found.sources,
        options=options, estimate=found.estimate, message=message,
    )  # fmt: skip


def _left(unusable: dict[str, str]) -> str:
    if not unusable:
        return ""
    reason = next(iter(unusable.values()))
    return _short(f"{len(unusable)} files left for the next time: {reason}")


def _short(text: str) -> str:
    """One printable line: names of files are others' words."""
    return one_line(text)[:MESSAGE_CHARS]


def options_of(schedule: Schedule, keep_response: bool) -> Options:
    """A schedule's options as a run stores them; ConfigError for a file that is missing or nonsense."""
    return Options(
        route=schedule.route,
        template=asked.template(_path(schedule.template), "template"),
        schema=asked.schema(_path(schedule.output_schema), "schema"),
        labels=tuple(dict.fromkeys(schedule.labels)) or None,
        deadline_s=schedule.deadline,
        budget_nusd=None if schedule.budget is None else usd_to_nusd(schedule.budget),
        dedupe=schedule.dedupe,
        keep_response=keep_response,
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


async def _status(desk: Desk, run_id: str) -> str:
    fields = await fields_of(desk.redis, desk.keys, run_id)
    record = {} if fields else desk.records.read(run_id) or {}
    return fields.get("status") or str(record.get("status") or "")


async def _is_open(desk: Desk, run_id: str) -> bool:
    status = (await fields_of(desk.redis, desk.keys, run_id)).get("status")
    return status in RUN_OPEN
