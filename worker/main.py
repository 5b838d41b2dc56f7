"""The composition root: settings -> Redis, context, loops and ARQ listeners of one worker process, and the child that takes its
other roles."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys

from pipelines.config import portable
from pipelines.errors import SpillwayError
from pipelines.printable import printable
from pipelines.settings import Settings, state_folder
from worker.children import CONTROL_ROLES, DRAIN_ROLES, Child, start
from worker.context import Context
from worker.queue import connect
from worker.tasks import ROLES, STOP_S, Process

log = logging.getLogger("spillway.worker")

LOOK_S = 0.5


def divided(roles: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What this process does, and what a child of its own does: comparing prompts must not hold up calls."""
    lanes = tuple(role for role in roles if role in DRAIN_ROLES)
    rest = tuple(role for role in CONTROL_ROLES if role in roles)
    return (lanes, rest) if lanes and "prepare" in rest else (roles, ())


async def serve(
    settings: Settings, redis_url: str, roles: tuple[str, ...] = ROLES, *, parent: int | None = None
) -> None:
    """Drains until SIGTERM or SIGINT; with `parent`, also until that process is gone. Raises when a part of it ends by itself."""
    mine, rest = divided(roles)
    redis = await connect(redis_url)
    process = Process(Context(settings, redis, redis_url), mine)
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    plain = portable.plain(settings, str(state_folder(settings.spillway.data)))
    child = start(rest, redis_url, plain, None) if rest else None
    try:
        await process.start()
        log.info("worker %s is up: %s", process.context.owner, ", ".join(mine))
        ends = [asyncio.create_task(each) for each in (asked.wait(), process.failed.wait(), _left(parent, child))]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        broken = not asked.is_set() and child is not None and child.poll() is not None
        log.info("stopping: calls in flight end, the rest is handed back")
        if child is not None:
            child.terminate()
        await process.stop()
        for each in ends:
            each.cancel()
    finally:
        if child is not None:
            await asyncio.to_thread(_end, child)
    await redis.aclose()
    if process.failed.is_set():
        raise SpillwayError("a loop of this worker failed; see the log above")
    if broken and child is not None:
        raise SpillwayError(
            f"the process for {', '.join(rest)} ended with status {child.returncode}; see the log above"
        )


async def _left(parent: int | None, child: Child | None) -> None:
    """Returns when our parent is gone, or the child has ended."""
    while parent in (None, os.getppid()) and (child is None or child.poll() is None):
        await asyncio.sleep(LOOK_S)


def _end(child: Child) -> None:
    """It has been told to stop, or is now."""
    child.terminate()
    try:
        child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


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
