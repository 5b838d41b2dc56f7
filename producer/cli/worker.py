"""`spillway worker`: the drain in a process of its own, for one Redis or for this data root's private one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.errors import SpillwayError, UsageError
from producer.cli import say, session
from producer.cli.options import Common, taking
from producer.cli.run import until_interrupted

if TYPE_CHECKING:
    from pipelines.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker(Common):
    """Which part of the work this process takes."""

    roles: Annotated[
        str | None, typer.Option(metavar="A,B", help="prepare, schedule, local, cloud, settle [default: all]")
    ] = None


@taking(Worker)
def worker(ask: Worker) -> int:
    """Drains until stopped; SIGTERM finishes calls in flight and hands the rest back."""
    from worker.main import log_to_stderr, run
    from worker.tasks import ROLES

    settings = session.with_targets(session.settings_of(ask), ask)
    roles = tuple(part.strip() for part in (ask.roles or ",".join(ROLES)).split(",") if part.strip())
    if wrong := [role for role in roles if role not in ROLES]:
        raise UsageError(f"--roles: {wrong[0][:40]!r} is not one of {', '.join(ROLES)}")
    log_to_stderr()
    if settings.spillway.redis_url != session.EMBEDDED:
        run(settings, settings.spillway.redis_url, roles)
        return 0
    if ask.roles:
        raise UsageError("--roles splits the work of one Redis between hosts; set redis_url (--redis) first")
    until_interrupted(_private(settings))
    return 0


async def _private(settings: Settings) -> int:
    """A private Redis with workers, until stopped."""
    async with session.draining(settings) as now:
        say.note(f"working for {Path(settings.spillway.data).resolve()}; Ctrl-C stops")
        while now.engine is None or (broken := now.engine.failed()) is None:
            await asyncio.sleep(1.0)
        raise SpillwayError(broken)
