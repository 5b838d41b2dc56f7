"""What the scheduler believes of targets' speed, their knee and answers' lengths, from heartbeats; kept in Redis for the next run.

The arithmetic is pipelines/pace.py's, pipelines/climb.py's and pipelines/learn.py's; what to do about it is plan's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from pipelines.batch import PREFILL_WEIGHT
from pipelines.climb import Climb, Load, Said, State
from pipelines.learn import Learned, Length, count, outputs
from pipelines.pace import Answered, Kept, Pace, Speed
from pipelines.types import BatchHead
from worker.beat import Beat, TargetStats
from worker.context import Context
from worker.learned import field_of, read
from worker.money.ledger import Ledger

AGAIN_S = 5.0
"""Batches are weighed anew that often; and at once when a kind of answers is measured for the first time."""
SAVE_S = 10.0
KEEP_S = 90 * 86_400
REMEMBERED_ROWS = 200.0
"""Lengths of earlier runs count as so many answers: this run's soon outweigh them."""


class Weight(msgspec.Struct, frozen=True):
    """Of a batch: local work in output tokens, and the cloud's price saved for each; `read` of the work is reading prompts.
    `guessed`: no answer of its group was measured."""

    work: float
    saved: float
    read: float
    guessed: bool

    @property
    def pusd(self) -> float:
        """The cloud's price."""
        return self.saved * self.work


class Estimates:
    """One process's, beside the scheduler; begins with what an earlier one has left in Redis."""

    def __init__(self, context: Context) -> None:
        self._context, self._ledger = context, Ledger(context.settings, context.targets)
        self._pace = Pace()
        self._climbs: dict[str, Climb] = {}
        self._lengths: dict[str, Length] = {}
        self._seen: dict[str, dict[str, Length]] = {}
        self._learned = Learned()
        self._weights: dict[tuple[str, int], Weight] = {}
        self._longer: float | None = None
        self._weighed_s = self._saved_s = float("-inf")
        self._loaded = False
        self._counting: frozenset[str] = frozenset()
        self.speeds: dict[str, Speed] = {}

    async def look(self, beats: Mapping[str, Beat]) -> None:
        """One look at all heartbeats."""
        if not self._loaded:
            await self._load()
        now = asyncio.get_running_loop().time()
        for name in self._context.settings.targets:
            stats = [(owner, beat.targets[name]) for owner, beat in beats.items() if name in beat.targets]
            self._climb(now, name, stats)
            answered = [(owner, _answered(each)) for owner, each in stats]
            self.speeds[name] = self._pace.note(now, name, self._context.targets.cap(name), answered)
        self._count(beats)
        self._counting = frozenset(filter(self._context.targets.counts_tokens, self._context.settings.targets))
        if now - self._weighed_s >= AGAIN_S or self._lengths.keys() - self._learned.lengths.keys():
            self._weighed_s, self._weights, self._longer = now, {}, None
            prefill = {name: speed.prefill for name, speed in self.speeds.items()}
            self._learned = Learned(
                {group: msgspec.structs.replace(at) for group, at in self._lengths.items()}, prefill
            )
        if now - self._saved_s >= SAVE_S:
            self._saved_s = now
            await self._save()

    async def keep(self, beats: Mapping[str, Beat]) -> None:
        """The last look of a while: what it has learned until now is there for the next run."""
        if self._loaded:
            self._saved_s = float("-inf")
            await self.look(beats)

    def _climb(self, now: float, name: str, stats: Sequence[tuple[str, TargetStats]]) -> None:
        """The cap of a local target that has none of its own; all workers read it where health is."""
        if (climb := self._climbs.get(name)) is None:
            return
        targets, state = self._context.targets, self._context.targets.states.get(name, {})
        said = Said(*(max(0, state.get(field) or 0) for field in ("parallel", "waiting", "waits")))
        prefill = self.speeds[name].prefill if name in self.speeds else PREFILL_WEIGHT
        cap = climb.look(now, [(owner, _load(each)) for owner, each in stats], prefill, said)
        if cap != targets.cap(name):
            targets.say(name, {"cap": cap})

    def climbing(self, name: str) -> bool:
        """Whether it is being found out how many calls at once a target can do."""
        return name in self._climbs and self._climbs[name].climbing

    def _count(self, beats: Mapping[str, Beat]) -> None:
        for owner, beat in beats.items():
            seen = self._seen.get(owner, {})
            for group, length in beat.lengths.items():
                more = length.since(seen.get(group, Length()))
                if more.rows > 0:
                    count(self._lengths, group, more)
        self._seen = {owner: beat.lengths for owner, beat in beats.items()}

    def weigh(self, head: BatchHead) -> Weight:
        """By what has been learned until now."""
        found = self._weights.get((head.id, head.rows))
        if found is None:
            tokens = outputs(self._learned, head.group, head.output_tokens)
            local = next(iter(self._context.targets.route_targets(head.route, "local")), "")
            read = self._learned.prefill.get(local, PREFILL_WEIGHT) * head.input_tokens
            work = read + tokens
            price = self._ledger.cloud_estimate_pusd(head.route, head.input_tokens, round(tokens), head.rows)
            found = self._weights[head.id, head.rows] = Weight(
                work, price / max(work, 1e-9), read, head.group not in self._learned.lengths
            )
        return found

    def longer(self, heads: Sequence[BatchHead]) -> float:
        """How many times what they were guessed to weigh all of these weigh now; reckoned when batches are weighed anew."""
        if self._longer is None and heads:
            self._longer = sum(self.weigh(head).work for head in heads) / max(sum(head.work for head in heads), 1e-9)
        return self._longer or 1.0

    def limit(self, name: str, heads: Sequence[BatchHead]) -> float:
        """Rows a second that a target's own limits admit, of those of these prompts that may go there; infinite without limits."""
        targets, routes = self._context.targets, self._context.settings.routes
        by_calls = targets.calls_per_s(name)
        if not targets.counts_tokens(name):
            return by_calls
        able = [head for head in heads if head.route in routes and name in routes[head.route].targets]
        seconds = sum(self._tokens_s(name, head) for head in able)
        return min(by_calls, sum(head.rows for head in able) / seconds if seconds else math.inf)

    def cloud_s(self, head: BatchHead) -> float:
        """The least seconds that limits on tokens leave for a batch at its route's cloud, the first that is up; 0 without any."""
        if not self._counting:
            return 0.0
        targets = self._context.targets
        name = next(filter(targets.is_up, targets.route_targets(head.route, "cloud")), "")
        return self._tokens_s(name, head) if name in self._counting else 0.0

    def _tokens_s(self, name: str, head: BatchHead) -> float:
        """By what has been learned of lengths until now."""
        weight = self.weigh(head)
        return self._context.targets.tokens_s(name, head, weight.work - weight.read)

    # -- from run to run -------------------------------------------------------------------------------------------

    async def _load(self) -> None:
        self._loaded = True
        kept = {name.decode(errors="replace"): raw for name, raw in (await self._read()).items()}
        for name, target in self._context.settings.targets.items():
            if (speed := read(kept.get(self._field("speed", name)), Kept)) is not None:
                self._pace.begin(name, speed)
            if target.lane == "local" and target.max_concurrency == "auto":
                measured = target.concurrency if isinstance(target.concurrency, int) else 0
                held = read(kept.get(self._field("climb", name)), State)
                self._climbs[name] = Climb(held if held and held.best > 0 else State(measured, measured))
        for field, raw in kept.items():
            what, _, group = field.partition(":")
            if what == "length" and (length := read(raw, Length)) is not None and length.rows > 0:
                count(self._lengths, group, length.scaled(min(1.0, REMEMBERED_ROWS / length.rows)))

    async def _read(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = await self._context.redis.hgetall(self._context.keys.learned)
        return found

    async def _save(self) -> None:
        key, pipe = self._context.keys.learned, self._context.redis.pipeline(transaction=True)
        told = {f"length:{group}": length for group, length in self._lengths.items()}
        speeds = {
            self._field("speed", name): kept
            for name in self.speeds
            if self._says((kept := self._pace.kept(name)), name)
        }
        climbs = {self._field("climb", name): climb.kept for name, climb in self._climbs.items() if climb.kept.best}
        fields = {field: msgspec.json.encode(value) for field, value in (told | speeds | climbs).items()}
        if not fields:
            return
        pipe.delete(key)
        pipe.hset(key, mapping=fields)
        pipe.expire(key, KEEP_S)
        await pipe.execute()

    def _says(self, kept: Kept, name: str) -> bool:
        """Whether it is worth keeping: of a cloud also how long its few calls took, so that the next run need not take it for a slow one."""
        cloud = self._context.settings.targets[name].lane == "cloud"
        return bool(kept.spans or (cloud and kept.rough.rows))

    def _field(self, what: str, name: str) -> str:
        return field_of(self._context, what, name)


def _answered(stats: TargetStats) -> Answered:
    tokens = stats.input_tokens, stats.output_tokens
    return Answered(stats.done, *tokens, stats.busy_s, stats.in_flight, stats.latency_s, stats.held_s)


def _load(stats: TargetStats) -> Load:
    return Load(stats.in_flight, stats.done, stats.input_tokens, stats.output_tokens, stats.held_s, stats.refused)


T = TypeVar("T")
