"""What needs worker code or much memory is answered by a child process, so that the server stays small; few at once.

A child that takes too long is ended, and so is one whose client has gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect

from producer import apart
from producer.api.errors import ApiError, unavailable
from producer.api.state import State

AT_ONCE = 2
"""Children of one server; others wait for their turn."""
LIMIT_S = 60.0

_places = asyncio.Semaphore(AT_ONCE)
_busy: set[str] = set()


async def ask(request: Request, here: State, caller: str, question: str, **told: Any) -> dict[str, Any]:
    """What worker/asked.py says; 400 for what it refuses."""
    body = apart.question(here.settings, question, LIMIT_S, **told)
    said = apart.answer(await run(request, caller, apart.ASKED, body))
    if "error" in said and len(said) == 1:
        raise ApiError(400, f"{said['error']}.")
    return said


async def run(
    request: Request,
    caller: str,
    module: Sequence[str],
    told: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> apart.Ended:
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
                ended = await apart.run(module, told, environment)
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
