"""How many calls at once a local server is asked: climbs the work that it finishes per second, not its latency.

`step` is the rule: what was seen of one window at a cap gives the next cap. `Climb` makes windows of looks at the workers'
counters. The knee is the fewest calls at once that bring nearly the most: doubled while a doubling is worth it, then
narrowed, then held; tried again from time to time and whenever the speed has changed. No clock: times are given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

START, MOST = 8, 256
"""Where nothing is known; and more than one process keeps connections for."""
DOUBLE, GENTLE, FEWER = 2.0, 1.2, 0.7
"""A step up; after the server has said that it was too much; and then down."""
GAIN = 1.04
"""What a doubling must bring: below it more calls at once only wait longer, and more is lost with a crash."""
NEARLY, NARROW = 0.96, 1.2
"""Of the most that was seen: enough. Bounds as near as that are not narrowed further."""
MOVED, OTHER = 0.25, 1.5
"""A speed that changed by so much has another knee; and by so much, in a single flight of answers."""
HOLD_S, DEEP = 60.0, 10
"""So long a knee is held before more is tried again; every tenth time, and after a refusal, much rarer: fewer as well."""
FULL, EMPTY = 0.9, 0.5
"""Of the cap in flight: at work; and so little ends a window that has begun."""
LEAST_S, FLIGHTS, LEAST_ROWS = 4.0, 3.0, 24
"""A window: after one flight of answers, so that none is of another cap, at least so long, so many flights and answers."""
EARLY_ROWS, CLEAR = 12, 1.25
"""A window may end after one flight, where it is the first, or what it says is that clear."""
FREE = 0.9
"""Calls that take hardly longer though there are twice as many: the first flight of them says enough, where more of them end, too."""
HEARD_S = 2.0
"""Until all workers have heard of a new cap and keep to it."""
PATIENCE_S = 10.0
"""A cap above the knee that work does not fill by then cannot be judged."""
REFUSED = 0.1
"""Calls that the server refused or left lying, for each that it answered: too many."""


class State(msgspec.Struct, frozen=True):
    """`cap` is in force; `best` the knee as far as known, `rate` its work per second (0: not measured) and `top` the most seen.

    `low` is known to be too few, `high` to be of no use; 0 where nothing is known. `due_s`: when a held knee is tried again.
    """

    cap: int
    best: int
    rate: float = 0.0
    top: float = 0.0
    low: int = 0
    high: int = 0
    stride: float = DOUBLE
    due_s: float = 0.0
    holds: int = 0


NOTHING = State(0, 0)


class Window(NamedTuple):
    """What was seen at a cap: work per second; or, at once, that it is `pressed`: too much for the server, which can do
    `room` (0: it does not say)."""

    now_s: float
    rate: float = 0.0
    pressed: bool = False
    room: int = 0


def start(slots: int, *, believed: bool) -> State:
    """Before anything was seen; what is believed is not tried with fewer until it is slow."""
    return State(slots, slots, low=slots - 1 if believed else 0)


def step(state: State, seen: Window, most: int) -> State:
    """The next cap, at least 1 and at most `most`."""
    if state.best > most or state.cap > most:
        return start(most, believed=True)
    if seen.pressed:
        return _pressed(state, seen.room)
    judged = _judged(state, seen.rate)
    if state.cap > state.best and seen.rate < (1 - MOVED) * state.rate:
        return msgspec.structs.replace(judged, cap=state.best)  # which may be slower by now as well
    return _next(judged, seen.now_s, most) if judged.rate else judged


def _pressed(state: State, room: int) -> State:
    """Above the knee: back. Otherwise fewer, and slowly up again."""
    cap, back = state.cap, msgspec.structs.replace(state, high=state.cap, stride=GENTLE, due_s=0.0)
    if cap > state.best:
        return msgspec.structs.replace(back, cap=max(state.best, min(room, cap - 1)))
    fewer = max(1, int(FEWER * cap), min(room, cap - 1))
    low = state.low if state.low < fewer else 0
    return msgspec.structs.replace(back, cap=fewer, best=fewer, rate=0.0, top=0.0, low=low)


def _judged(state: State, rate: float) -> State:
    """What the window says of its cap."""
    cap, top = state.cap, max(state.top, rate)
    if cap > state.best:
        if rate >= state.rate * GAIN ** math.log2(cap / state.best):
            return msgspec.structs.replace(state, best=cap, rate=rate, top=top, low=state.best)
        return msgspec.structs.replace(state, high=cap, top=top)
    if cap < state.best:
        if rate >= NEARLY * state.top:
            return msgspec.structs.replace(state, best=cap, rate=rate, high=state.best)
        return msgspec.structs.replace(state, low=cap)
    if state.rate and abs(rate / state.rate - 1) > MOVED:
        return State(cap, cap, rate, rate, high=MOST + 1)
    mean = (state.rate + rate) / 2 if state.rate else rate
    return msgspec.structs.replace(state, rate=mean, top=mean)


def _next(state: State, now_s: float, most: int) -> State:
    """More, else fewer, else the knee is held until it is due."""
    best, low, high = state.best, state.low, state.high
    more = min(most, max(best + 1, int(best * state.stride)))
    if more > best and not 0 < high <= more:
        return msgspec.structs.replace(state, cap=more, due_s=0.0)
    if best - low > 1 and best > NARROW * low:
        fewer = round(math.sqrt(low * best)) if low else max(1, int(FEWER * best))
        return msgspec.structs.replace(state, cap=fewer, due_s=0.0)
    if state.due_s and now_s >= state.due_s:
        holds = state.holds + 1
        deep = holds % DEEP == 0 or state.stride == GENTLE
        return _next(
            msgspec.structs.replace(state, high=0, low=0 if deep else low, due_s=0.0, holds=holds), now_s, most
        )
    hold_s = HOLD_S * (DEEP if state.stride == GENTLE else 1)
    return msgspec.structs.replace(state, cap=best, due_s=state.due_s or now_s + hold_s)


class Load(NamedTuple):
    """A target's calls in flight, and what only grows: answers, their tokens, the seconds that slots were held, calls refused or
    left lying."""

    in_flight: int = 0
    rows: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    held_s: float = 0.0
    refused: float = 0.0

    def since(self, before: Load) -> Load:
        """What was added; none of it where a worker began anew."""
        return Load(self.in_flight, *(max(0.0, now - then) for now, then in zip(self[1:], before[1:], strict=True)))

    def plus(self, more: Load) -> Load:
        return Load._make(now + then for now, then in zip(self, more, strict=True))


class Said(NamedTuple):
    """What the server says: how many at once it can do (0: nothing); `waiting` calls there for want of room, and how many looks
    have found any twice in a row."""

    parallel: int = 0
    waiting: int = 0
    looks: int = 0


class Climb:
    """One target's climb, from what an earlier run held or somebody measured, else what the server says, else eight."""

    def __init__(self, kept: State = NOTHING) -> None:
        """`kept`: what an earlier climb held, or a cap that somebody measured, without a rate."""
        self._kept, self._state = kept, NOTHING
        self._workers, self._load = dict[str, Load](), Load()
        self._since_s, self._since, self._looks = 0.0, Load(), 0
        self._from: tuple[float, Load] | None = None
        self._settled, self._fills = False, list[float]()
        self._settled_at = 0
        """The cap to which all calls in flight belong; 0: not yet."""
        self._prefill = 0.0

    @property
    def kept(self) -> State:
        """The knee and what is known around it, once it was measured, for the next climb: that holds it if the speed is the same."""
        state = self._state
        return State(state.best, state.best, state.rate, state.top, state.low, state.high) if state.rate else self._kept

    @property
    def climbing(self) -> bool:
        """It does not hold a knee yet, or not any more: what the lane does now says little of what it will do."""
        return not self._state.due_s

    def look(self, now_s: float, workers: Iterable[tuple[str, Load]], prefill: float, said: Said) -> int:
        """The cap from now on."""
        load, most, state = self._sum(workers), min(said.parallel or MOST, MOST), self._state
        if not (state.rate or state.high):
            known = self._kept.best or said.parallel
            state = (
                self._kept
                if self._kept.rate and self._kept.cap <= most
                else start(min(known or START, most), believed=bool(known))
            )
        if now_s - self._since_s < HEARD_S:
            self._since, self._looks = load, said.looks
        if state.cap > most or self._is_pressed(load, said):
            room = state.cap - said.waiting if said.waiting else 0
            state = step(state, Window(now_s, pressed=True, room=room), most)
            self._begin(now_s, load, said)
        elif load.in_flight < EMPTY * state.cap:
            self._from = None
        elif (rate := self._measured(now_s, load, prefill, state)) is not None:
            state = step(state, Window(now_s, rate), most)
            self._begin(now_s, load, said)
        if self._from is None and state.cap > state.best and now_s - self._since_s > PATIENCE_S:
            state = msgspec.structs.replace(state, cap=state.best, high=state.cap)
        if state.cap != self._state.cap:
            self._settled_at = state.cap if not load.rows else 0
            self._begin(now_s, load, said)
        self._state = state
        return state.cap

    def _sum(self, workers: Iterable[tuple[str, Load]]) -> Load:
        """Of all workers, also of those that are gone; what one did before it was first seen does not count."""
        seen, total = dict(workers), self._load._replace(in_flight=0)
        for owner, load in seen.items():
            total = total.plus(load.since(self._workers.get(owner, load)))
        self._workers, self._load = seen, total
        return total

    def _begin(self, now_s: float, load: Load, said: Said) -> None:
        self._since_s, self._since, self._looks, self._from = now_s, load, said.looks, None

    def _is_pressed(self, load: Load, said: Said) -> bool:
        """Since the cap was set; once per flight that was answered, for a server that answers nobody is down."""
        rows, refused = load.rows - self._since.rows, load.refused - self._since.refused
        if refused > max(1.0, REFUSED * rows) and rows >= min(self._state.cap, LEAST_ROWS):
            return True
        return said.waiting > 0 and said.looks > self._looks

    def _measured(self, now_s: float, load: Load, prefill: float, state: State) -> float | None:
        """Work per second, when a window ends in which all slots were in use: by Little's law, from whole calls, since what was
        answered in a short time says little while long ones are under way."""
        cap = state.cap
        if self._from is None:
            if FULL * cap <= load.in_flight <= cap:
                self._from, self._settled, self._fills = (now_s, load), cap == self._settled_at, []
            return None
        begun_s, begun = self._from
        seconds, rows = now_s - begun_s, load.rows - begun.rows
        self._fills.append(load.in_flight / cap)
        if not (state.rate and self._prefill):
            self._prefill = prefill  # one weight for all that is compared
        fill, held_s = sum(self._fills) / len(self._fills), load.held_s - begun.held_s
        work = self._prefill * (load.input_tokens - begun.input_tokens) + load.output_tokens - begun.output_tokens
        rate = fill * cap * work / held_s if fill >= FULL and held_s > 0 else None
        if not self._settled:
            if rows < cap:
                return None
            more = cap / state.best if state.rate else math.inf
            if (
                rate is not None
                and more > 1
                and rate >= FREE * more * state.rate
                and work >= CLEAR * state.rate * seconds
            ):
                self._from = None
                return rate
            self._from, self._settled, self._fills = (now_s, load), True, []
            self._settled_at = cap
            return None
        whole = rows >= max(FLIGHTS * cap, LEAST_ROWS)
        if seconds < LEAST_S or rows < max(cap, EARLY_ROWS):
            return None
        if not whole and (rate is None or not _is_clear(state, rate)):
            return None
        self._from = None
        return rate


def _is_clear(state: State, rate: float) -> bool:
    """Whether a window need not go on: nothing was known before, or it is another speed than then; more calls bring so much or bring
    less, fewer so much less."""
    if state.cap > state.best and state.rate:
        return not 1 / GAIN < rate / state.rate < CLEAR
    if state.cap < state.best:
        return rate * CLEAR < state.top
    return not state.rate or not 1 / OTHER < rate / state.rate < OTHER
