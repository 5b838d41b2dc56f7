"""Orders as Redis holds them: a provider's batch that was, or may have been, asked for, and how it stands.

An order is written down before anything is sent (`making`), again before the request that costs money (`sending`), and once
more when the provider has named it (`sent`). `let_go`: its parts have gone on without it; what still comes is money only.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Container, Iterable, Mapping, Sequence

import msgspec

from pipelines import wire
from pipelines.errors import LeaseLost
from pipelines.journal import State, fold
from pipelines.types import BatchHead, Intent, Item
from worker import aside
from worker.context import Context, RunContext

TAG_BYTES = 10
LEASE = "provider_batch"
"""Who has it looks after the orders; a script refuses anybody else, who may have slept since it looked."""
GOES_ON = (None, b"", b"0")
"""What a run that nobody cancelled says of that."""


class About(msgspec.Struct, frozen=True):
    """What never changes: target, run, the parts (our batches, with their epochs; none any more of one that is missing) and the
    budgets that hold its worst case."""

    target: str
    run: str
    parts: tuple[tuple[str, int], ...]
    scopes: tuple[str, ...]
    made_ms: int


class Order(msgspec.Struct):
    """One provider batch of ours. Times are Redis', in milliseconds; 0: not yet."""

    tag: str
    about: About
    state: str = "making"  # making | sending | sent | let_go; here alone: ended
    remote: str = ""
    lines: int = 0
    sent_ms: int = 0
    given_up_ms: int = 0  # its request ended, and nobody knows what came of it
    cancel_ms: int = 0
    why: str = ""  # it is to be cancelled: recall | stop | cutoff | overdue | missing
    why_ms: int = 0
    missing_ms: int = 0  # it was given up, since no list had it, and is looked for all the same (missing.py)


class Part:
    """One of our batches within an order, as journal.py wants it."""

    def __init__(
        self, number: int, batch: str, epoch: int, lanes: str, head: BatchHead, items: list[Item], state: State
    ) -> None:
        self.number = number
        """Its place among all that the order names, whether or not the others can still be read: its lines are named by it."""
        self.id, self.epoch, self.lanes, self.head = batch, epoch, lanes, head
        self.items = {item.row: item for item in items}
        self.state = state
        self.returns = 0
        """How often it has come back with prompts that the provider had been asked."""
        self.cannot = False
        """The provider cannot be asked any of it."""
        self.refused_nusd = 0
        """The smallest worst case of its lines that no budget had room for."""
        self.fenced = asyncio.Event()

    @property
    def out(self) -> dict[int, Intent]:
        """Rows that this order has asked, or was about to ask, and that nothing is known of yet."""
        mine = f"{self.id}:{self.epoch}:"
        called = self.state.called
        found = self.state.intents.items()
        return {intent.row: intent for call, intent in found if call.startswith(mine) and call not in called}


class Orders:
    """The orders of this Redis."""

    def __init__(self, context: Context) -> None:
        self._context, self._lease = context, context.keys.lease(LEASE)

    async def open(self) -> list[Order]:
        """All that have not ended, oldest first."""
        redis, keys = self._context.redis, self._context.keys
        tags = sorted(tag.decode(errors="replace") for tag in await redis.smembers(keys.orders))
        pipe = redis.pipeline(transaction=False)
        for tag in tags:
            pipe.hgetall(keys.order(tag))
        replies = await pipe.execute(raise_on_error=False) if tags else []
        found = []
        for tag, raw in zip(tags, replies, strict=True):
            if isinstance(raw, Exception) and not aside.is_hostile(raw):
                raise raw
            order = _read(tag, raw) if isinstance(raw, dict) else None
            if order is None:
                kept_s = aside.KEEP_S if raw else 0  # nothing of ours, or gone
                await self._context.scripts.order_drop(keys=[keys.orders, keys.order(tag)], args=[tag, kept_s])
            else:
                found.append(order)
        return sorted(found, key=_made)

    async def out_before(self, order: Order) -> int:
        """Rows of the orders that its target had, or may have had, when it was made."""
        return rows_out((each for each in await self.open() if _made(each) < _made(order)), order.about.target)

    async def make(self, target: str, run: RunContext, parts: Sequence[tuple[str, int]]) -> Order | None:
        """A new order; None when a part of it is not ours to send any more."""
        context, keys = self._context, self._context.keys
        tag = f"sw-{secrets.token_hex(TAG_BYTES)}"
        scopes = run.scopes(context.clock)
        order = Order(tag, About(target, run.id, tuple(parts), scopes, context.clock.now_ms()))
        names = [self._lease, keys.orders, keys.order(tag), *(keys.batch(batch) for batch, _ in parts)]
        args = [tag, context.owner, msgspec.json.encode(order.about), *(epoch for _, epoch in parts)]
        if made := await context.scripts.order_make(keys=names, args=[context.owner, *args]):
            context.again.remember_step("order_make", names, ["", *args])
        return order if made else None

    async def note(self, order: Order) -> bool:
        """Writes down how it stands; False: Redis knows nothing of it, or it is not ours to look after any more."""
        context = self._context
        names = [self._lease, context.keys.order(order.tag)]
        args = [
            "state", order.state, "remote", order.remote, "lines", order.lines, "sent_ms", order.sent_ms,
            "given_up_ms", order.given_up_ms, "cancel_ms", order.cancel_ms, "why", order.why, "why_ms", order.why_ms,
            "missing_ms", order.missing_ms, *(("about", msgspec.json.encode(order.about)) if order.missing_ms else ()),
        ]  # fmt: skip
        if noted := await context.scripts.order_note(keys=names, args=[context.owner, *args]):
            context.again.remember_step("order_note", names, ["", *args])
        return bool(noted)

    async def unwanted(self, order: Order, recalled: Container[str]) -> str:
        """Why nobody wants it any more, if it is so."""
        context, about = self._context, order.about
        if any(batch in recalled for batch, _ in about.parts):
            return "recall"
        if context.targets.states.get(about.target, {}).get("cutoff"):
            return "cutoff"
        return "stop" if await context.redis.hget(context.keys.run(about.run), "cancel") not in GOES_ON else ""

    async def recalled(self) -> frozenset[str]:
        """Batches that plan wants back."""
        told = await self._context.redis.smembers(self._context.keys.recalled)
        return frozenset(batch.decode(errors="replace") for batch in told)

    async def end(self, order: Order) -> None:
        """Forgets it. Raises LeaseLost when it is not ours to look after any more."""
        context, keys = self._context, self._context.keys
        names = [self._lease, keys.orders, keys.order(order.tag), lines_key(keys, order.tag)]
        if not await context.scripts.order_end(keys=names, args=[context.owner, order.tag]):
            raise LeaseLost(f"order {order.tag} is another worker's")
        order.state = "ended"

    async def hold(self, order: Order) -> list[Part]:
        """Those of its batches that are still its parts, taken from whoever held them, with all that is known of them. Raises
        LeaseLost when they are not ours to take: what we know of the order may be old."""
        context, keys = self._context, self._context.keys
        parts = order.about.parts
        names = [self._lease, *(keys.batch(batch) for batch, _ in parts)]
        args = [context.owner, *(epoch for _, epoch in parts)]
        held = await context.scripts.order_hold(keys=names, args=args)
        if not isinstance(held, list):
            raise LeaseLost(f"order {order.tag} is another worker's")
        return await self._parts(parts, held)

    async def give_back(
        self,
        batch: str,
        epoch: int,
        head: BatchHead,
        state: str,
        lanes: str,
        *,
        holder: str = "",
        refused_nusd: int = 0,
        noted: Mapping[str, int] | None = None,
    ) -> bool:
        """A batch leaves the lane, `waiting` or `drained`, with what is `noted` of it; False: it was taken over (`holder`: by whom
        it must be held), and nothing is written."""
        refused = f"{refused_nusd} cloud" if refused_nusd else ""
        keys = self._context.keys
        names = [keys.batch(batch), keys.waiting(head.run), keys.given, keys.drained(head.run), keys.wake]
        args = [epoch, batch, state, lanes, head.cloud_pusd / max(head.work, 1e-9), holder, refused]
        args += [part for pair in (noted or {}).items() for part in pair]
        return bool(await self._context.scripts.release(keys=names, args=args))

    async def left(self, order: Order) -> list[Part]:
        """Its batches as far as they are still there, whoever has them now; nothing may be written for them but money."""
        pipe = self._context.redis.pipeline(transaction=False)
        for batch, _ in order.about.parts:
            pipe.hmget(self._context.keys.batch(batch), "head", "payload", "lanes", "returns")
        return await self._parts(order.about.parts, await pipe.execute())

    async def _parts(self, parts: Sequence[tuple[str, int]], held: Sequence[list[bytes | None]]) -> list[Part]:
        context, keys = self._context, self._context.keys
        pipe = context.redis.pipeline(transaction=False)
        for batch, _ in parts:
            pipe.lrange(keys.journal(batch), 0, -1)
        found = []
        for number, ((batch, epoch), fields, journal) in enumerate(zip(parts, held, await pipe.execute(), strict=True)):
            if not fields or fields[0] is None:
                continue
            head, payload, lanes, returns = fields
            try:
                read = wire.unpack_head(head or b""), wire.unpack_items(payload or b"")
                part = Part(
                    number, batch, epoch, (lanes or b"any").decode(), *read, fold(wire.readable_entries(journal))
                )
                part.returns = int(returns or 0)
                found.append(part)
            except ValueError as error:
                await aside.batch(context, batch, error)
        return found


def lines_key(keys: wire.Keys, tag: str) -> str:
    """Where missing.py keeps the lines of an order."""
    return f"{keys.order(tag)}:lines"


def rows_out(orders: Iterable[Order], target: str) -> int:
    """Rows that a target has, or may have, of some orders; of one that was given up as never made, none."""
    return sum(each.lines for each in orders if each.about.target == target and (each.remote or not each.missing_ms))


def _made(order: Order) -> tuple[int, str]:
    return order.about.made_ms, order.tag


def _read(tag: str, raw: dict[bytes, bytes]) -> Order | None:
    try:
        fields = {name.decode(): value.decode() for name, value in raw.items()}
        about = msgspec.json.decode(fields.pop("about"), type=About)
        return msgspec.convert({**fields, "tag": tag, "about": about}, Order, strict=False)
    except (KeyError, ValueError, msgspec.MsgspecError):
        return None
