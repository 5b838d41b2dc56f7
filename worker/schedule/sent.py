"""What is with providers' batch APIs, how those stand, and which batches are wanted back; plan decides, the lane itself
(worker/provider_batches) does the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from pipelines import wire
from pipelines.latency import latency
from pipelines.planning.snapshot import BatchTarget, BatchView, Recall, Ring
from pipelines.types import BatchHead
from worker.context import Context
from worker.queue import Pipeline
from worker.schedule.seen import Seen

ROOM_ROWS = 1_000_000
"""What a provider takes that has not said that it has its fill."""
ABSENT_S = 15.0
"""So long nobody may have to look after the lane, at a start or between two that do, before its rows are bought dear."""
GUESSED_PRICE = 0.5
RECALL_KEEP_S = 600
OUT_ROWS, OUT_BYTES = 500_000, 256 << 20
"""So much of a run may be out beside what prepare has ready for the other lanes: it is in Redis until it comes back."""


class Out(NamedTuple):
    """A batch on the lane: where, and since when."""

    id: str
    target: str
    since_ms: int


def by_order(move: Ring) -> bool:
    """Whether a batch goes to the provider_batch lane, which nobody rings for."""
    return move.lane == "provider_batch"


class Sent:
    """One look a tick."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._allowed = any(target.provider_batch for target in context.settings.targets.values())
        self._targets: dict[str, str] = {}
        self._alive = False
        self._seen_s = time.monotonic()
        self._seen: dict[str, Seen] = {}
        self._recalled: set[str] | None = None if self._allowed else set()
        """What Redis has of it; None: whatever who was here before has said."""
        self.out: tuple[Out, ...] = ()

    async def look(self) -> None:
        if not self._allowed:
            return
        redis, keys = self._context.redis, self._context.keys
        pipe = redis.pipeline(transaction=False)
        pipe.exists(keys.lease("provider_batch"))
        pipe.zrange(keys.given, 0, -1, withscores=True)
        leased, given = await pipe.execute()
        self._alive = bool(leased)
        self._seen_s = time.monotonic() if self._alive else self._seen_s
        since = {batch.decode(errors="replace"): int(ms) for batch, ms in given}
        new = [batch for batch in since if batch not in self._targets]
        pipe = redis.pipeline(transaction=False)
        for batch in new:
            pipe.hget(keys.batch(batch), "target")
        told = await pipe.execute(raise_on_error=False) if new else []
        names = {b: name.decode(errors="replace") for b, name in zip(new, told, strict=True) if isinstance(name, bytes)}
        self._targets = {batch: name for batch in since if (name := self._targets.get(batch) or names.get(batch))}
        self.out = tuple(Out(batch, name, since[batch]) for batch, name in self._targets.items())

    def know(self, seen: dict[str, Seen]) -> None:
        """What the scheduler knows of the batches that are out."""
        self._seen = seen

    def of(self, run_id: str, work_of: Callable[[BatchHead], float]) -> tuple[BatchView, ...]:
        """What of a run is out, with its work by what is known now."""
        return tuple(
            BatchView(
                batch, seen.head.route, seen.head.rows, work_of(seen.head), seen.lanes, target=target, sent_ms=since_ms
            )
            for batch, target, since_ms in self.out
            if (seen := self._seen.get(batch)) is not None and seen.head.run == run_id
        )

    def targets(self) -> dict[str, BatchTarget]:
        """The batch APIs that the configuration allows and some worker looks after, or did or may a moment from now."""
        context, now = self._context, self._context.clock.now_ms()
        soon = time.monotonic() - self._seen_s < ABSENT_S
        found = {}
        for name, target in context.settings.targets.items():
            state = context.targets.states.get(name, {})
            ready = self._alive and "batch_price" in state
            if not target.provider_batch or not (ready or soon):
                continue
            up = context.targets.is_up(name) and now >= state.get("batch_off_ms", 0)
            takes = ready and now >= state.get("batch_full_ms", 0)
            room = min(ROOM_ROWS, state.get("batch_rows") or ROOM_ROWS) if takes else 0
            usual = BatchTarget(name, up, room, price=float(state.get("batch_price", GUESSED_PRICE)))
            usual = msgspec.structs.replace(usual, cancel_s=float(state.get("batch_cancel_s", usual.cancel_s)))
            told = [float(each) for each in state.get("batch_s") or [] if isinstance(each, int | float) and each]
            waited_s = max((-each for each in told), default=0.0)
            waited_s = max(waited_s, *((now - each.since_ms) / 1000 for each in self.out if each.target == name), 0.0)
            heard = any(each > 0 for each in told)
            half_s, late_s = latency(told, usual.latency_p50_s, usual.latency_p90_s)
            found[name] = msgspec.structs.replace(
                usual, heard=heard, waited_s=waited_s, latency_p50_s=half_s, latency_p90_s=late_s
            )
        return found

    async def recall(self, moves: Iterable[Recall]) -> None:
        """Batches that are wanted back, and no others: one that is ordered again later must not be sent back for it."""
        wanted = {move.batch for move in moves}
        if wanted == self._recalled == set():
            return
        key, self._recalled = self._context.keys.recalled, None
        pipe = self._context.redis.pipeline(transaction=True)
        pipe.delete(key)
        if wanted:
            pipe.sadd(key, *wanted)
            pipe.expire(key, RECALL_KEEP_S)
        await pipe.execute()
        self._recalled = wanted

    def held(self, run_id: str) -> dict[str, str]:
        """What of a run is out, for prepare; nothing where no provider's batches are allowed."""
        heads = [seen.head for seen in self._seen.values() if seen.head.run == run_id]
        if not self._allowed:
            return {}
        rows, size = sum(head.rows for head in heads), sum(head.payload_bytes for head in heads)
        return {"out_rows": str(min(OUT_ROWS, rows)), "out_bytes": str(min(OUT_BYTES, size))}

    def say(self, pipe: Pipeline) -> None:
        """Each batch API as a lane of its own, for the display."""
        keys = self._context.keys
        for name, api in self.targets().items():
            state = self._context.targets.states.get(name, {})
            mine = (self._seen.get(each.id) for each in self.out if each.target == name)
            out = sum(seen.head.rows for seen in mine if seen is not None)
            full = "it has its fill" if not api.room_rows else ""
            pipe.hset(keys.lanes, f"{name}:batch", wire.dump({
                "lane": "provider_batch", "up": api.up, "reason": state.get("batch_reason") or full, "slots": 0,
                "in_flight": out, "rung_rows": out, "rows_per_s": 0.0, "latency_s": api.latency_p50_s,
            }))  # fmt: skip
