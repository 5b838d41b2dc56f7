"""Orders that no list had when they were given up, and that may be made all the same: what one costs that appears later.

Its prompts have gone on by then, and its batches may be settled. So what each of its lines would be in the ledger is kept beside the
order when it is given up: a call of its own, since the one that was given up has cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import zstandard
from msgspec.structs import replace

from pipelines import wire
from pipelines.journal import fold
from pipelines.money import pusd_to_nusd_ceil
from pipelines.types import Entry, Late
from worker.again import ORPHAN_S
from worker.aside import KEEP_S
from worker.context import Context
from worker.drain.running import numbering
from worker.money.ledger import Ledger
from worker.provider_batches.orders import Order, Part, lines_key
from worker.provider_batches.reading import Outcomes, Reader


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A part of such an order, with the intents of its lines, as wire.py packs them."""

    number: int
    batch: str
    epoch: int
    head: bytes
    intents: bytes


_kept = msgspec.msgpack.Decoder(list[Kept])


class Missing:
    """What is kept of such orders."""

    def __init__(self, context: Context, ledger: Ledger, reader: Reader) -> None:
        self._context, self._ledger, self._reader = context, ledger, reader

    async def keep(self, order: Order, parts: Sequence[Part]) -> None:
        """Before anything is booked of its being given up; what was kept before somebody died on the way stays."""
        kept = []
        for part in parts:
            named = enumerate(part.out.values(), numbering() + 1)
            calls: list[Entry] = [replace(it, call=wire.call_id(part.id, part.epoch, number)) for number, it in named]
            head, intents = wire.pack_head(part.head), wire.pack_entries(calls)
            kept.append(Kept(part.number, part.id, part.epoch, head, intents))
        packed = zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(kept))
        await self._context.redis.set(lines_key(self._context.keys, order.tag), packed, nx=True, ex=KEEP_S)

    async def book(self, order: Order, parts: Sequence[Part], outcomes: Outcomes) -> None:
        """What it has cost, in budgets and ledger, whether its batches are still there or not; the same again changes nothing."""
        context, keys = self._context, self._context.keys
        for part in parts:
            said: list[Entry] = []
            spent: list[str | int] = []
            for row, intent in part.out.items():
                call = self._reader.called(part, intent, outcomes(part, row))[0]
                if call.cost_pusd:
                    said += [intent, Late(call)]
                    spent += [call.call, pusd_to_nusd_ceil(call.cost_pusd)]
                    self._ledger.note(intent.target, call.cost_pusd)
            if not said:
                continue
            counted = [keys.counted, *order.about.scopes]
            await context.scripts.orphan_spend(keys=counted, args=[ORPHAN_S, *spent])
            context.again.remember_step("orphan_spend", counted, [ORPHAN_S, *spent])
            names = [keys.batch(part.id), keys.journal(part.id), keys.orphans]
            args = [wire.pack_entries(said), part.id, wire.pack_head(part.head), KEEP_S]
            await context.scripts.late(keys=names, args=args)

    async def parts(self, order: Order) -> list[Part]:
        """What was kept of them; their rows are not known any more."""
        raw = await self._context.redis.get(lines_key(self._context.keys, order.tag))
        if raw is None:
            return []
        plain = zstandard.ZstdDecompressor().decompress(raw, max_output_size=wire.PAYLOAD_MAX_BYTES)
        return [
            Part(each.number, each.batch, each.epoch, "any", wire.unpack_head(each.head), [], fold(wire.unpack_entries(each.intents)))
            for each in _kept.decode(plain)
        ]  # fmt: skip
