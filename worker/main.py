"""The composition root: settings -> Redis, context, loops and ARQ listeners of one worker process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from pipelines.errors import SpillwayError
from pipelines.printable import printable
from pipelines.settings import Settings
from worker.context import Context
from worker.queue import connect
from worker.tasks import ROLES, Process

log = logging.getLogger("spillway.worker")


async def serve(
    settings: Settings, redis_url: str, roles: tuple[str, ...] = ROLES, *, parent: int | None = None
) -> None:
    """Drains until SIGTERM or SIGINT; with `parent`, also until that process is gone."""
    redis = await connect(redis_url)
    process = Process(Context(settings, redis, redis_url), roles)
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    await process.start()
    log.info("worker %s is up: %s", process.context.owner, ", ".join(roles))
    watcher = asyncio.create_task(_orphaned(parent, asked)) if parent else None
    failing = asyncio.create_task(process.failed.wait())
    await asyncio.wait({failing, asyncio.create_task(asked.wait())}, return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping: calls in flight end, the rest is handed back")
    await process.stop()
    if watcher:
        watcher.cancel()
    await redis.aclose()
    if process.failed.is_set():
        raise SpillwayError("a loop of this worker failed; see the log above")


async def _orphaned(parent: int, asked: asyncio.Event) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(0.5)
    asked.set()


def run(settings: Settings, redis_url: str, roles: tuple[str, ...] = ROLES, *, parent: int | None = None) -> None:
    """`serve` on the fastest event loop there is."""
    try:
        import uvloop

        uvloop.run(serve(settings, redis_url, roles, parent=parent))
    except ImportError:
        asyncio.run(serve(settings, redis_url, roles, parent=parent))


class _Printable(logging.Formatter):
    """What servers and Redis say may hold terminal escapes. A job that is none of ours is one line."""

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info and record.exc_info[0] is not None and record.exc_info[0].__name__ == "DeserializationError":
            record.exc_info = record.exc_text = None
        return printable(super().format(record))


def log_to_stderr(level: str = "INFO") -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for noisy in ("arq", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("arq.jobs").setLevel(logging.ERROR)  # it warns of results, and we keep none
