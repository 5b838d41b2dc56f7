"""How fast each target answers, from the counters of all workers: work and rows per second, and what prefill weighs.

Work is `prefill * input + output` tokens. Spans in which all slots were in use measure a lane's speed; while there are none
(it has just begun, it has little to do) any second at work does. No clock: times are given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from pipelines.batch import PREFILL_WEIGHT

SPAN_S, SPAN_LATENCIES, LEAST_S = 4.0, 2.0, 0.3
"""A span is that long, or so many calls' time; a first figure is there sooner."""
FIRST_ROWS = 0.25
"""For each slot, answers that end the first span: its calls' time is not known yet, and seems the longer the more of them end."""
FULL = 0.9
"""Of its slots in use: a lane at work."""
KEPT = 0.93
"""Of a span's weight after one more: ten spans halve it."""
WIDE_ROWS = 2
"""What tells the prefill weight: spans of so many rows for a slot together."""
KEPT_MIX = 0.995
"""Of theirs after one more: only different mixes tell it."""
PRIOR_SPANS = 5.0
"""So many spans outweigh the guessed prefill weight."""
PREFILL_LEAST, PREFILL_MOST = 0.005, 1.0
REMEMBERED = 0.2
"""Of what an earlier run measured, or with other slots: the first spans of this one outweigh it."""


class Answered(NamedTuple):
    """What a worker's lane has answered until now; only grows. Tokens are those that the answers said; `held_s` sums how long
    each ended call took."""

    rows: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    busy_s: float = 0.0
    in_flight: int = 0
    latency_s: float = 0.0
    held_s: float = 0.0


class Speed(NamedTuple):
    """Of a target, all workers together; rates are per busy second and 0 while unknown, as is the latency."""

    rate: float = 0.0
    rows_per_s: float = 0.0
    latency_s: float = 0.0
    prefill: float = PREFILL_WEIGHT
    spans: int = 0
    """Full ones; a rate without is a first guess."""


class Sums(msgspec.Struct):
    """Rows, tokens and busy seconds of spans, older ones counting less; the seconds that their calls took, and calls in flight
    times busy seconds."""

    rows: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    busy_s: float = 0.0
    held_s: float = 0.0
    flight_s: float = 0.0

    def add(self, more: Sums, kept: float = 1.0) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, kept * getattr(self, name) + getattr(more, name))

    def scale(self, by: float) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, by * getattr(self, name))

    def rates(self, prefill: float) -> tuple[float, float]:
        """Work and rows a busy second. Of whole calls, by Little's law, where it is known how long each took: what is in flight
        at a span's ends, which may be a tenth of it, then says nothing wrong."""
        seconds = self.held_s * self.busy_s / self.flight_s if self.held_s and self.flight_s else self.busy_s
        return (prefill * self.input_tokens + self.output_tokens) / seconds, self.rows / seconds


class Mix(msgspec.Struct):
    """The prefill weight a / b of the fit `1 = a * input + b * output`, tokens per second of calls."""

    ii: float = 0.0
    io: float = 0.0
    oo: float = 0.0
    i: float = 0.0
    o: float = 0.0
    spans: float = 0.0

    def add(self, span: Sums) -> None:
        seconds = span.held_s or span.busy_s
        i, o = span.input_tokens / seconds, span.output_tokens / seconds
        for name, value in zip(self.__struct_fields__, (i * i, i * o, o * o, i, o, 1.0), strict=True):
            setattr(self, name, KEPT_MIX * getattr(self, name) + value)

    @property
    def prefill(self) -> float:
        """As guessed, where spans of one mix cannot tell."""
        if not self.oo:
            return PREFILL_WEIGHT
        held = PRIOR_SPANS * self.oo / self.spans  # a - guess * b, held near zero
        ii, io, oo = self.ii + held, self.io - held * PREFILL_WEIGHT, self.oo + held * PREFILL_WEIGHT**2
        a, b = self.i * oo - self.o * io, self.o * ii - self.i * io
        return min(PREFILL_MOST, max(PREFILL_LEAST, a / b)) if b > 0 else PREFILL_MOST


class Lane(msgspec.Struct):
    """One target's spans; `now` is the one that runs."""

    last: dict[str, Answered] = {}
    busy: dict[str, float] = {}
    now: Sums = msgspec.field(default_factory=Sums)
    since_s: float = -1.0
    full: bool = False
    measured: Sums = msgspec.field(default_factory=Sums)
    rough: Sums = msgspec.field(default_factory=Sums)
    wide: Sums = msgspec.field(default_factory=Sums)
    mix: Mix = msgspec.field(default_factory=Mix)
    spans: int = 0
    latency_s: float = 0.0
    slots: int = 0

    def note(self, now_s: float, slots: int, workers: Iterable[tuple[str, Answered]]) -> None:
        if slots != self.slots:
            self._change(slots)
        in_flight, latencies = 0, []
        for owner, seen in workers:
            before = self.last.get(owner, seen)
            self.last[owner] = seen
            more = Sums(*(max(0.0, a - b) for a, b in zip(seen[:3], before[:3], strict=True)))
            more.held_s = max(0.0, seen.held_s - before.held_s)
            self.now.add(more)
            self.busy[owner] = self.busy.get(owner, 0.0) + max(0.0, seen.busy_s - before.busy_s)
            in_flight += seen.in_flight
            if seen.latency_s:
                latencies.append(seen.latency_s)
        if latencies:
            self.latency_s = sum(latencies) / len(latencies)
        before_s, self.now.busy_s = self.now.busy_s, max(self.busy.values(), default=0.0)
        self.now.flight_s += (self.now.busy_s - before_s) * in_flight
        full = in_flight >= FULL * slots
        self.full = self.full and full
        first = not self.spans and self.now.rows >= FIRST_ROWS * slots
        if now_s - self.since_s >= (SPAN_S if first else max(SPAN_S, SPAN_LATENCIES * self.latency_s)):
            self._close(slots)
            self.since_s, self.full = now_s, full

    def _change(self, slots: int) -> None:
        """With another number of slots calls take another time: what was measured says little of how fast the lane is now, and
        spans of both together say something false of what prefill weighs."""
        if self.slots:
            self.measured.scale(REMEMBERED)
            self.mix, self.wide, self.full = Mix(), Sums(), False
            self.spans = min(1, self.spans)
        self.slots = slots

    def _close(self, slots: int) -> None:
        if self.now.busy_s > LEAST_S:
            if self.full and self.now.rows:
                self.measured.add(self.now, KEPT)
                self.spans += 1
                self.wide.add(self.now)
                if self.wide.rows >= WIDE_ROWS * slots:
                    self.mix.add(self.wide)
                    self.wide = Sums()
            self.rough.add(self._rough_now, KEPT)
        self.now, self.busy = Sums(), {}

    @property
    def _rough_now(self) -> Sums:
        """By busy seconds: calls of a lane that is not full say nothing of what it does when it is."""
        return msgspec.structs.replace(self.now, held_s=0.0)

    @property
    def speed(self) -> Speed:
        prefill, sums = self.mix.prefill, self.measured
        if not sums.rows:
            sums = msgspec.structs.replace(self.rough)
            sums.add(self._rough_now)
        if not sums.rows or sums.busy_s <= LEAST_S:
            return Speed(latency_s=self.latency_s, prefill=prefill)
        return Speed(*sums.rates(prefill), self.latency_s, prefill, self.spans)


class Kept(msgspec.Struct):
    """What is worth remembering of a target for the next run; `rough` of one whose slots were never all in use."""

    measured: Sums = msgspec.field(default_factory=Sums)
    mix: Mix = msgspec.field(default_factory=Mix)
    spans: int = 0
    rough: Sums = msgspec.field(default_factory=Sums)
    latency_s: float = 0.0


class Pace:
    """All targets."""

    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}

    def begin(self, target: str, kept: Kept) -> None:
        """With what an earlier run has measured."""
        lane = Lane(latency_s=kept.latency_s)
        if kept.spans > 0 and kept.measured.rows > 0 and kept.measured.busy_s > 0:
            lane.mix, lane.spans = kept.mix, 1
            lane.measured.add(kept.measured)
            lane.measured.scale(REMEMBERED)
        elif kept.rough.rows > 0 and kept.rough.busy_s > 0:
            lane.rough.add(kept.rough)
            lane.rough.scale(min(1.0, SPAN_S / kept.rough.busy_s))
        else:
            return
        self._lanes[target] = lane

    def kept(self, target: str) -> Kept:
        lane = self._lanes.get(target, Lane())
        rough = msgspec.structs.replace(lane.rough)
        rough.add(lane._rough_now)
        return Kept(lane.measured, lane.mix, lane.spans, rough, lane.latency_s)

    def note(self, now_s: float, target: str, slots: int, workers: Iterable[tuple[str, Answered]]) -> Speed:
        """A look at the workers' counters; what a target's speed is by now, remembered while it is idle."""
        lane = self._lanes.setdefault(target, Lane())
        lane.note(now_s, slots, workers)
        return lane.speed
