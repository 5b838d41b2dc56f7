"""What a client may still submit, asked before anything is taken in: 429 with the limit's name and when it turns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from pipelines.config.sections import Client, Quota
from producer import quotas
from producer.api.errors import ApiError
from producer.api.state import State
from producer.queue import now_ms
from producer.quotas import Refused

BYTES_PER_TOKEN = 4
"""What a submission's tokens are before anybody has counted them."""
RETRY_S = 30
"""When to ask again where no turn of the clock is waited for: rows in the queue end by themselves."""


async def admit(here: State, client: str) -> None:
    """Counts a submission whose size nobody knows yet; 429 when not even one more row may be submitted."""
    terms = _terms(here, client)
    if terms is None:
        return
    refused = await quotas.count(here.redis, here.keys, terms, client, timezone=here.settings.spillway.timezone)
    if refused is not None:
        raise _refusal(refused, await now_ms(here.redis))


@asynccontextmanager
async def admitted(
    here: State,
    client: str,
    rows: int,
    size_bytes: int,
    *,
    ticket: str = "",
    submissions: int = 1,
    undone: type[BaseException] = BaseException,
) -> AsyncIterator[None]:
    """Books a submission whose run the block registers, or 429; when the block fails, it is given back. `submissions` is
    0 for one that `admit` counted when it came, `ticket` (quotas.ticket_of) is what one that is tried again is known by.

    `undone`: the errors after which nothing can have come in, for a block of which Redis does not tell by the ticket."""
    terms = _terms(here, client)
    if terms is None:
        yield
        return
    taken = await quotas.take(
        here.redis, here.keys, terms, client, rows=rows, tokens=size_bytes // BYTES_PER_TOKEN, submissions=submissions,
        timezone=here.settings.spillway.timezone, ticket=ticket,
    )  # fmt: skip
    if isinstance(taken, Refused):
        raise _refusal(taken, await now_ms(here.redis))
    try:
        yield
    except undone:
        await quotas.give_back(here.redis, here.keys, taken)
        raise
    await quotas.landed(here.redis, here.keys, taken)


def _refusal(refused: Refused, at_ms: int) -> ApiError:
    """`retry-after`, and the moment as unix seconds; neither where the submission is too large at any time."""
    headers = {}
    if refused.reset_ms is not None:
        headers = {
            "retry-after": str(max(1, -(-(refused.reset_ms - at_ms) // 1000))),
            "x-ratelimit-reset": str(-(-refused.reset_ms // 1000)),
        }
    elif refused.asked <= refused.allowed:
        headers = {"retry-after": str(RETRY_S)}
    return ApiError(429, _told(refused), code=refused.code, param=refused.limit, headers=headers)


def _told(refused: Refused) -> str:
    """The limit that refuses, and when it turns."""
    if refused.reset_ms is None:
        return f"{refused.message}."
    return f"{refused.message}; it resets at {datetime.fromtimestamp(refused.reset_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}."


def _terms(here: State, client: str) -> Client | None:
    terms = here.settings.clients.get(client)
    limited = terms is not None and (
        terms.quota != Quota() or terms.budget.daily_usd is not None or terms.budget.monthly_usd is not None
    )
    return terms if limited else None
