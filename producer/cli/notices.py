"""What waits for a person beside the runs: closed targets, batches set aside, routes whose reuse is paused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.printable import one_line
from producer.cli import frames, say, session

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.types import Options


async def show(found: session.Session, shown: set[str], closed: Mapping[str, str]) -> None:
    """Prints targets, and batches of the runs that are shown."""
    for name, reason in closed.items():
        print(one_line(f"target {name} is closed: {reason}"))
    aside = await found.redis.hgetall(found.keys.poison)
    for batch, reason in sorted(aside.items()):
        run_id = batch.partition(".")[0]
        if run_id in shown:
            print(one_line(f"{run_id}: batch {batch} is set aside, its rows fail: {reason}"))


async def paused(found: session.Session | None, settings: Settings, options: Options | None = None) -> list[str]:
    """What is said of each pause of reuse that holds now, and that a run with these options would feel. The audits tell it where
    Redis does not run or has forgotten it."""
    from pipelines import pauses
    from producer.queue import now_ms

    allowed = {name: route.max_false_reuse for name, route in settings.routes.items()}
    raw = await found.redis.hgetall(found.keys.paused) if found else {}
    said = pauses.paused(raw, allowed, await now_ms(found.redis)) if found else {}
    if pauses.READ not in raw:
        told = await asyncio.to_thread(frames.paused, settings.spillway.data, allowed, datetime.now(UTC))
        said |= {name: pause.message for name, pause in told.items()}
    if options is not None:
        said = {name: message for name, message in said.items() if name in _felt(settings, options)}
    return [one_line(message) for _, message in sorted(said.items()) if message]


def _felt(settings: Settings, options: Options) -> set[str]:
    """Names of pauses; exact copies are reused whatever is paused."""
    from pipelines.audit import AUDITED, pause_name

    routes = {options.route} & settings.routes.keys() if options.route else settings.routes.keys()
    reusing = [name for name in routes if (options.dedupe or settings.routes[name].dedupe) == "semantic"]
    return {pause_name(name, grounds) for name in reusing for grounds in AUDITED}


@asynccontextmanager
async def beside(
    found: session.Session, settings: Settings, options: Options, *, quiet: bool
) -> AsyncIterator[list[str]]:
    """Says which pauses a run will feel; once the block has ended, the list has those that its own audits began."""
    before = [] if quiet else await _told(found, settings, options)
    for message in before:
        say.note(message)
    news: list[str] = []
    yield news
    if not quiet:
        news += [message for message in await _told(found, settings, options) if message not in before]


async def _told(found: session.Session, settings: Settings, options: Options) -> list[str]:
    """Nothing where that cannot be told: no run fails with it."""
    from producer.queue import RedisError

    with suppress(RedisError):
        return await paused(found, settings, options)
    return []


async def closed_targets(found: session.Session) -> dict[str, str]:
    """Targets that workers have closed (keys, funds, prices, the emergency cut-off), and why."""
    from producer import runs

    states = await runs.target_states(found.redis, found.keys)
    return {state.name: state.reason for state in states if state.closed}
