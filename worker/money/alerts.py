"""Looks at every budget scope of today and has people told when one nears its limit, once per scope and day."""

from __future__ import annotations

import asyncio
import contextlib

from pipelines import budgets, hooks, wire
from pipelines.budgets import Event, Scope
from worker.context import Context
from worker.hooks import announce, announce_alert
from worker.money import budget
from worker.money.cutoff import Cutoff
from worker.queue import RedisError
from worker.tell import Teller

LOOK_EVERY_S = 0.5
KEEP_S = 3 * 86_400
LAST_S = 6.0
"""How long a process that ends waits for mails and webhooks."""


class Alerts:
    """The loop of the lease `money`: alerts and the emergency cut-off."""

    def __init__(self, context: Context, stopping: asyncio.Event | None = None) -> None:
        """`stopping`: set when the process ends, so that its lease is given back before it has to be let go of."""
        self._context, self._stopping = context, stopping or asyncio.Event()
        self._cutoff = Cutoff(context)
        self._teller = Teller(context)
        self._runs: set[str] = set()

    async def step(self) -> None:
        await self._look()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), LOOK_EVERY_S)

    async def finish(self) -> None:
        """One more look, so that what the last calls spent is told too."""
        with contextlib.suppress(RedisError, OSError, TimeoutError):
            await asyncio.wait_for(self._look(), LAST_S)
        await self._teller.finish(LAST_S)

    async def _look(self) -> None:
        context = self._context
        settings, redis = context.settings, context.redis
        day = context.clock.date(settings.spillway.timezone)
        for scope in await budget.look(redis, context.keys, await self._names(day)):
            if budgets.is_due(scope, budgets.alert_at(settings, scope)):
                await self._once("budget_alert", day, scope, budgets.alert_text(scope))
        stopped = await self._cutoff.step(day)
        if stopped is not None:
            text = budgets.cutoff_text(day, stopped.spent_nusd, stopped.limit_nusd or 0)
            await self._once("emergency_cutoff", day, stopped, text)

    async def _names(self, day: str) -> list[str]:
        """Today's scopes: everybody's, each client's, each open run's, and once more those of runs just ended."""
        settings = self._context.settings
        names = dict.fromkeys(budgets.shared(settings, "", day))
        for client in settings.clients:
            names |= dict.fromkeys(budgets.shared(settings, client, day))
        members = await self._context.redis.smembers(self._context.keys.open_runs)
        now_open = {run.decode(errors="replace") for run in members}
        names |= dict.fromkeys(f"run:{run}" for run in sorted(now_open | self._runs))
        self._runs = now_open
        return list(names)

    async def _once(self, kind: str, day: str, scope: Scope, message: str) -> None:
        event = Event(kind, day, scope, self._context.clock.now_us(), message)
        await self._announce(event)
        key = self._context.keys.alerts(day)
        pipe = self._context.redis.pipeline(transaction=True)
        pipe.hsetnx(key, scope.name, wire.dump(event.as_json()))
        pipe.expire(key, KEEP_S)
        first, _ = await pipe.execute()
        if first:
            self._teller.tell(event)

    async def _announce(self, event: Event) -> None:
        """To the operator's webhook, and to that of the client whose scope or run it is; before the event is written down as
        told, so that a process that dies in between tells it again."""
        await announce_alert(self._context, event)
        settings, redis, keys = self._context.settings, self._context.redis, self._context.keys
        client = event.scope.client
        if client is None and event.scope.run_id and any(each.webhook for each in settings.clients.values()):
            client = (await redis.hget(keys.run(event.scope.run_id), "client") or b"").decode(errors="replace")
        known = settings.clients.get(client or "")
        if client and known and known.webhook:
            subject = f"{event.day} {event.scope.name}"
            data = event.as_json()
            await announce(self._context, hooks.notice(client, "budget.alert", subject, event.at_us // 1000, data))
