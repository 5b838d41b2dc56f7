"""Delivers webhooks, clients' and the operator's, and the operator's mails: at least once, tried again for about a day,
whoever is killed meanwhile.

What is to be delivered lies in Redis; it gets there in the same step as the end that it tells of. Any worker may deliver.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import NamedTuple

import msgspec
from pydantic import SecretStr

from pipelines import hooks
from pipelines.budgets import Event
from pipelines.config.sections import Budget, Smtp
from pipelines.hooks import Notice
from pipelines.settings import Settings
from pipelines.types import Failure
from worker import mail
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
MAIL = "mail"
LAST_S = 6.0

_notice = msgspec.json.Decoder(Notice)


def wanted(settings: Settings) -> bool:
    """Whether anybody has a webhook, or a mail server for alerts."""
    clients = settings.clients.values()
    everybody = [settings.budget, *(each.budget for each in clients)]
    return any(each.webhook for each in clients) or any(each.webhook or each.smtp for each in everybody)


async def announce(context: Context, told: Notice) -> None:
    """Puts a notice where it will be delivered from; twice is once."""
    keys = context.keys
    args = [told.id, msgspec.json.encode(told), hooks.KEPT_S]
    await context.scripts.announce(keys=[keys.hooks, keys.hook(told.id)], args=args)


async def announce_alert(context: Context, event: Event) -> None:
    """The same to the operator: to the webhook of the budgets, and by mail."""
    client, said = event.scope.client or "", (event.kind, f"{event.day} {event.scope.name}", event.as_json())
    if _budget_of(context.settings, client).webhook:
        await announce(context, hooks.alert(client, *said))
    if _smtp_of(context.settings, client):
        await announce(context, hooks.mail(client, *said))


def _budget_of(settings: Settings, client: str) -> Budget:
    """Where a client has no webhook for its budgets, everybody's."""
    own = settings.clients.get(client)
    return own.budget if own and own.budget.webhook else settings.budget


def _smtp_of(settings: Settings, client: str) -> Smtp | None:
    own = settings.clients.get(client)
    return (own.budget.smtp if own else None) or settings.budget.smtp


class Receiver(NamedTuple):
    """A webhook as the configuration has it."""

    url: str | None
    secret: SecretStr | None
    signed: bool = True

    def headers(self, told: Notice, at_s: int) -> dict[str, str] | None:
        """None where the secret cannot be used: nothing goes out unsigned that should be signed."""
        if not self.signed:
            return {"content-type": "application/json"}
        key = hooks.key_of(self.secret.get_secret_value() if self.secret else "")
        return None if key is None else hooks.headers(told, key, at_s)


def _receiver(settings: Settings, told: Notice) -> Receiver:
    if told.to == "operator":
        budget = _budget_of(settings, told.client)
        return Receiver(budget.webhook, budget.webhook_secret, budget.webhook_secret is not None)
    client = settings.clients.get(told.client)
    return Receiver(client.webhook, client.webhook_secret) if client else Receiver(None, None)


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
            way = "mail" if told.to == MAIL else "webhook"
            what = f"{way} of {told.client or 'the budgets'}, {told.kind} {told.id}: {problem}"
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
        if told.to == MAIL:
            if (smtp := _smtp_of(self._context.settings, told.client)) is None:
                return "the configuration names no mail server any more", True
            return await mail.send(smtp, told), False
        from worker.backends.http import Web  # httpx comes with it, and few have a webhook

        receiver = _receiver(self._context.settings, told)
        if receiver.url is None:
            return "the configuration names no webhook any more", True
        sent = receiver.headers(told, self._context.clock.now_ms() // 1000)
        if sent is None:
            return hooks.UNSIGNED, False
        async with Web(TIMEOUT_S, ANSWER_BYTES) as web:
            answer = await web.post(receiver.url, sent, told.body.encode())
        status = answer.http_status if isinstance(answer, Failure) else answer.status
        if status is not None and 200 <= status < 300:
            return "", False
        said = answer.message if isinstance(answer, Failure) else f"{origin(receiver.url)} answers HTTP {status}"
        return said, status == GONE


def _read(raw: bytes) -> Notice | None:
    """None for what no worker wrote: the other notices go on."""
    try:
        return _notice.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        log.error("a notice in Redis is not ours; it is not delivered")
        return None
