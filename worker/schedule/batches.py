"""The batches that a scheduler knows: of each what its hash in Redis says is read once, and anew when it has come back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from pipelines.planning.snapshot import Ring
from pipelines.types import BatchHead
from worker import aside
from worker.beat import Beat
from worker.context import Context
from worker.schedule.seen import SEEN, Seen, seen_of
from worker.schedule.sent import by_order

SUSPECT_TRIES = 2
"""A batch that so many workers died of without an answer runs alone, so that it takes no others with it."""


class Rung(NamedTuple):
    """A batch on its lane: the target that it was rung to, and its rows not answered yet as far as workers said."""

    head: BatchHead
    target: str
    left: int


class Batches:
    """What one scheduler has read of batches; it forgets those that have gone."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.heads: dict[str, Seen] = {}
        self._went: set[str] = set()
        """Rung, or given to a batch API: such a one comes back with other lanes, perhaps, and fewer rows."""
        self._targets: dict[str, str] = {}

    async def learn(self, ids: Iterable[str]) -> None:
        """Reads those not seen before; what cannot be read is set aside."""
        new = [batch for batch in ids if batch not in self.heads]
        if not new:
            return
        pipe = self._context.redis.pipeline(transaction=False)
        for batch in new:
            pipe.hmget(self._context.keys.batch(batch), *SEEN)
        for batch, fields in zip(new, await pipe.execute(raise_on_error=False), strict=True):
            try:
                if (found := seen_of(fields)) is not None:
                    self.heads[batch] = found
            except ValueError as error:
                await aside.batch(self._context, batch, error)

    async def learn_given(self, ids: Iterable[str]) -> None:
        """The same for what is with batch APIs."""
        given = list(ids)
        await self.learn(given)
        self._went.update(given)

    async def rung(self, beats: Mapping[str, Beat]) -> dict[str, Rung]:
        """What is on its lanes, in the order in which it was rung."""
        redis, keys = self._context.redis, self._context.keys
        ids = [batch.decode(errors="replace") for batch in await redis.zrange(keys.rung, 0, -1)]
        await self.learn_given(ids)
        left = {batch: rows for beat in beats.values() for batch, rows in beat.batches.items()}
        new = [batch for batch in ids if batch not in self._targets]
        pipe = redis.pipeline(transaction=False)
        for batch in new:
            pipe.hget(keys.batch(batch), "target")
        replies = await pipe.execute(raise_on_error=False) if new else []
        told = {batch: value for batch, value in zip(new, replies, strict=True) if isinstance(value, bytes)}
        self._targets = {b: self._targets.get(b) or told.get(b, b"").decode(errors="replace") for b in ids}
        return {
            batch: Rung(self.heads[batch].head, target, left.get(batch, self.heads[batch].head.rows))
            for batch, target in self._targets.items()
            if batch in self.heads
        }

    def went(self, move: Ring) -> None:
        """It was rung, or given to a batch API."""
        self._went.add(move.batch)
        if not by_order(move):
            self._targets[move.batch] = move.target

    def came_back(self, waiting: Iterable[str]) -> set[str]:
        """Which of those that wait had been away; they are read anew."""
        back = self._went.intersection(waiting)
        for batch in back:
            self.heads.pop(batch, None)
        self._went -= back
        return back

    def may_run(self, waiting: Iterable[str], rung: Iterable[str]) -> Iterator[str]:
        """All of them, but of the suspects only one at a time."""
        alone = any(self.heads[batch].tries >= SUSPECT_TRIES for batch in rung if batch in self.heads)
        for batch in waiting:
            seen = self.heads.get(batch)
            if seen is None or (seen.tries >= SUSPECT_TRIES and alone):
                continue
            alone = alone or seen.tries >= SUSPECT_TRIES
            yield batch

    def keep(self, known: Set[str], moved: Set[str]) -> None:
        """Forgets all but these, and of those that were moved what was read."""
        self.heads = {batch: seen for batch, seen in self.heads.items() if batch in known}
        self._went &= known | moved
