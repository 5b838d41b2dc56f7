"""Delivers clients' webhooks: signed, at least once, tried again for about a day, whoever is killed meanwhile.

What is to be delivered lies in Redis; it gets there in the same step as the end that it tells of. Any worker may deliver.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

import msgspec

from pipelines import hooks
from pipelines.hooks import Notice
from pipelines.settings import Settings
from pipelines.types import Failure
from worker.backends.exchange import origin
from worker.context import Context
from worker.queue import RedisError

log = logging.getLogger("spillway.hooks")

AT_ONCE = 16
REST_S = 0.5
TIMEOUT_S = 10.0
TAKEN_MS = 30_000
"""A notice whose deliverer says nothing for this long is taken by another; longer than a try may be."""
ANSWER_BYTES = 64 << 10
GONE = 410
LAST_S = 6.0

_notice = msgspec.json.Decoder(Notice)


def wanted(settings: Settings) -> bool:
    """Whether anybody has a webhook."""
    return any(client.webhook for client in settings.clients.values())


async def announce(context: Context, told: Notice) -> None:
    """Puts a notice where it will be delivered from; twice is once."""
    keys = context.keys
    args = [told.id, msgspec.json.encode(told), hooks.KEPT_S]
    await context.scripts.announce(keys=[keys.hooks, keys.hook(told.id)], args=args)


class Hooks:
    """One worker's part in delivering them."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def step(self) -> None:
        """Delivers what is due; rests when nothing is."""
        if not await self._deliver_due():
            await asyncio.sleep(REST_S)

    async def finish(self) -> None:
        """Once more before the process ends, so that a command's own run is told at once."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            await asyncio.wait_for(self._deliver_due(), LAST_S)

    async def _deliver_due(self) -> int:
        keys = self._context.keys
        found = await self._context.scripts.hooks(keys=[keys.hooks], args=[AT_ONCE, TAKEN_MS, keys.hook("")])
        tries = [(_read(raw), int(tried)) for raw, tried in zip(found[::2], found[1::2], strict=True)]
        await asyncio.gather(*(self._deliver(told, tried) for told, tried in tries if told is not None))
        return len(tries)

    async def _deliver(self, told: Notice, tried: int) -> None:
        redis, keys = self._context.redis, self._context.keys
        problem, final = await self._try(told)
        if problem:
            what = f"webhook of {told.client}, {told.kind} {told.id}: {problem}"
            final = final or tried > len(hooks.PAUSES_S)
            log.log(logging.ERROR if final else logging.WARNING, "%s (try %d)%s", what, tried, "; given up" * final)
        if problem and not final:
            due_ms = self._context.clock.now_ms() + hooks.PAUSES_S[tried - 1] * 1000
            await redis.zadd(keys.hooks, {told.id: due_ms}, xx=True)
            return
        pipe = redis.pipeline(transaction=True)
        pipe.zrem(keys.hooks, told.id)
        pipe.hset(keys.hook(told.id), "notice", "")  # remembered, so that it is not made again
        pipe.expire(keys.hook(told.id), hooks.KEPT_S)
        await pipe.execute()

    async def _try(self, told: Notice) -> tuple[str, bool]:
        """What went wrong, empty when it is delivered; and whether another try is of no use."""
        from worker.backends.http import Web  # httpx comes with it, and few have a webhook

        client = self._context.settings.clients.get(told.client)
        if client is None or client.webhook is None:
            return "the configuration names no webhook any more", True
        secret = client.webhook_secret.get_secret_value() if client.webhook_secret else ""
        key = hooks.key_of(secret)
        if key is None:
            return hooks.UNSIGNED, False
        sent = hooks.headers(told, key, self._context.clock.now_ms() // 1000)
        async with Web(TIMEOUT_S, ANSWER_BYTES) as web:
            answer = await web.post(client.webhook, sent, told.body.encode())
        status = answer.http_status if isinstance(answer, Failure) else answer.status
        if status is not None and 200 <= status < 300:
            return "", False
        said = answer.message if isinstance(answer, Failure) else f"{origin(client.webhook)} answers HTTP {status}"
        return said, status == GONE


def _read(raw: bytes) -> Notice | None:
    """None for what no worker wrote: the other notices go on."""
    try:
        return _notice.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        log.error("a notice in Redis is not ours; it is not delivered")
        return None
