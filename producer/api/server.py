"""Runs the application on its address until it is told to stop; requests in flight end first."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import resource
import signal
import socket
from collections.abc import Iterator

import uvicorn

from pipelines.errors import SpillwayError
from pipelines.settings import Settings
from producer.api.app import create_app
from producer.api.connections import Connection
from producer.api.ending import STOP_S, stopping

KEEP_ALIVE_S = 30
GARBAGE_AT = 20_000
"""Objects more than before, after which young garbage is looked for; nearly all go by themselves."""
FILES_MOST = 8192
"""Open files: more than twice the requests that are taken at once, since a connection that waits for its next one counts."""


class _Server(uvicorn.Server):
    """Says where it listens once it does: with port 0 the system chooses."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal ends the server and not the process: Redis and workers of this command end after it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        stopping.set()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        _keep_what_is_there()
        for server in self.servers if self.started else ():
            host, port = server.sockets[0].getsockname()[:2]
            print(f"spillway serves http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)


async def serve(settings: Settings, redis_url: str) -> None:
    """Until a signal ends it. SpillwayError when its address cannot be had."""
    api = settings.api
    _allow_files()
    config = uvicorn.Config(
        create_app(settings, redis_url),
        http=Connection,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
    )
    with _listening(api.host, api.port) as own:
        await _Server(config).serve(sockets=[own])


def _keep_what_is_there() -> None:
    """Libraries and routes stay for good: to look through them for garbage again and again took a tenth of the server's time,
    and 0.1 s at once."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AT, 10, 10)


def _allow_files() -> None:
    """As many as the system lets this process have: the usual 1,024 would end before the requests do, and `/health` with them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES_MOST if hard == resource.RLIM_INFINITY else min(FILES_MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise SpillwayError(f"cannot listen on {host}:{port} ({why}); choose another --host or --port") from None
