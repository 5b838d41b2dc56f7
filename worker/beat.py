"""A worker's heartbeat: that it is alive, what it holds, how its lanes do; and the orders it reads in return."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from pipelines import beside, budgets
from pipelines.learn import Length
from pipelines.printable import one_line
from worker import aside
from worker.context import Context
from worker.drain.drain import Drain
from worker.money import budget, reported
from worker.process import Identity, identity, is_dead_here
from worker.queue import RedisError
from worker.timing import ALIVE_MS

log = logging.getLogger("spillway.beat")

BEAT_S = 0.4
BURY_EVERY = 3
"""Beats between two looks for dead neighbours on this machine."""
TIDY_EVERY = 12
"""Beats between two looks for keys that hold another kind of value than ours, at the clock, and between two tellings of
prices."""


class TargetStats(msgspec.Struct):
    """One lane of one worker; `done`, the tokens of what was answered, `busy_s`, the seconds that slots were held and the calls
    that an overloaded server refused or left lying only grow."""

    in_flight: int = 0
    pending: int = 0
    granted: int = 0
    done: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    busy_s: float = 0.0
    latency_s: float = 0.0
    held_s: float = 0.0
    refused: int = 0


class Beat(msgspec.Struct):
    """What a worker says of itself; its key lives ALIVE_MS. `number` tells a new one from the one that was seen already.

    `lengths`: how long the answers of whole batches were, by group; sums that only grow.
    """

    roles: tuple[str, ...] = ()
    batches: dict[str, int] = {}
    targets: dict[str, TargetStats] = {}
    number: int = 0
    lengths: dict[str, Length] = {}


def read_beat(raw: bytes) -> Beat | None:
    """None for what no worker wrote."""
    try:
        return msgspec.json.decode(raw, type=Beat)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


async def alive(context: Context) -> dict[str, Beat]:
    """Workers that are alive, by id."""
    redis, keys = context.redis, context.keys
    owners = [owner.decode(errors="replace") for owner in await redis.hkeys(keys.workers)]
    raw = await redis.mget([keys.worker(owner) for owner in owners]) if owners else []
    return {owner: beat for owner, value in zip(owners, raw, strict=True) if value and (beat := read_beat(value))}


async def bury(context: Context) -> None:
    """Ends the leases and heartbeats of workers known dead on this machine: nobody waits for them."""
    redis, keys = context.redis, context.keys
    for owner, raw in (await redis.hgetall(keys.workers)).items():
        try:
            if not is_dead_here(msgspec.json.decode(raw, type=Identity)):
                continue
        except (msgspec.MsgspecError, UnicodeError):
            log.error("workers: %s is no worker's name; forgotten", one_line(owner.decode(errors="replace"))[:100])
            await redis.hdel(keys.workers, owner)
            continue
        name = owner.decode()
        log.info("worker %s is dead; taking over its work", name)
        held = [client for client, who in (await redis.hgetall(keys.preparing)).items() if who == owner]
        for lease in (
            "schedule",
            "watch",
            "settle",
            "money",
            "provider_batch",
            "health",
            *(f"prepare:{client.decode(errors='replace')}" for client in held),
        ):
            await context.scripts.unlease(keys=[keys.lease(lease)], args=[name])
        pipe = redis.pipeline(transaction=False)
        for target in context.settings.targets:
            pipe.hdel(keys.slots(target), name)
        pipe.delete(keys.worker(name))
        pipe.hdel(keys.workers, name)
        await pipe.execute()


class Heart:
    """Beats for one worker process."""

    def __init__(self, context: Context, drain: Drain | None, roles: tuple[str, ...]) -> None:
        self._context, self._drain, self._roles = context, drain, roles
        self._budget_day = ""
        self._beats = 0
        self._identity = msgspec.json.encode(identity())

    async def register(self) -> None:
        await self.beat()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self._beats += 1  # whatever fails below: the look that mends it comes by this count
            try:
                if self._beats % TIDY_EVERY == 0:
                    await self._context.clock.set(self._context.redis)
                    await aside.shared(self._context)
                if self._beats % BURY_EVERY == 0:
                    await bury(self._context)
                await self.beat()
            except (RedisError, OSError) as error:
                log.warning("heartbeat: %s", error)

    async def leave(self) -> None:
        context = self._context
        pipe = context.redis.pipeline(transaction=False)
        for target in context.settings.targets:
            pipe.hdel(context.keys.slots(target), context.owner)
        pipe.hdel(context.keys.workers, context.owner)
        pipe.delete(context.keys.worker(context.owner))
        await pipe.execute()

    async def beat(self) -> None:
        """One pipeline out and back: alive, counters, then orders: epochs, cancels, targets."""
        context, keys = self._context, self._context.keys
        running = list(self._drain.running.values()) if self._drain else []
        pipe = context.redis.pipeline(transaction=False)
        pipe.set(keys.worker(context.owner), msgspec.json.encode(self._said()), px=ALIVE_MS)
        pipe.hgetall(keys.targets)
        pipe.info("server")
        pipe.config_get("append*")
        pipe.hset(keys.workers, context.owner, self._identity)  # again: others forget a worker that paused
        self._counters(pipe)
        at = len(pipe.command_stack)
        for batch in running:
            pipe.hget(keys.batch(batch.id), "epoch")
        runs = sorted({batch.head.run for batch in running})
        for run_id in runs:
            pipe.hget(keys.run(run_id), "cancel")
        replies = await pipe.execute(raise_on_error=False)
        self._targets(replies[1] if isinstance(replies[1], dict) else {})
        if isinstance(replies[2], dict):
            await context.again.seen(str(replies[2].get("run_id", "")), **_durability(replies[3]))
        cancelled = {run for run, flag in zip(runs, replies[at + len(running) :], strict=True) if flag}
        for batch, epoch in zip(running, replies[at : at + len(running)], strict=True):
            if epoch != str(batch.epoch).encode():
                batch.fenced.set()
            if batch.head.run in cancelled:
                batch.run.stopped = True
            if (batch.fenced.is_set() or batch.head.run in cancelled) and self._drain is not None:
                self._drain.stop_batch(batch)
        await context.targets.publish(context.redis, context.keys)
        await self._budgets()

    def _said(self) -> Beat:
        if self._drain is None:
            return Beat(self._roles, number=self._beats)
        lanes = self._drain.lanes
        return Beat(
            self._roles,
            {batch.id: batch.open for batch in self._drain.running.values()},
            {
                name: TargetStats(
                    lane.in_use,
                    lane.pending,
                    lane.slots.granted,
                    lane.done,
                    lane.input_tokens,
                    lane.output_tokens,
                    lane.busy_s,
                    lane.latency_s,
                    lane.held_s,
                    lane.refused,
                )
                for name, lane in lanes.items()
            },
            self._beats,
            self._drain.lengths,
        )

    def _counters(self, pipe: Any) -> None:
        if self._drain is not None and self._beats % TIDY_EVERY == 0:
            today = self._context.keys.prices(self._context.clock.date("UTC"))
            for price in self._drain.ledger.prices():
                pipe.hset(today, beside.pack(price), "")
            pipe.expire(today, budgets.KEEP_S)
        if self._drain is not None and (own := self._drain.ledger.spent_by_key()):
            day = self._context.clock.date(self._context.settings.spillway.timezone)
            reported.count(pipe, self._context.keys.reported(day), own)
        context = self._context
        for run in context.runs():
            if run.counts:
                said = [part for pair in run.counts.items() for part in pair]
                context.scripts.queue(pipe, "count", [context.keys.run(run.id)], said)
                run.counts = type(run.counts)()

    def _targets(self, raw: dict[bytes, bytes]) -> None:
        """Learns what others know of the targets; queued prompts leave one that went down."""
        self._context.targets.learn(raw)
        if self._drain is not None:
            self._drain.standing.heard()

    async def _budgets(self) -> None:
        """A new day has new scopes; they must exist before the first call of the day."""
        context = self._context
        day = context.clock.date(context.settings.spillway.timezone)
        if day != self._budget_day:
            self._budget_day = day
            for run in context.runs():
                shared = budgets.shared(context.settings, run.client, day)  # the run's own limit may have changed
                await budget.ensure(context.redis, context.keys, shared)


def _durability(config: Any) -> dict[str, bool]:
    """Whether Redis has a file at all, and acknowledges nothing that is not in it; no when it does not say."""
    said = config if isinstance(config, dict) else {}
    keeps = said.get("appendonly") == "yes"
    return {"keeps": keeps, "synced": keeps and said.get("appendfsync") == "always"}
