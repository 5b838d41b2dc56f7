"""Looks after orders that were made: finds, polls, cancels and ends them, and lets go of what does not end.

Every step of an order is in Redis (orders.py), so whoever looks next goes on where the last one was.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Container

from msgspec.structs import replace

from pipelines.config.sections import Target
from pipelines.errors import LeaseLost
from pipelines.types import Failure
from worker import aside
from worker.backends import batching
from worker.backends.batching import BatchApi, Remote, Results, Sought
from worker.backends.http import Web
from worker.context import Context
from worker.provider_batches.listening import listen
from worker.provider_batches.making import Maker
from worker.provider_batches.missing import Missing
from worker.provider_batches.orders import Order, Orders
from worker.provider_batches.reading import Reader, lacks, outcomes_of
from worker.provider_batches.standing import Standing
from worker.queue import RedisError
from worker.timing import LEASE_S

log = logging.getLogger("spillway.provider_batches")

LOOK_LEAST_S, LOOK_MOST_S, LOOK_SHARE = 0.5, 60.0, 0.1
"""An order is looked at again after a tenth of its age, or of the time since it was cancelled."""
GRACE_S = 6 * LEASE_S
"""So long after its request was given up, or as long again as that took, an order that its provider does not list may still
appear there: whoever gives up does not stop the provider's work."""
MISSING_S = 24 * 3600.0
"""So long it is looked for after that, though its prompts have gone on without it: as long as a provider may take for a batch."""
MISSING_MOST_S = 300.0
"""Meanwhile its list is read so often at least: what it costs grows until it is seen and cancelled."""
PATIENCE_S = 60 * LEASE_S
"""A provider takes up to ten minutes to cancel a batch."""
OVERDUE_S = 50 * 3600.0
"""Every provider ends a batch before that."""
MISSES = 5
"""Looks one after the other at which the provider did not know an order, or had no results of it, until it counts as lost. Those
of its first minute do not count: a provider may not know yet in all its places what it has just made."""
READS = 4
"""So often results are read that lack lines of ours, before these count as lost and are bought again: a file may still be being
written, or have been cut off on its way."""


class Tender:
    """Looks at each order when it is due."""

    def __init__(
        self, context: Context, web: Web, orders: Orders, maker: Maker, reader: Reader, standing: Standing, missing: Missing,
    ) -> None:  # fmt: skip
        self._context, self._web, self._orders, self._maker = context, web, orders, maker
        self._reader, self._standing, self._missing = reader, standing, missing
        self._due_s: dict[str, float] = {}
        self._misses: dict[str, int] = defaultdict(int)
        self._reads: dict[str, int] = defaultdict(int)
        self._ruled_out: dict[str, set[str]] = defaultdict(set)

    async def is_due(self, order: Order, recalled: Container[str], now_s: float) -> bool:
        """Whether to look at it now; at once when it is to be cancelled."""
        why = "" if order.cancel_ms or order.why else await self._unwanted(order, recalled)
        if why:
            order.why, order.why_ms = why, self._context.clock.now_ms()
            await self._orders.note(order)
        return bool(why) or now_s >= self._due_s.get(order.tag, 0.0)

    async def _unwanted(self, order: Order, recalled: Container[str]) -> str:
        """Why an order is to be cancelled, if it is."""
        if order.state not in ("sending", "sent"):
            return ""
        return "overdue" if self._age_s(order) > OVERDUE_S else await self._orders.unwanted(order, recalled)

    def _age_s(self, order: Order) -> float:
        return (self._context.clock.now_ms() - (order.sent_ms or order.about.made_ms)) / 1000

    async def tend(self, order: Order) -> None:
        """One look at an order; the next one comes by its age."""
        try:
            await self._look(order)
        except (RedisError, OSError, LeaseLost):
            raise
        except Exception as error:
            log.exception("order %s cannot be looked after", order.tag)
            self._misses[order.tag] += 1
            if self._misses[order.tag] >= MISSES:
                await self._orders.end(order)
                await aside.run(self._context, order.about.run, error)
        finally:
            self._next_look(order)

    def _next_look(self, order: Order) -> None:
        """When it is due again; of an order that has ended nothing is kept."""
        if order.state == "ended":
            for known in (self._due_s, self._misses, self._reads, self._ruled_out):
                known.pop(order.tag, None)
            return
        since_ms = order.cancel_ms or order.sent_ms or order.about.made_ms
        age_s = (self._context.clock.now_ms() - since_ms) / 1000
        most_s = MISSING_MOST_S if order.missing_ms and not order.remote else LOOK_MOST_S
        wait_s = min(most_s, max(LOOK_LEAST_S, LOOK_SHARE * age_s))
        self._due_s[order.tag] = asyncio.get_running_loop().time() + wait_s

    async def _look(self, order: Order) -> None:
        target = self._context.settings.targets.get(order.about.target)
        api = batching.load(target.kind) if target is not None else None
        if order.state == "making":
            await self._reader.undo(order, await self._orders.hold(order), "not_sent")
        elif api is None or target is None:
            await self._end(order, Remote(order.remote, "ended"), Results([]))  # nobody can ask for it any more
        elif order.missing_ms and order.state != "let_go":
            await self._give_up(order)  # who began that died
        elif not order.remote:
            await self._find(api, target, order)
        else:
            await self._poll(api, target, order)

    async def _find(self, api: BatchApi, target: Target, order: Order) -> None:
        """The request was sent, and nobody heard the answer: the provider's list says whether it was made."""
        others = frozenset(each.remote for each in await self._orders.open() if each.remote)
        late = self._context.clock.now_ms() > _appears_until_ms(api, order)  # before the list is asked for
        sought = Sought(order.tag, order.lines, order.sent_ms / 1000, others, self._ruled_out[order.tag])
        found = await listen(self._context, order.about.run, api.find, self._web, target, sought)
        if isinstance(found, Failure):
            log.warning("order %s: its list of batches: %s", order.tag, found.message)
        elif found is not None:
            log.info("order %s: found at its provider", order.tag)
            await self._maker.adopt(order, found)
            if order.missing_ms:
                await self._poll(api, target, order)  # at once: each line more that it does is paid
        elif late and not order.missing_ms:
            await self._give_up(order)
        await self._lose_patience(order)

    async def _give_up(self, order: Order) -> None:
        """No list has it: its prompts go on as if it had never been sent. It may be made all the same, so it is let go, and what
        it would cost is kept."""
        let_go = order.state == "let_go"
        if not order.missing_ms:
            await self._missing.keep(order, await (self._orders.left if let_go else self._orders.hold)(order))
            order.missing_ms = self._context.clock.now_ms()
            order.why, order.why_ms = order.why or "missing", order.why_ms or order.missing_ms
            await self._orders.note(order)
        await self._settle(order, Remote("", "failed", "not_sent"), Results([]))
        order.state, order.about = (
            "let_go",
            replace(order.about, parts=()),
        )  # all orders are read at every look, for a day
        await self._orders.note(order)

    async def _poll(self, api: BatchApi, target: Target, order: Order) -> None:
        if order.why and not order.cancel_ms:
            trouble = await listen(self._context, order.about.run, api.cancel, self._web, target, order.remote)
            if trouble is None:
                order.cancel_ms = self._context.clock.now_ms()
                await self._orders.note(order)
                log.info("order %s is cancelled: %s", order.tag, order.why)
            else:
                log.warning("order %s cannot be cancelled: %s", order.tag, trouble.message)
        remote = await listen(self._context, order.about.run, api.look, self._web, target, order.remote)
        trouble = remote if isinstance(remote, Failure) else await self._move(api, target, order, remote)
        if trouble is not None:
            await self._missed(order, trouble)
        else:
            self._misses.pop(order.tag, None)
        await self._lose_patience(order)

    async def _move(self, api: BatchApi, target: Target, order: Order, remote: Remote) -> Failure | None:
        """What the provider says of it: nothing new, or its end."""
        if remote.state == "failed":
            await self._end(order, remote, Results([]))
        elif remote.state == "ended":
            results = await listen(self._context, order.about.run, api.results, self._web, target, remote)
            if isinstance(results, Failure):
                return results
            self._reads[order.tag] += 1
            if self._reads[order.tag] < READS and lacks(order, remote, results):
                log.warning("order %s: its results lack lines; they are read again", order.tag)
                return None
            if not order.missing_ms:  # nobody knows when that was made
                cancel_s = (self._context.clock.now_ms() - order.cancel_ms) / 1000 if order.cancel_ms else None
                self._standing.ended(order, self._age_s(order), cancel_s, remote)
            await self._end(order, remote, results)
        return None

    async def _missed(self, order: Order, failure: Failure) -> None:
        """A look that told nothing. What the provider does not know any more is lost."""
        log.warning("order %s: %s", order.tag, failure.message)
        self._misses[order.tag] += failure.http_status in (404, 410) and self._age_s(order) > GRACE_S
        if self._misses[order.tag] >= MISSES:
            await self._end(order, Remote(order.remote, "ended"), Results([]))

    async def _end(self, order: Order, remote: Remote, results: Results) -> None:
        if not order.missing_ms or order.state != "let_go":
            await self._settle(order, remote, results)
        elif remote.id:
            parts = await self._missing.parts(order)
            await self._missing.book(order, parts, outcomes_of(order, parts, remote, results))
        await self._orders.end(order)
        log.info("order %s has ended %s: %d results", order.tag, remote.code or remote.state, len(results.lines))

    async def _settle(self, order: Order, remote: Remote, results: Results) -> None:
        if order.state == "let_go":
            left = await self._orders.left(order)
            await self._reader.late(left, outcomes_of(order, left, remote, results))
        else:
            failed = remote.state == "failed"
            said = remote
            if remote.code == "not_sent" and order.given_up_ms:  # it was asked, and did not take it
                said = Remote("", "failed", "connect")
            tried = failed and said.code != "not_sent"
            at_fault = tried and self._standing.failed(order, said, await self._orders.out_before(order))
            parts = await self._orders.hold(order)
            ran = not failed and order.why != "recall"  # what we take back ourselves says nothing of the provider
            outcomes = outcomes_of(order, parts, remote, results)
            troubles = await self._reader.settle(order, parts, outcomes, ran=ran, real_time=at_fault)
            if troubles:
                self._context.targets.close(order.about.target, troubles[0].message)

    async def _patience_ms(self, order: Order) -> float:
        """Until when a provider may take to cancel an order; half of the time that real time has left where it is waited for."""
        began_ms = order.cancel_ms or order.why_ms or order.sent_ms
        until_ms = began_ms + PATIENCE_S * 1000
        raw = await self._context.redis.hget(self._context.keys.run(order.about.run), "deadline_ms")
        if order.why == "recall" and raw:
            until_ms = min(until_ms, (began_ms + float(raw)) / 2)
        return until_ms

    async def _lose_patience(self, order: Order) -> None:
        """An order that is not wanted any more, and does not end: its batches go on without it. What it may still cost stays
        reserved with them, and counts as spent when they are taken."""
        if order.state == "let_go":
            most_s = MISSING_S if order.missing_ms and not order.remote else 2 * OVERDUE_S
            lost = order.cancel_ms and not order.missing_ms and not await self._orders.left(order)  # and booked as that
            if self._age_s(order) > most_s or lost:
                await self._orders.end(order)
            return
        late = order.why and self._context.clock.now_ms() > await self._patience_ms(order)
        if not late or order.state not in ("sending", "sent"):
            return
        log.warning("order %s was not cancelled in time; its prompts are asked elsewhere", order.tag)
        waited_s = (self._context.clock.now_ms() - (order.why_ms or order.sent_ms)) / 1000
        self._standing.cancelled(order.about.target, waited_s)
        if order.state == "sent":
            self._standing.took(order.about.target, waited_s - self._age_s(order))
        for part in await self._orders.hold(order):
            await self._reader.release(part, real_time=True)
        order.state = "let_go"
        await self._orders.note(order)


def _appears_until_ms(api: BatchApi, order: Order) -> float:
    """Until when an order may appear in its provider's list; of one whose worker died, nobody knows when the request ended."""
    if not order.given_up_ms:
        return order.sent_ms + 1000 * max(GRACE_S, api.create_s)
    return order.given_up_ms + max(1000 * GRACE_S, order.given_up_ms - order.sent_ms)
