"""A lane of provider batches in this process: real Redis, a stand-in provider, batches as prepare commits them and plan gives
them; no scheduler, no settler."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pipelines import wire
from pipelines.journal import State, fold
from pipelines.learn import Length
from pipelines.settings import parse_settings
from pipelines.types import BatchHead, Item
from worker.context import Context
from worker.drain.journal import Journal
from worker.money import budget
from worker.money.ledger import Ledger
from worker.provider_batches.lane import ProviderBatches
from worker.provider_batches.orders import LEASE
from worker.simulator import Running, scenario_settings, serve
from worker.simulator.core.batches import desk

RUN = "20260101-000000-abcdef"
ROWS = 12
KINDS = ("openai", "anthropic", "gemini", "openrouter")
ALL = {row: f"Repeat {row}." for row in range(ROWS)}
"""Every row's answer."""
PRICES = {"usd_per_mtok_in": 0.15, "usd_per_mtok_out": 0.6}
FAST = {
    "batch_latency_s": 0.15, "batch_validate_s": 0.02, "batch_cancel_s": 0.02, "batch_window_s": 5.0, "answer": "echo",
}  # fmt: skip


class Stage:
    """One run of ROWS prompts in two batches at one target, `cloud`."""

    def __init__(self, context: Context, upstream: Running) -> None:
        self.context, self.upstream = context, upstream
        self.batches = [f"{RUN}.0.{first}.0" for first in (0, ROWS // 2)]
        self.lengths: dict[str, Length] = {}
        self.lane = self.made()
        self.journal_task = asyncio.create_task(self.journal.run())

    def made(self) -> ProviderBatches:
        context = self.context
        self.journal = Journal(context.redis, context.keys, context.scripts, context.owner, context.again)
        self.ledger = Ledger(context.settings, context.targets)
        return ProviderBatches(context, self.ledger, self.journal, self.lengths)

    async def prepare(
        self, *, bodies: dict[int, dict[str, Any]] | None = None, options: str = "{}", **run: Any
    ) -> None:
        redis, keys = self.context.redis, self.context.keys
        await self.lead()
        fields = {"client": "default", "options": options, "status": "in_progress", "prepared": 1, **run}
        await redis.hset(keys.run(RUN), mapping=fields)
        for batch in self.batches:
            first = int(batch.split(".")[2])
            items = self.items(bodies)[first : first + ROWS // 2]
            head = BatchHead(batch, RUN, "all", 0, len(items), 50, 50, 11.0, 2200, 100, group="g")
            said = {"state": "waiting", "epoch": 0, "lanes": "any", "tries": 0}
            packed = {"head": wire.pack_head(head), "payload": wire.pack_items(items)}
            await redis.hset(keys.batch(batch), mapping={**said, **packed})
            await redis.zadd(keys.waiting(RUN), {batch: 200.0})

    def items(self, bodies: dict[int, dict[str, Any]] | None = None) -> list[Item]:
        found = []
        for row in range(ROWS):
            body = {"messages": [{"role": "user", "content": ALL[row]}], "max_tokens": 50}
            more = (bodies or {}).get(row, {})
            found.append(Item(row, json.dumps({**body, **more}).encode(), 8 + len(json.dumps(more)) // 4, 50))
        return found

    async def lead(self) -> None:
        """The orders are this context's to look after, whoever had them."""
        await self.context.redis.set(self.context.keys.lease(LEASE), self.context.owner)

    async def billed(self) -> bool:
        """The provider has done some lines."""
        return self.billed_pusd() > 0

    async def give(self, *only: str) -> list[str]:
        """As the scheduler applies plan's move to whatever waits, or to these of it; which batches those were."""
        keys = self.context.keys
        waiting = [batch.decode() for batch in await self.context.redis.zrange(keys.waiting(RUN), 0, -1)]
        waiting = [batch for batch in waiting if not only or batch in only]
        for batch in waiting:
            names = [keys.batch(batch), keys.waiting(RUN), keys.given]
            await self.context.scripts.ring(keys=names, args=[batch, "provider_batch", "cloud", "any"])
        return waiting

    async def order(self, **run: Any) -> None:
        """The run is prepared and all of it is with the provider."""
        await self.prepare(**run)
        await self.give()
        await self.rounds(self.out)

    async def rounds(self, until: Any, seconds: float = 20.0) -> None:
        """Rounds of the lane until something is true."""
        await self.lead()
        ends_s = asyncio.get_running_loop().time() + seconds
        while not await until():
            assert asyncio.get_running_loop().time() < ends_s, "it did not come to pass"
            await self.lane.step()

    async def over(self) -> bool:
        """No order is left and no batch on the lane."""
        keys = self.context.keys
        return not await self.context.redis.exists(keys.orders, keys.given)

    async def out(self) -> bool:
        """An order is with the provider."""
        return any(order.state == "sent" for order in await self.lane._orders.open())

    async def sending(self) -> bool:
        """An order was sent, or is being sent, and nobody has heard of it."""
        return any(order.state == "sending" for order in await self.lane._orders.open())

    async def next_worker(self) -> None:
        """Takes over from one that died."""
        await self.lane.close()
        self.context.owner = "the next one"
        self.lane = self.made()
        self.journal_task.cancel()
        self.journal_task = asyncio.create_task(self.journal.run())

    async def given_back(self) -> bool:
        """No batch is on the lane, whatever becomes of its order."""
        return not await self.context.redis.exists(self.context.keys.given)

    async def state(self, batch: str) -> str:
        return str((await self.context.redis.hget(self.context.keys.batch(batch), "state")).decode())

    async def heads(self) -> list[tuple[str, BatchHead]]:
        keys, redis = self.context.keys, self.context.redis
        return [(each, wire.unpack_head(await redis.hget(keys.batch(each), "head"))) for each in self.batches]

    async def journals(self) -> list[State]:
        keys, redis = self.context.keys, self.context.redis
        return [fold(wire.readable_entries(await redis.lrange(keys.journal(batch), 0, -1))) for batch in self.batches]

    async def outcomes(self) -> dict[str, int]:
        """How many calls ended how; `out` those of which nothing is known."""
        found: dict[str, int] = {}
        for state in await self.journals():
            for call in state.intents:
                name = state.called[call].outcome if call in state.called else "out"
                found[name] = found.get(name, 0) + 1
        return found

    async def answers(self) -> dict[int, str | None]:
        return {row: done.output for state in await self.journals() for row, done in state.done.items()}

    async def money(self) -> tuple[int, int]:
        """Spent and reserved in the run's budget, nano-dollars."""
        [scope] = await budget.look(self.context.redis, self.context.keys, [f"run:{RUN}"])
        return scope.spent_nusd, scope.reserved_nusd

    def billed_pusd(self) -> int:
        for server in self.upstream.servers.values():
            desk(server).settle()
        return sum(call.cost_pusd for call in self.upstream.bill.calls())

    async def booked_pusd(self) -> int:
        return sum(call.cost_pusd for state in await self.journals() for call in state.called.values())


@asynccontextmanager
async def stage(
    base: Context,
    personality: str = "openai",
    *,
    daily_usd: str | None = None,
    clients: dict[str, Any] | None = None,
    **server: Any,
) -> AsyncIterator[Stage]:
    config = {"servers": {"cloud": {"personality": personality, "model": "m", **PRICES, **FAST, **server}}}
    async with serve(config) as upstream:
        told = scenario_settings(config, upstream.base_urls)
        told["targets"]["cloud"]["provider_batch"] = True
        told["spillway"] = {"data": base.settings.spillway.data}
        told["clients"] = clients or {}
        if daily_usd:
            told["budget"] = {"daily_usd": daily_usd}
        context = Context(parse_settings(told), base.redis, base.redis_url)
        await context.scripts.load()
        await context.again.seen("this life", synced=True)
        made = Stage(context, upstream)
        try:
            yield made
        finally:
            made.journal_task.cancel()
            await made.lane.close()
