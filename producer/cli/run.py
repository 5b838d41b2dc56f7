"""`spillway run` and `submit`: from a source to a registered run, and for `run` on to its end."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.errors import SpillwayError, UsageError
from producer.cli import INTERRUPTED, foreseen, notices, outcome, rehearse, say, session
from producer.cli.options import Intake, run_options, taking

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.types import Options, Source
    from producer.intake import Registered
    from producer.records import Records
    from producer.runs import RunView

POLL_S = 0.2
BLOCKED_S = 3.0


class Order(NamedTuple):
    """What is to be run, checked and ready to register."""

    settings: Settings
    records: Records
    client: str
    sources: tuple[Source, ...]
    options: Options
    fresh: bool


class Followed(NamedTuple):
    """How following a run ended: by its end, or by the reason for which it does not move."""

    view: RunView
    blocked: str = ""


@taking(Intake)
def run(ask: Intake) -> int:
    """Answers every row of SOURCE: intake, drain and wait, with progress. The same command resumes."""
    return until_interrupted(_run(ask))


@taking(Intake)
def submit(ask: Intake) -> int:
    """Registers a run and prints its id; workers elsewhere drain it."""
    return asyncio.run(_submit(ask))


def until_interrupted(work: Any) -> int:
    """Runs a command to its end; SIGTERM is taken like Ctrl-C: the first one stops gracefully."""

    async def guarded() -> int:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            return int(await work)
        except asyncio.CancelledError:
            task.uncancel()
            return INTERRUPTED

    return asyncio.run(guarded())


def order(ask: Intake, settings: Settings) -> Order:
    """Everything that can be wrong with a command is found here, before Redis or a target hears of it."""
    from pipelines.config.sections import NAME
    from producer.records import Records
    from producer.sources import resolve

    client = rehearse.CLIENT if ask.simulate is not None else ask.client or "default"
    if not NAME.fullmatch(client):
        raise UsageError(f"--client {client[:80]!r} is not a name; use letters, digits, `_`, `-` and `.`")
    if ask.route is not None and ask.route not in settings.routes:
        known = ", ".join(sorted(settings.routes))
        raise UsageError(f"--route {ask.route[:80]!r} is not a route; spillway.toml has {known or 'none'}")
    options = run_options(ask, settings.spillway.keep_response)
    sources = resolve(ask.sources)
    outcome.prepare_out(ask.out)
    return Order(settings, Records(settings.spillway.data), client, sources, options, ask.fresh)


async def _run(ask: Intake) -> int:
    began_s = time.monotonic()
    async with rehearse.working(ask, ask.simulate) as settings:
        return await _drain(order(ask, settings), ask, began_s)


async def _drain(wanted: Order, ask: Intake, began_s: float) -> int:
    """Registers, follows and reports; leaves a resumable run whenever it is stopped."""
    done = _known_finished(wanted)
    told: dict[str, Any] = {} if wanted.options.deadline_s is None else {"foreseen": None}
    if done is None:
        followed: list[RunView] = []
        try:
            async with (
                session.draining(wanted.settings) as now,
                notices.beside(now, wanted.settings, wanted.options, quiet=ask.quiet) as news,
            ):
                done, ended = await _register_and_follow(wanted, ask, now, followed, told)
        except asyncio.CancelledError:
            _interrupted(wanted.records, followed, told, ask, began_s)
            raise
        if ended is not None and (ended.blocked or not ended.view.ended):
            return _stopped(wanted.records, ended, told, ask, began_s)
        if ended is not None:
            code = await asyncio.to_thread(_ended, wanted, ended.view, told, ask)
            for message in news:
                say.note(message)
            return code
    say.note(f"run {done} has finished already with this source; --fresh runs it again")
    return await asyncio.to_thread(_finished, wanted, done, told, ask)


def _known_finished(wanted: Order) -> str | None:
    """A finished run needs neither Redis nor workers to say so."""
    if wanted.fresh or wanted.settings.spillway.redis_url != session.EMBEDDED:
        return None
    from producer import intake

    return intake.finished_on_disk(wanted.records, wanted.client, wanted.sources, wanted.options)


async def _register_and_follow(
    wanted: Order, ask: Intake, now: session.Session, followed: list[RunView], told: dict[str, Any]
) -> tuple[str, Followed | None]:
    """The run's id, and how following it ended; None where it had finished before. `told` holds what its figures say besides."""
    registered = await _register(wanted, now)
    while registered.state == "ending":
        say.note(f"run {registered.run_id} of this command is being stopped; it resumes when that is done")
        await _follow(registered.run_id, now, ask, followed)
        registered = await _register(wanted, now)
    if registered.state == "finished":
        return registered.run_id, None
    if not ask.quiet:
        say.note(f"{'resuming run' if registered.state == 'resumed' else 'run'} {registered.run_id}")
    if registered.state != "new" or not told:  # what is left of a resumed run is less
        return registered.run_id, await _follow(registered.run_id, now, ask, followed)
    async with foreseen.beside(wanted, followed, told, quiet=ask.quiet):
        return registered.run_id, await _follow(registered.run_id, now, ask, followed)


async def _register(wanted: Order, now: session.Session) -> Registered:
    from producer import intake
    from producer.queue import now_ms
    from producer.sources import estimate

    sizes = [await asyncio.to_thread(estimate, source) for source in wanted.sources]
    registered = await intake.register(
        now.redis,
        now.keys,
        wanted.records,
        client=wanted.client,
        sources=wanted.sources,
        options=wanted.options,
        now_ms=await now_ms(now.redis),
        fresh=wanted.fresh,
        estimate=(sum(rows for rows, _ in sizes), sum(size for _, size in sizes)),
    )
    if registered.unfinished:
        say.note(f"run {registered.unfinished} of the same command is unfinished; `spillway cancel` drops it")
    return registered


async def _follow(run_id: str, now: session.Session, ask: Intake, followed: list[RunView]) -> Followed:
    return await follow(run_id, now, quiet=ask.quiet, followed=followed)


async def follow(run_id: str, now: session.Session, *, quiet: bool, followed: list[RunView] | None = None) -> Followed:
    """Shows the run until it ends, or until nothing has moved for BLOCKED_S and it says why.

    `followed` holds the last look, for whoever interrupts this.
    """
    from producer import runs
    from producer.cli.progress import display

    since_s: float | None = None
    with display(quiet) as shown:
        async for view in runs.follow(now.redis, now.keys, run_id, POLL_S):
            lanes = await runs.lanes(now.redis, now.keys)
            shown.show(view, lanes)
            if followed is not None:
                followed[:] = [view]
            if now.engine is not None and (broken := now.engine.failed()) and not view.ended:
                raise SpillwayError(f"{broken}; the run can be resumed by the same command")
            idle = not any(lane.in_flight for lane in lanes) or view.blocked.startswith("no target answers")
            stuck = bool(view.blocked) and idle and not view.ended
            since_s = (since_s or time.monotonic()) if stuck else None
            if since_s is not None and time.monotonic() - since_s > BLOCKED_S:
                return Followed(view, view.blocked)
    return Followed(view)


def _ended(wanted: Order, view: RunView, told: dict[str, Any], ask: Intake) -> int:
    """The figures of a run that this command has followed to its end."""
    code = _deliver(wanted, outcome.of_ended(wanted.records, view.run_id, view.status, view.summary) | told, ask)
    if view.status == "failed":
        say.note(f"spillway: run {view.run_id} failed: {view.error or 'its source cannot be read on'}")
    return code


def _finished(wanted: Order, run_id: str, told: dict[str, Any], ask: Intake) -> int:
    """The same for a run that had finished before."""
    record = wanted.records.read(run_id) or {}
    return _deliver(wanted, outcome.of_ended(wanted.records, run_id, "completed", record.get("summary")) | told, ask)


def _deliver(wanted: Order, figures: dict[str, Any], ask: Intake) -> int:
    if ask.out is not None:
        figures = outcome.copy_out(wanted.records, figures, ask.out)
    code = outcome.tell(wanted.records, figures, as_json=ask.json)
    if code == outcome.INCOMPLETE:
        say.note(f"{figures['unanswered']:,} rows are unanswered: run {figures['status']}; the same command resumes")
    return code


def _stopped(records: Records, ended: Followed, told: dict[str, Any], ask: Intake, began_s: float) -> int:
    """A run that cannot go on now: what there is, why, and how to go on."""
    figures = outcome.of_unfinished(ended.view, time.monotonic() - began_s) | told
    records.leave(ended.view.run_id, ended.view.counted)
    if ask.json:
        say.as_json(figures)
    reason = ended.blocked or f"it is {ended.view.status}"
    say.note(f"spillway: run {ended.view.run_id} waits: {reason}; the same command resumes")
    return outcome.INCOMPLETE


def _interrupted(records: Records, followed: list[RunView], told: dict[str, Any], ask: Intake, began_s: float) -> None:
    if not followed:
        say.note("interrupted before the run was registered; nothing was enqueued")
        return
    view = followed[0]
    records.leave(view.run_id, view.counted)
    if ask.json:
        say.as_json(outcome.of_unfinished(view, time.monotonic() - began_s) | told)
    say.note(f"interrupted: run {view.run_id} has {view.done:,} of {view.total:,} rows; the same command resumes")


async def _submit(ask: Intake) -> int:
    if ask.simulate is not None:
        raise UsageError(
            "submit leaves the work to workers elsewhere and cannot --simulate; use `spillway run --simulate`"
        )
    settings = session.settings_of(ask)
    session.refuse_rehearsal(settings)
    wanted = order(ask, settings)
    async with session.looking(wanted.settings) as found:
        registered = await _register(wanted, session.shared_redis(found, "submit"))
    if registered.state == "finished":
        say.note(f"run {registered.run_id} has finished already with this source; --fresh runs it again")
    elif registered.state == "ending":
        raise UsageError(f"run {registered.run_id} of this command is being stopped; submit it again when it has ended")
    told: dict[str, Any] = {}
    if not ask.json:
        print(registered.run_id, flush=True)
    if wanted.options.deadline_s is not None and registered.state == "new" and (ask.json or not ask.quiet):
        told["foreseen"] = await foreseen.at_submit(wanted)
    if told.get("foreseen") and not ask.quiet:
        say.note(foreseen.line(told["foreseen"]))
    if ask.json:
        say.as_json({"run_id": registered.run_id, "state": registered.state, **told})
    return 0
