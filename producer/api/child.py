"""What needs worker code or much memory is answered by a child process, so that the server stays small; few at once.

A child that takes too long is ended, and so is one whose client has gone.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from fastapi import Request
from starlette.requests import ClientDisconnect

from pipelines import portable
from pipelines.errors import QueueError
from producer.api.errors import ApiError, unavailable
from producer.api.state import State

AT_ONCE = 2
"""Children of one server; others wait for their turn."""
LIMIT_S = 60.0
ANSWER_MAX_BYTES = 8 << 20
ROOT = Path(__file__).resolve().parents[2]

_places = asyncio.Semaphore(AT_ONCE)
_busy: set[str] = set()


class Ended(NamedTuple):
    """How a child ended."""

    code: int
    out: bytes
    err: str


async def ask(request: Request, here: State, caller: str, question: str, **told: Any) -> dict[str, Any]:
    """What worker/asked.py says; 400 for what it refuses. Settings travel by a pipe, since they hold keys."""
    settings = portable.plain(here.settings, str(Path(here.settings.spillway.data).resolve()))
    body = {"question": question, "settings": settings, "cpu_s": LIMIT_S, **told}
    ended = await run(request, caller, ["worker.asked"], msgspec.json.encode(body, enc_hook=str))
    if ended.code != 0:
        raise QueueError(f"a child process ended with status {ended.code}: {ended.err[-500:]}")
    said: dict[str, Any] = msgspec.json.decode(ended.out)
    if "error" in said and len(said) == 1:
        raise ApiError(400, f"{said['error']}.")
    return said


async def run(
    request: Request,
    caller: str,
    module: Sequence[str],
    told: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """`python -m MODULE ARGUMENTS…` to its end; 429 while the same caller has one running, 503 when it takes too long,
    ClientDisconnect when nobody waits for it any more."""
    if caller in _busy:
        message = "A request of this kind by the same client is being answered; wait for it."
        raise ApiError(429, message, code="too_many_requests", headers={"retry-after": "2"})
    _busy.add(caller)
    try:
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            leaving = group.create_task(_gone(request))
            async with _places:
                ended = await _run(module, told, environment or {})
            leaving.cancel()
            return ended
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    except TimeoutError:
        message = f"This takes longer than {LIMIT_S:.0f} s; ask for less, or try again when the server is less busy."
        raise unavailable(message) from None
    finally:
        _busy.discard(caller)


async def _gone(request: Request) -> None:
    """Raises ClientDisconnect when the client hangs up; until then it waits."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect


async def _run(module: Sequence[str], told: bytes, environment: Mapping[str, str]) -> Ended:
    env = {name: value for name, value in os.environ.items() if not name.startswith("SPILLWAY_")}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *module, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT, env={**env, **environment},
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = await child.communicate(told)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if len(out) > ANSWER_MAX_BYTES:
        raise QueueError("a child process said too much")
    return Ended(child.returncode or 0, out, err.decode(errors="replace"))
