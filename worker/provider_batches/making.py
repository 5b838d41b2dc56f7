"""From batches that plan gave to the lane to an order at the provider: lines, money, then the one request that costs.

Every step is written down before the next: a worker that dies between two of them leaves an order that the next one can
undo (nothing was sent) or finds at the provider by its tag.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from pipelines import wire
from pipelines.money import pusd_to_nusd_ceil
from pipelines.types import Failure, Intent, Item
from worker.backends import batching, ready
from worker.backends.batching import BatchApi, Line, Remote
from worker.backends.http import Web
from worker.context import Context, RunContext
from worker.drain.history import history_of, paid_most
from worker.drain.journal import Journal
from worker.drain.local import Local
from worker.drain.running import numbering
from worker.money.ledger import Ledger
from worker.provider_batches.listening import listen
from worker.provider_batches.orders import Order, Orders, Part

log = logging.getLogger("spillway.provider_batches")

LANE = "provider_batch"
FORGETS_S = 2.5
"""A Redis that does not sync each write may forget its last two seconds, and with them that something was to be sent."""
LINE_BYTES = 200
"""What a line has around its body, at most."""
FORGOTTEN = Failure("connect", "forgotten", "Redis has forgotten the order; nothing was sent")
UNWANTED = Failure("connect", "unwanted", "nobody wants the order any more; nothing was sent")
UNSENT = (FORGOTTEN, UNWANTED)
MAY_EXIST = frozenset({"unknown", "transient"})
"""Kinds of Failure after which a batch may have been made all the same."""
UNAVAILABLE = 503
"""So is one by this status: a gateway says it too when it has lost the server that it had given the request to."""
NOBODY_THERE = frozenset({"wrong_address", "redirect"})
"""Unless nobody was there to make it."""


class Maker:
    """Makes orders."""

    def __init__(self, context: Context, ledger: Ledger, journal: Journal, orders: Orders, web: Web) -> None:
        self._context, self._ledger, self._journal, self._orders, self._web = context, ledger, journal, orders, web
        self._local = Local(context.targets, context.settings.targets)

    async def reserve(self, order: Order, parts: Sequence[Part]) -> list[Line]:
        """The order's lines, each with its worst case reserved in every budget and its intent in a journal; what no budget
        admits, or the target cannot be asked, is left out."""
        context = self._context
        run = await context.run(order.about.run)
        api = batching.load(context.settings.targets[order.about.target].kind)
        assert api is not None
        lines: list[Line] = []
        left, now_us = api.most_bytes, context.clock.now_us()
        for part in parts:
            asked = self._lines(order, part, run)
            size = sum(len(line.body) + LINE_BYTES for _, line in asked)
            if size <= left:
                left -= size
                lines += await self._admitted(order, part, asked, now_us)
            part.cannot = not asked or size > api.most_bytes
        return lines

    async def submit(self, order: Order, lines: Sequence[Line]) -> Failure | None:
        """Sends the order. A Failure: it certainly does not exist; None: it does, or may."""
        context = self._context
        target = context.settings.targets[order.about.target]
        api = batching.load(target.kind)
        assert api is not None
        order.lines = len(lines)
        staged = await listen(context, order.about.run, api.stage, self._web, target, order.tag, lines)
        if isinstance(staged, Failure):
            return staged
        if await self._orders.unwanted(order, await self._orders.recalled()):
            return UNWANTED
        order.state, order.sent_ms = "sending", context.clock.now_ms()
        noted = await self._orders.note(order)
        if not context.again.synced:
            await asyncio.sleep(FORGETS_S)
            noted = await self._orders.note(order)
        if not noted:
            return FORGOTTEN
        return await self._create(api, order, staged)

    async def _create(self, api: BatchApi, order: Order, staged: bytes) -> Failure | None:
        target = self._context.settings.targets[order.about.target]
        made = await listen(self._context, order.about.run, api.create, self._web, target, staged)
        if isinstance(made, Failure):
            log.warning("order %s: %s", order.tag, made.message)
            may_exist = made.kind in MAY_EXIST or made.http_status == UNAVAILABLE
            if not may_exist or made.code in NOBODY_THERE:
                return made
            order.given_up_ms = self._context.clock.now_ms()
            await self._orders.note(order)
            return None
        await self.adopt(order, made)
        return None

    async def adopt(self, order: Order, remote: Remote) -> None:
        """The provider has named it."""
        order.state, order.remote = "let_go" if order.state == "let_go" else "sent", remote.id
        await self._orders.note(order)
        log.info("order %s: %d lines are batch %s of %s", order.tag, order.lines, remote.id, order.about.target)

    # -- lines -------------------------------------------------------------------------------------------------------

    def _lines(self, order: Order, part: Part, run: RunContext) -> list[tuple[Item, Line]]:
        """What is left to be asked of one batch and can be asked here."""
        name = order.about.target
        since_us = int(run.started_ms or 0) * 1000
        history = history_of(part.state, paid_most(self._context.settings.targets), since_us)
        found = []
        for row, item in part.items.items():
            _, given_up = history.get(row, (0, set()))
            if row in part.state.done or name in given_up:
                continue
            target = self._local.fitted(name, item)
            if isinstance(target, Failure):
                continue
            request = ready(target, item.body, schema=run.schema, price=self._ledger.price(name))
            if isinstance(request, Failure):
                continue
            url, _, body = request
            if b"\n" in body:
                body = msgspec.json.format(body, indent=-1)
            found.append((item, Line(custom_id(order.tag, part.number, row), url, body)))
        return found

    async def _admitted(self, order: Order, part: Part, asked: Sequence[tuple[Item, Line]], now_us: int) -> list[Line]:
        """The lines whose intent was taken down and whose worst case fits into every budget."""
        name = order.about.target
        wanted: list[tuple[Line, Intent]] = []
        for number, (item, line) in enumerate(asked, numbering() + 1):
            bound = self._ledger.bound_pusd(name, item, batch=True)
            if isinstance(bound, Failure):
                continue
            attempt = part.state.attempts(item.row) + 1
            call = wire.call_id(part.id, part.epoch, number)
            wanted.append((line, Intent(call, item.row, attempt, name, now_us, bound, LANE)))
        scopes = order.about.scopes
        told = await asyncio.gather(*(self._journal.intent(part, scopes, intent) for _, intent in wanted))
        for (_, intent), admitted in zip(wanted, told, strict=True):
            if admitted:
                part.state.intents[intent.call] = intent
            elif not part.fenced.is_set():
                bound = pusd_to_nusd_ceil(intent.bound_pusd)
                part.refused_nusd = min(bound, part.refused_nusd or bound)
        return [line for (line, _), admitted in zip(wanted, told, strict=True) if admitted]


def custom_id(tag: str, part: int, row: int) -> str:
    """The name of a line: whose it is and which row of which part, at most 64 characters."""
    return f"{tag}-{part}-{row}"
