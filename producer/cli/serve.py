"""`spillway serve`: the HTTP API on this machine's address, with the private Redis and local workers if asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from producer.cli import say, session
from producer.cli.options import Common, taking

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from worker.embedded import Embedded

WATCH_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve(Common):
    """Where to listen, and whether to work too."""

    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on [default: 127.0.0.1]")] = (
        None
    )
    port: Annotated[int | None, typer.Option(metavar="PORT", help="Port to listen on [default: 8700]")] = None
    workers: Annotated[
        bool, typer.Option("--workers", help="Drain here too, unless workers are alive at this Redis.")
    ] = False


@taking(Serve)
def serve(ask: Serve) -> int:
    """Serves batches (OpenAI's and Anthropic's APIs), runs and chat until stopped; SIGTERM finishes requests in flight."""
    import uvloop

    from worker.main import log_to_stderr

    given = {name: value for name, value in (("host", ask.host), ("port", ask.port)) if value is not None}
    settings = session.settings_of(ask, api=given)
    log_to_stderr()
    if ask.workers:
        settings = session.with_targets(settings, ask)
    return uvloop.run(_serve(settings, ask.workers))


async def _serve(settings: Settings, workers: bool) -> int:
    from producer.api.server import serve

    async with session.draining(settings, workers=workers) as now:
        url = now.engine.redis_url if now.engine else settings.spillway.redis_url
        if not await now.redis.exists(now.keys.clients):
            say.note("no client has a key yet: `spillway clients add NAME` prints one")
        watching = asyncio.create_task(_watch(now.engine))
        try:
            await serve(settings, url)
        finally:
            watching.cancel()
    return 0


async def _watch(engine: Embedded | None) -> None:
    """Says once that a worker of this command died, or its disk is full; the server goes on answering."""
    while engine is not None:
        if broken := engine.failed():
            say.note(f"spillway: {broken}; batches wait until `spillway serve --workers` is started anew")
            return
        await asyncio.sleep(WATCH_S)
