"""The climb: its rule by tables and properties, and in virtual time against servers like the simulator's."""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.climb import MOST, START, Climb, Load, Said, State, Window, start, step

# -- the rule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "rate", "cap", "best"),
    [
        (State(8, 8), 100.0, 16, 8),  # measured: more is tried
        (State(16, 8, 100.0, 100.0), 110.0, 32, 16),  # worth it
        (State(16, 8, 100.0, 100.0), 103.0, 5, 8),  # not worth it: fewer is tried
        (State(16, 8, 100.0, 100.0), 60.0, 8, 8),  # much slower: is the best still as fast? before fewer is tried
        (State(32, 16, 100.0, 100.0, low=8), 101.0, 11, 16),  # between what is too few and what is enough
        (State(5, 8, 100.0, 104.0, high=16), 101.0, 3, 5),  # as good with fewer
        (State(5, 8, 100.0, 104.0, high=16), 80.0, 6, 8),  # too few
        (State(7, 8, 100.0, 104.0, low=6, high=16), 80.0, 8, 8),  # narrow enough: held
        (
            State(8, 8, 100.0, 104.0, low=7, high=16, due_s=500.0),
            60.0,
            16,
            8,
        ),  # much slower: its knee may have moved up, so more is tried,
        (State(16, 8, 60.0, 60.0), 61.0, 5, 8),  # and that was not it: fewer
        (State(8, 8, 100.0, 104.0, low=7, high=16, due_s=500.0), 140.0, 16, 8),  # much faster: more is tried as well
        (State(8, 8, 100.0, 104.0, low=7, high=16, due_s=500.0), 90.0, 8, 8),  # a little slower: held
        (State(8, 8, 100.0, 104.0, low=7, high=16, due_s=90.0), 100.0, 16, 8),  # due: more is tried
        (State(256, 128, 100.0, 100.0, low=64), 110.0, 181, 256),  # the most there is: narrowed
        (State(1, 1, high=2), 100.0, 1, 1),
    ],
)
def test_a_window_says_which_cap_comes_next(state: State, rate: float, cap: int, best: int) -> None:
    after = step(state, Window(100.0, rate), MOST)
    assert (after.cap, after.best) == (cap, best)


@pytest.mark.parametrize(
    ("state", "room", "cap", "best", "high"),
    [
        (State(16, 8, 100.0, 100.0), 0, 8, 8, 16),  # back to what was good
        (State(16, 8, 100.0, 100.0), 12, 12, 8, 16),  # the server says how many it can do
        (State(16, 8, 100.0, 100.0), 3, 8, 8, 16),
        (State(8, 8, 100.0, 100.0), 0, 5, 5, 8),  # it can do fewer than it could
        (State(8, 8, 100.0, 100.0), 7, 7, 7, 8),
        (State(1, 1, 100.0, 100.0), 0, 1, 1, 1),
    ],
)
def test_a_pressed_server_gets_fewer_at_once(state: State, room: int, cap: int, best: int, high: int) -> None:
    after = step(state, Window(100.0, pressed=True, room=room), MOST)
    assert (after.cap, after.best, after.high) == (cap, best, high)
    again = step(after, Window(110.0, 100.0), MOST)
    assert again.cap < max(high, 2), "what was too much is not tried again at once"


def test_what_the_server_says_is_the_most_and_is_believed() -> None:
    state = start(4, believed=True)
    for number in range(5):
        state = step(state, Window(10.0 * number, 100.0), 4)
        assert state.cap == 4
    assert step(State(16, 16, 100.0, 100.0), Window(0.0, 100.0), 4).cap == 4, "it was started again with fewer slots"


windows = st.builds(
    Window, st.just(0.0), st.floats(0.0, 1e6), st.booleans(), st.integers(-5, 300)
)  # fmt: skip


@given(st.lists(st.tuples(windows, st.floats(1.0, 100.0)), max_size=60), st.integers(1, MOST), st.booleans())
def test_a_cap_is_never_outside_its_bounds(seen: list[tuple[Window, float]], most: int, believed: bool) -> None:
    state, now_s = start(min(START, most), believed=believed), 0.0
    for window, seconds in seen:
        now_s += seconds
        after = step(state, window._replace(now_s=now_s), most)
        assert 1 <= after.cap <= most
        assert 1 <= after.best <= most
        assert after.low < after.best
        assert not (window.pressed and after.cap >= state.cap > 1), "pressed, and no fewer"
        state = after


# -- in virtual time -------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """T·n/(n + h) work a second over `slots`, a queue before them; every prompt is another length."""

    total: float
    half: float
    slots: int = 0
    queue: int = 10**6
    lengths: Random = field(default_factory=lambda: Random(1))
    now_s: float = 0.0
    work: float = 0.0
    running: list[tuple[float, float, float]] = field(default_factory=list)
    waiting: deque[tuple[float, float]] = field(default_factory=deque)
    load: Load = Load()  # noqa: RUF009

    def best(self, most: int = MOST) -> float:
        return self.at(min(most, self.slots or most))

    def at(self, calls: int) -> float:
        n = min(calls, self.slots or calls)
        return self.total * n / (n + self.half)

    def speed(self, calls: int) -> float:
        """Of each."""
        return self.total / (calls + self.half)

    def run(self, until_s: float, cap: int, *, enough: int = 10**6) -> Load:
        """Keeps `cap` calls in flight, as far as there are `enough`."""
        while True:
            while len(self.running) + len(self.waiting) < min(cap, enough):
                if self.slots and len(self.running) >= self.slots and len(self.waiting) >= self.queue:
                    self.load = self.load._replace(refused=self.load.refused + 1)
                    break
                self.waiting.append((self.lengths.lognormvariate(math.log(100), 0.5), self.now_s))
                self._admit()
            rate = self.speed(len(self.running))
            end_s = self.now_s + (self.running[0][0] - self.work) / rate
            if end_s > until_s:
                self.work += (until_s - self.now_s) * rate
                self.now_s = until_s
                self.load = self.load._replace(in_flight=len(self.running) + len(self.waiting))
                return self.load
            self.work, length, begun_s = heapq.heappop(self.running)
            self.now_s, load = end_s, self.load
            self.load = load._replace(
                rows=load.rows + 1, output_tokens=load.output_tokens + length, held_s=load.held_s + end_s - begun_s
            )
            self._admit()

    def _admit(self) -> None:
        while self.waiting and (not self.slots or len(self.running) < self.slots):
            length, begun_s = self.waiting.popleft()
            heapq.heappush(self.running, (self.work + length, length, begun_s))


@dataclass
class Knee(Server):
    """As fast for each call up to so many at once; no faster in all beyond."""

    @property
    def knee(self) -> float:
        return self.half

    @knee.setter
    def knee(self, calls: float) -> None:
        self.half = calls

    def at(self, calls: int) -> float:
        return self.total * min(1.0, calls / self.half)

    def speed(self, calls: int) -> float:
        return self.at(calls) / calls


def climb(
    server: Server, seconds: float, found: Climb | None = None, *, told: int = 0, scrape: bool = False, enough: int = 10**6
) -> tuple[Climb, list[int]]:  # fmt: skip
    """A look every 0.4 s, obeyed 0.4 s later; the caps in force at each. With `scrape` the server's queue is seen every 5 s."""
    found, caps, cap, obeyed = found or Climb(), list[int](), START, START
    waiting = looks = ticks = 0
    until_s = server.now_s + seconds
    while server.now_s < until_s:
        ticks += 1
        load = server.run(server.now_s + 0.4, obeyed, enough=enough)
        if scrape and ticks % 12 == 0:
            looks += bool(waiting and server.waiting)
            waiting = len(server.waiting)
        obeyed, cap = cap, found.look(server.now_s, [("w", load)], 0.1, Said(told, waiting, looks))
        caps.append(cap)
    return found, caps


def test_caps_are_compared_by_one_weight_of_prefill_whatever_is_learned_meanwhile() -> None:
    """Four calls at once do two thirds of what six did, though reading weighs twice as much by now."""
    found, now, load = Climb(State(6, 6)), 0.0, Load(6)
    for cap, rate, prefill in ((6, 60.0, 0.05), (4, 40.0, 0.1)):
        found._state = msgspec.structs.replace(found._state, cap=cap, best=6, high=7)
        found._begin(now, load, Said())
        for _ in range(200):
            now, rows = now + 0.4, rate * 0.4 / 100
            more = (rows, 1000 * rows, 50 * rows, 0.4 * cap)
            load = Load(cap, *(was + new for was, new in zip(load[1:5], more, strict=True)))
            found.look(now, [("w", load)], prefill, Said())
            if found._state.cap != cap:
                break
    assert (found._state.best, found._state.low) == (6, 4)


def test_a_knee_that_moves_up_is_followed_though_the_server_got_slower_by_it() -> None:
    """As many calls at once are now a third of what it can do: more are tried at once, not fewer first."""
    server = Server(3000, 4)
    found, _ = climb(server, 90)
    server.half = 40
    _, caps = climb(server, 150, found)
    assert server.at(caps[-1]) >= 0.7 * server.best()


def test_where_calls_take_no_longer_the_next_doubling_waits_for_half_of_them_alone() -> None:
    """Calls of four seconds: a minute had gone by until a server for 24 was given 24."""
    server = Knee(600.0, 24)
    _, caps = climb(server, 40)
    assert max(caps[:75]) >= 32, "after half a minute"
    server = Knee(600.0, 6, 40)
    found, _ = climb(server, 100)
    server.knee = 24
    _, caps = climb(server, 60, found)
    assert max(caps[:75]) >= 24, "and as soon after it has moved"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("half", [0.2, 1.0, 3.0, 8.0, 16.0])
@pytest.mark.parametrize("slots", [0, 3, 12, 40])
def test_the_knee_is_found_within_two_minutes(half: float, slots: int, seed: int) -> None:
    """Unlimited, the best is what 256 calls at once bring. A narrowing afterwards costs a little, for a moment."""
    server = Server(3000, half, slots, lengths=Random(seed))
    found, caps = climb(server, 120)
    assert server.at(found.kept.best) >= 0.9 * server.best()
    assert server.at(caps[-1]) >= 0.85 * server.best()
    if not slots:
        assert found.kept.best <= max(START, 40 * half), "much more than is of use"


def test_the_next_run_holds_the_knee_at_once_and_climbs_only_where_the_speed_is_another() -> None:
    """It began there, and tried twice as many and then fewer once more, in each run."""
    found, _ = climb(Knee(600.0, 24), 150)
    later, caps = climb(Knee(600.0, 24), 55, Climb(found.kept))
    assert set(caps) == {found.kept.best} and not later.climbing
    moved = Knee(900.0, 12)
    _, caps = climb(moved, 60, Climb(found.kept))
    assert max(caps) > found.kept.best > min(caps) and moved.at(caps[-1]) >= 0.9 * moved.best()


def test_the_climb_follows_a_knee_that_moves() -> None:
    for before, after in [((8, 12), (8, 40)), ((8, 40), (8, 6)), ((1, 0), (12, 0)), ((8, 24), (1, 5))]:
        server = Server(3000, *before)
        found, _ = climb(server, 100)
        server.half, server.slots = after
        climb(server, 150, found)
        assert server.at(found.kept.best) >= 0.9 * server.best()
        if server.slots < 12 and server.slots:
            assert found.kept.best <= 32, "it has come down as well"


def test_more_than_the_server_says_is_never_asked() -> None:
    _, caps = climb(Server(3000, 8, 12), 900, told=12)
    assert max(caps[1:]) == 12
    assert sum(caps) > 11.5 * len(caps), "and it is seldom tried with fewer"
    found, _ = climb(Server(3000, 8, 5), 900, told=12)
    assert found.kept.best <= 6, "a server that says more than it does is found out in the end"


def test_a_knee_above_what_the_server_takes_by_now_is_not_tried_again_at_each_look() -> None:
    """It held nothing and measured nothing, for as long as the older knee was remembered."""
    found, _ = climb(Knee(600.0, 24), 150)
    later, caps = climb(Server(3000, 8, 4), 120, Climb(found.kept), told=4)
    assert max(caps) == 4 and later.kept.rate and not later.climbing
    assert later.kept.best <= 4


def test_a_server_that_refuses_is_given_what_it_can_do() -> None:
    server = Server(3000, 8, 6, queue=0)
    found, caps = climb(server, 120)
    assert server.at(found.kept.best) >= 0.9 * server.best()
    assert found.kept.best <= 6
    assert max(caps[60:]) <= 8, "and what was refused is tried again seldom"


def test_calls_that_wait_for_room_at_the_server_say_how_many_it_can_do() -> None:
    server = Server(3000, 8, 12)
    found, caps = climb(server, 200, scrape=True)
    assert server.at(found.kept.best) >= 0.9 * server.best()
    assert sorted(caps)[int(0.8 * len(caps))] <= 14


def test_a_lane_that_is_not_full_stays_as_it_is() -> None:
    _, caps = climb(Server(3000, 8), 200, enough=7)
    assert set(caps) == {START}
    _, caps = climb(Server(3000, 8), 50, enough=12)
    assert caps.count(2 * START) < 40, "what work does not fill is given up"
    assert caps[-1] == START
    _, caps = climb(Server(3000, 8), 4)
    assert set(caps) == {START}, "a small run ends before anything is tried"
    assert Climb(State(40, 40)).look(0.0, [], 0.1, Said()) == 40, "and begins where an earlier one has held"
    assert Climb(State(40, 40)).look(0.0, [], 0.1, Said(12)) == 12


def test_an_outage_costs_one_step_at_most() -> None:
    """A server that answers nobody is down, which is health's matter."""
    server = Server(3000, 8, 8)
    found, _ = climb(server, 60, told=8)
    load = server.load
    for second in range(60):
        load = load._replace(in_flight=0, refused=load.refused + 10)
        cap = found.look(server.now_s + second, [("w", load)], 0.1, Said(8))
    assert cap >= 5


def test_workers_come_and_go() -> None:
    found, caps = Climb(), list[int]()
    for second in range(28):
        one = Load(4, 20.0 * second, 0.0, 2000.0 * second, 4.0 * second)
        workers = [("a", one), (f"b{second // 9}", one)]
        caps.append(found.look(float(second), workers, 0.1, Said()))
    assert max(caps) > START, "their sums are one lane's"
