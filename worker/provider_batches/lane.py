"""The provider_batch lane: makes orders of the batches that plan gave to it, and has them looked after (tending.py).

One process at a time does this (a lease). What belongs on the lane is plan's matter.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Container, Iterator
from functools import partial
from typing import NamedTuple

from pipelines import wire
from pipelines.batch import rest
from pipelines.errors import LeaseLost
from pipelines.learn import Length
from pipelines.planning.fair import Served, in_turn, standings
from pipelines.types import BatchHead
from worker import aside
from worker.backends import batching
from worker.backends.batching import BatchApi
from worker.backends.http import Web
from worker.context import Context
from worker.drain.journal import Journal
from worker.money.ledger import Ledger
from worker.provider_batches.making import UNSENT, Maker
from worker.provider_batches.missing import Missing
from worker.provider_batches.orders import GOES_ON, Order, Orders, rows_out
from worker.provider_batches.reading import Reader
from worker.provider_batches.standing import Standing
from worker.provider_batches.tending import Tender
from worker.queue import RedisError

log = logging.getLogger("spillway.provider_batches")

REST_S = 0.5
QUIET_S, GATHER_S = 1.0, 60.0
"""An order is made when its run gives no more for a moment; of a run that is still being prepared, after a while."""
MOST_ROWS, MOST_BYTES = 20_000, 64 << 20
"""Of one order, whatever a provider would take: it is in this process' memory while it is made and read."""
RESULT_BYTES = 1 << 30


class Given(NamedTuple):
    """A batch that plan gave to the lane and that no order has."""

    id: str
    epoch: int
    lanes: str
    head: BatchHead
    since_ms: int
    holder: str


class Waits(NamedTuple):
    """What a run has for a target, and whether nothing more of it is on the way."""

    run: str
    batches: list[Given]
    prepared: bool


class ProviderBatches:
    """The loop of the lease `provider_batch`."""

    def __init__(self, context: Context, ledger: Ledger, journal: Journal, lengths: dict[str, Length]) -> None:
        """`lengths`: where the heartbeat finds how long whole batches' answers were."""
        self._context = context
        self._web = Web(batching.SHORT_S, RESULT_BYTES)
        self._orders = Orders(context)
        self._maker = Maker(context, ledger, journal, self._orders, self._web)
        self._reader = Reader(context, ledger, journal, self._orders, lengths)
        self._standing = Standing(context, ledger)
        self._under_way: set[str] = set()
        self._weights, self._ranks = standings(context.settings.clients)
        self._served = defaultdict[str, Served](Served)
        """Rows that each target was ordered for clients: where there is little room, it is shared as every lane is."""
        missing = Missing(context, ledger, self._reader)
        self._tender = Tender(context, self._web, self._orders, self._maker, self._reader, self._standing, missing)

    async def step(self) -> None:
        """Rounds until nothing is under way: a provider that hangs holds up its own orders alone."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self._round(group)
                except (RedisError, OSError) as error:
                    log.warning("provider batches: %s", error)
                await asyncio.sleep(REST_S)
                if not self._under_way:
                    return

    async def _round(self, group: asyncio.TaskGroup) -> None:
        """Looks after the orders that are due, and makes new ones."""
        busy = frozenset(self._under_way)  # what is read from now on may be of before they end
        orders = await self._orders.open()
        self._standing.tell()
        recalled = await self._orders.recalled()
        now_s = asyncio.get_running_loop().time()
        for order in orders:
            ours = order.state in ("making", "sending") and _making(order.about.target) in busy
            if not ours and order.tag not in busy and await self._tender.is_due(order, recalled, now_s):
                self._start(group, order.tag, partial(self._tender.tend, order))
        for target, wanted in (await self._wanted(orders, recalled, busy)).items():
            self._start(group, _making(target), partial(self._make_each, target, wanted))

    def _start(self, group: asyncio.TaskGroup, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._under_way.add(name)
        group.create_task(_alone(name, work)).add_done_callback(lambda _: self._under_way.discard(name))

    async def close(self) -> None:
        await self._web.close()

    # -- what plan gave ----------------------------------------------------------------------------------------------

    async def _wanted(
        self, orders: list[Order], recalled: Container[str], busy: frozenset[str]
    ) -> dict[str, list[tuple[str, list[Given]]]]:
        """By target, of what no order has: each new order's run and batches. What cannot be sent is given back."""
        groups: dict[tuple[str, str], list[Given]] = defaultdict(list)
        waiting: dict[str, dict[str, list[Waits]]] = defaultdict(lambda: defaultdict(list))
        taken = {batch for order in orders for batch, _ in order.about.parts if order.state != "let_go"}
        for target, given in await self._given(taken):
            if _making(target) not in busy:
                groups[target, given.head.run].append(given)
        keys, pipe = self._context.keys, self._context.redis.pipeline(transaction=False)
        for _, run in groups:
            pipe.hmget(keys.run(run), "cancel", "prepared", "client")
        told = await pipe.execute() if groups else []
        for ((target, run), batches), (cancel, prepared, client) in zip(groups.items(), told, strict=True):
            if self._api(target) is None or cancel not in GOES_ON or not self._context.targets.is_up(target):
                await self._give_back(batches)
                continue
            await self._give_back([given for given in batches if given.id in recalled])
            wanted = [given for given in batches if given.id not in recalled]
            waiting[target][(client or b"").decode(errors="replace")].append(Waits(run, wanted, prepared == b"1"))
        found = {target: self._in_turn(target, rows_out(orders, target), each) for target, each in waiting.items()}
        return {target: some for target, some in found.items() if some}

    def _in_turn(self, target: str, out: int, waiting: dict[str, list[Waits]]) -> list[tuple[str, list[Given]]]:
        """What a target has room for where so many rows are `out`: each client's orders when it is its turn."""
        api, most_rows = self._api(target), self._standing.most_rows(target)
        assert api is not None
        found: list[tuple[str, list[Given]]] = []

        def line(runs: list[Waits]) -> Iterator[tuple[float, tuple[str, list[Given]]]]:
            for run, batches, prepared in runs:
                for some in self._orders_of(batches, api, most_rows - out, prepared):
                    yield float(_rows(some)), (run, some)

        lines = {client: line(runs) for client, runs in waiting.items()}
        for run, some in in_turn(lines, self._served[target].levels(lines), self._weights, self._ranks):
            if not out or out + _rows(some) <= most_rows:
                found.append((run, some))
                out += _rows(some)
        return found

    def _orders_of(self, batches: list[Given], api: BatchApi, room: int, prepared: bool) -> list[list[Given]]:
        """Full orders at once; the last, smaller one when its run gives no more for a moment, or has not for a while."""
        now_ms, cut = self._context.clock.now_ms(), _cut(batches, api, room)
        ages_s = [(now_ms - given.since_ms) / 1000 for given in batches]
        over = (prepared and min(ages_s, default=-1.0) >= QUIET_S) or max(ages_s, default=0.0) > GATHER_S
        return cut if over else cut[:-1]

    async def _given(self, taken: set[str]) -> list[tuple[str, Given]]:
        redis, keys = self._context.redis, self._context.keys
        listed = await redis.zrange(keys.given, 0, -1, withscores=True)
        since = {batch.decode(errors="replace"): int(ms) for batch, ms in listed}
        ids = [batch for batch in since if batch not in taken]
        pipe = redis.pipeline(transaction=False)
        for batch in ids:
            pipe.hmget(keys.batch(batch), "epoch", "state", "lane", "target", "lanes", "head", "holder", "left")
        found = []
        for batch, fields in zip(ids, await pipe.execute(raise_on_error=False) if ids else [], strict=True):
            try:
                if isinstance(fields, Exception):
                    raise wire.Unreadable(str(fields))
                epoch, state, lane, target, lanes, head, holder, left = fields
                if (state, lane) != (b"rung", b"provider_batch"):
                    await self._unlist(batch)
                    continue
                seen = rest(wire.unpack_head(head), int(left or 0))
                who = (lanes or b"any").decode(), seen, since[batch], (holder or b"").decode()
                given = Given(batch, int(epoch), *who)
                found.append((target.decode(), given))
            except (ValueError, TypeError, AttributeError) as error:
                await aside.batch(self._context, batch, error)
                await self._unlist(batch)
        return found

    async def _unlist(self, batch: str) -> None:
        keys = self._context.keys
        await self._context.scripts.unlist(keys=[keys.batch(batch), keys.given], args=[batch, 1])

    async def _give_back(self, batches: list[Given]) -> None:
        """What cannot be sent goes back to waiting as it is, unless another has made an order of it since we looked."""
        for batch, epoch, lanes, head, _, holder in batches:
            await self._orders.give_back(batch, epoch, head, "waiting", lanes, holder=holder or "nobody")

    async def _make_each(self, target: str, wanted: list[tuple[str, list[Given]]]) -> None:
        for run, batches in wanted:
            if self._standing.takes(target):
                await self._make(target, run, batches)
            else:
                await self._give_back(batches)

    async def _make(self, target: str, run_id: str, batches: list[Given]) -> None:
        """One order, from its record to its request."""
        run = await self._context.run(run_id)
        order = await self._orders.make(target, run, [(batch, epoch) for batch, epoch, *_ in batches])
        if order is None:
            return
        self._served[target].add(run.client, float(_rows(batches)), self._weights.get(run.client, 1.0))
        try:
            await self._send(order)
        except (RedisError, OSError, LeaseLost):
            raise
        except Exception:
            log.exception("order %s cannot be made", order.tag)
            if order.state == "making":
                await self._reader.undo(order, await self._orders.hold(order), "internal", real_time=True)

    async def _send(self, order: Order) -> None:
        parts = await self._orders.hold(order)
        lines = await self._maker.reserve(order, parts)
        for part in parts:
            if not part.out:
                await self._reader.release(part, real_time=part.cannot)
        trouble = await self._maker.submit(order, lines) if lines else None
        if trouble is not None:
            sent = trouble not in UNSENT
            at_fault = sent and self._standing.refused(order, trouble, await self._orders.out_before(order))
            await self._reader.undo(order, parts, trouble.code, real_time=at_fault)
        elif not lines:
            await self._orders.end(order)

    def _api(self, name: str) -> BatchApi | None:
        target = self._context.settings.targets.get(name)
        return batching.load(target.kind) if target is not None and target.provider_batch else None


def _making(target: str) -> str:
    return f"orders for {target}"


async def _alone(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Trouble with one, or a Redis that is away, is no reason to leave the others; the next round tries again, if there is one
    for us."""
    try:
        await work()
    except (RedisError, OSError, LeaseLost) as error:
        log.warning("%s: %s", name, error)
    except Exception:
        log.exception("%s failed in our own code", name)


def _rows(batches: list[Given]) -> int:
    return sum(given.head.rows for given in batches)


def _cut(batches: list[Given], api: BatchApi, room: int) -> list[list[Given]]:
    """Orders that a provider, and this process, can take; of so many rows at the most, or one batch."""
    most = min(MOST_ROWS, room, api.most_lines)
    size = min(MOST_BYTES, api.most_bytes)
    cut: list[list[Given]] = []
    count = held = 0
    for given in batches:
        more = given.head.rows, max(given.head.payload_bytes, 4 * given.head.input_tokens)
        if not cut or count + more[0] > most or held + more[1] > size:
            cut.append([])
            count = held = 0
        cut[-1].append(given)
        count, held = count + more[0], held + more[1]
    return cut
