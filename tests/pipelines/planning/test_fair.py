"""Fairness: water in vessels, who stays ahead, and clients that share one lane through plan() itself."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.plan import plan
from pipelines.planning.fair import RANKS, Claim, Served, Vessels, in_turn
from pipelines.planning.snapshot import BatchView, Ring, RunView, Snapshot, TargetView
from pipelines.planning.spill import buyers

BATCH_ROWS, WORK = 16, 100.0


@pytest.mark.parametrize(
    ("name", "claims", "work", "expected"),
    [
        ("enough for all", {"a": Claim(0, 5), "b": Claim(0, 3)}, 10, {"a": 5, "b": 3}),
        ("equal parts", {"a": Claim(0, 50), "b": Claim(0, 50)}, 10, {"a": 5, "b": 5}),
        (
            "who wants little gets it, the rest is the other's",
            {"a": Claim(0, 50), "b": Claim(0, 2)},
            10,
            {"a": 8, "b": 2},
        ),
        ("by weight", {"a": Claim(0, 50, 3), "b": Claim(0, 50, 1)}, 10, {"a": 7.5, "b": 2.5}),
        ("who was served less catches up first", {"a": Claim(6, 50), "b": Claim(0, 50)}, 10, {"a": 2, "b": 8}),
        ("a higher class first", {"a": Claim(0, 8, 1, 0), "b": Claim(0, 50)}, 10, {"a": 8, "b": 2}),
        ("background last", {"a": Claim(0, 50), "b": Claim(0, 50, 1, 2)}, 10, {"a": 10, "b": 0}),
    ],
)
def test_shares(name: str, claims: dict[str, Claim], work: float, expected: dict[str, float]) -> None:
    assert shares(claims, work) == pytest.approx(expected, abs=1e-6), name


def shares(claims: dict[str, Claim], work: float) -> dict[str, float]:
    vessels = Vessels(claims)
    return {name: vessels.share(name, work) for name in claims}


_claim = st.builds(Claim, st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.01, 100), st.sampled_from([0, 1, 2]))


@given(st.dictionaries(st.text(max_size=3), _claim, min_size=1, max_size=8), st.floats(0, 1e7))
def test_shares_use_all_that_there_is_and_no_more(claims: dict[str, Claim], work: float) -> None:
    got = shares(claims, work)
    wanted = sum(claim.wants for claim in claims.values())
    assert sum(got.values()) == pytest.approx(min(work, wanted), rel=1e-3, abs=1e-2)
    assert all(0 <= got[name] <= claim.wants + 1e-6 for name, claim in claims.items())


def test_time_away_is_neither_saved_up_nor_does_it_shed_what_was_served() -> None:
    served = Served()
    served.levels(["a", "b"])
    served.add("a", 100.0, 1.0)
    served.add("b", 40.0, 1.0)
    assert served.levels(["a", "b", "new"]) == {"a": 100.0, "b": 40.0, "new": 40.0}
    served.levels(["b"])  # a has nothing to do for a moment
    assert served.levels(["a", "b"])["a"] == 100.0
    served.add("b", 200.0, 1.0)
    served.levels(["b"])  # a has fallen behind and is forgotten
    assert served.levels(["a", "b"]) == {"a": 240.0, "b": 240.0}
    served.add("a", 30.0, 3.0)
    assert served.levels(["a", "b"])["a"] == 250.0, "for its weight"


class Shared:
    """Clients with one run each on one local lane that ends its rows in the order in which they were rung."""

    def __init__(self, rows: dict[str, int], *, slots: int = 16, rate: float = 1600.0, **more: Any) -> None:
        numbers = count()
        self.waiting = {
            client: [
                BatchView(
                    f"{client}{next(numbers)}", "small", min(BATCH_ROWS, total - at), min(BATCH_ROWS, total - at) * WORK
                )
                for at in range(0, total, BATCH_ROWS)
            ]
            for client, total in rows.items()
        }
        self.gpu = TargetView("gpu", "local", True, slots, rate=rate, rows_per_s=rate / WORK, spans=50)
        self.mini = TargetView("mini", "cloud", True, 8, rate=100.0, rows_per_s=1.0)
        self.more, self.served, self.rung = more, Served(), list[tuple[str, BatchView]]()
        self.now, self.done, self.ended = 0.0, dict.fromkeys(rows, 0.0), dict[str, float]()
        self.bought = dict.fromkeys(rows, 0)
        self.history: list[dict[str, float]] = []

    def run(self, deadline_s: dict[str, float] | None = None, until_s: float = 1e9) -> None:
        weights, due = dict(self.more.get("weights", {})), deadline_s or {}
        while (any(self.waiting.values()) or self.rung) and self.now < until_s:
            runs = tuple(
                RunView(client, client, 0, int(due[client] * 1000) if client in due else None, tuple(batches),
                        ahead=(work := sum(b.work for c, b in self.rung if c == client)), rung={"gpu": work})
                for client, batches in self.waiting.items()
            )  # fmt: skip
            levels = self.served.levels(run.client for run in runs if run.waiting)
            rung = sum(b.rows for _, b in self.rung)
            targets = {"gpu": TargetView(*[*_fields(self.gpu)[:4], rung, *_fields(self.gpu)[5:]]), "mini": self.mini}
            snapshot = Snapshot(
                int(self.now * 1000), targets, {"small": ("gpu", "mini")}, runs, served=levels, **self.more
            )
            for move in plan(snapshot):
                assert isinstance(move, Ring)
                batch = next(b for b in self.waiting[move.run] if b.id == move.batch)
                self.waiting[move.run].remove(batch)
                if move.lane == "cloud":
                    self.bought[move.run] += batch.rows
                    continue
                self.served.add(move.run, batch.work, weights.get(move.run, 1.0))
                self.rung.append((move.run, batch))
            if self.rung:
                client, batch = self.rung.pop(0)
                self.now += batch.work / self.gpu.rate
                self.done[client] += batch.work
                if not self.waiting[client] and not any(c == client for c, _ in self.rung):
                    self.ended[client] = self.now
            else:
                self.now += 1.0
            self.history.append(dict(self.done))


def _fields(view: TargetView) -> list[object]:
    return [getattr(view, name) for name in view.__struct_fields__]


def jain(values: list[float]) -> float:
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


MANY = {"big": 20_000, **{f"c{i}": 100 for i in range(20)}}


def test_one_large_and_twenty_small_clients() -> None:
    """Jain's index of work done while all wait, and each client's end against ideal weighted fair sharing."""
    world = Shared(MANY)
    world.run()
    small = min(world.ended[f"c{i}"] for i in range(20))
    rate = world.gpu.rate
    waiting_all = [done for at, done in zip(_times(world), world.history, strict=True) if 0.5 * small <= at < small]
    assert jain(list(waiting_all[-1].values())) >= 0.95
    ideal = 21 * 100 * WORK / rate  # all at one pace until the small ones end together
    for client in MANY:
        end = ideal if client != "big" else sum(MANY.values()) * WORK / rate
        assert world.ended[client] <= 1.2 * end, client


def _times(world: Shared) -> list[float]:
    total = [sum(done.values()) for done in world.history]
    return [work / world.gpu.rate for work in total]


def test_weights_and_classes() -> None:
    world = Shared({"a": 4000, "b": 4000}, weights={"a": 3.0})
    world.run(until_s=100)
    assert world.done["a"] / world.done["b"] == pytest.approx(3, rel=0.1)
    world = Shared({"a": 800, "night": 800, "vip": 800}, ranks={"night": RANKS["background"], "vip": RANKS["high"]})
    world.run()
    assert world.ended["vip"] < world.ended["a"] < world.ended["night"]
    assert world.ended["vip"] == pytest.approx(800 * WORK / world.gpu.rate, rel=0.1), "as if it were alone"


def test_a_short_deadline_buys_on_its_own_account_and_gains_nothing_of_the_local_lane() -> None:
    """Two clients alike: the one in a hurry gets no more of the lane than its half, and pays for the rest."""
    patient = Shared({"a": 2000, "b": 2000})
    patient.run(until_s=100)
    hurried = Shared({"a": 2000, "b": 2000})
    hurried.run({"a": 130.0}, until_s=100)
    assert hurried.done["a"] <= 1.05 * patient.done["a"]
    assert hurried.done["b"] >= 0.95 * patient.done["b"]
    assert hurried.bought["a"] > 500 and hurried.bought["b"] == 0


class Bought:
    """Clients with one run each on a route of the cloud alone, or one whose local target is `away`; the cloud ends its rows in the
    order in which they were rung."""

    def __init__(self, rows: dict[str, int], *, away: str = "", **more: Any) -> None:
        self.waiting = {
            client: [
                BatchView(f"{client}{at}", "small" if client in away else "cloudy", min(4, total - at), min(4, total - at) * WORK)
                for at in range(0, total, 4)
            ]
            for client, total in rows.items()
        }  # fmt: skip
        self.more, self.served, self.now, self.rung = more, Served(), 0.0, list[tuple[str, BatchView]]()
        self.done, self.ended = dict.fromkeys(rows, 0.0), dict[str, float]()

    def run(
        self, deadline_s: dict[str, float] | None = None, until: Callable[[Bought], bool] = lambda _: False
    ) -> None:
        weights, due = dict(self.more.get("weights", {})), deadline_s or {}
        while any(self.waiting.values()) or self.rung:
            if until(self):
                return
            runs = tuple(
                RunView(client, client, number, int(due[client] * 1000) if client in due else None, tuple(batches))
                for number, (client, batches) in enumerate(self.waiting.items())
            )
            rows = sum(batch.rows for _, batch in self.rung)
            mini = TargetView("mini", "cloud", True, 8, rows, rate=800.0, rows_per_s=8.0, limit_rows_per_s=8.0)
            gpu = TargetView("gpu", "local", False, 16, rate=1600.0, rows_per_s=16.0, spans=50, down_s=20.0 + self.now)
            routes = {"cloudy": ("mini",), "small": ("gpu", "mini")}
            seen = Snapshot(int(self.now * 1000), {"mini": mini, "gpu": gpu}, routes, runs, **self.more)
            for move in plan(msgspec.structs.replace(seen, bought=self.served.levels(buyers(seen)))):
                assert isinstance(move, Ring) and move.lane == "cloud"
                batch = next(b for b in self.waiting[move.run] if b.id == move.batch)
                self.waiting[move.run].remove(batch)
                self.served.add(move.run, batch.work, weights.get(move.run, 1.0))
                self.rung.append((move.run, batch))
            client, batch = self.rung.pop(0)
            self.now += batch.rows / 8.0
            self.done[client] += batch.work
            if not self.waiting[client] and not any(c == client for c, _ in self.rung):
                self.ended[client] = self.now


def test_the_cloud_is_shared_too() -> None:
    """The large run came first: the small ones were not asked before it was done."""
    rows = {"big": 1600, **{f"c{i}": 40 for i in range(20)}}
    world = Bought(rows)
    world.run(until=lambda each: bool(each.ended))
    assert jain(list(world.done.values())) >= 0.95
    world.run()
    ideal = 21 * 40 / 8.0
    assert all(world.ended[f"c{i}"] <= 1.2 * ideal for i in range(20)) and world.ended["big"] == pytest.approx(300.0)


def test_weights_and_classes_in_the_cloud() -> None:
    world = Bought({"a": 800, "b": 800}, weights={"b": 3.0})
    world.run(until=lambda each: each.now >= 50)
    assert world.done["b"] / world.done["a"] == pytest.approx(3, rel=0.1)
    ranks = {"night": RANKS["background"], "vip": RANKS["high"]}
    world = Bought({"night": 160, "a": 160, "vip": 160}, ranks=ranks)
    world.run()
    assert world.ended["vip"] < world.ended["a"] < world.ended["night"]


def test_a_deadline_goes_first_in_the_cloud_when_it_must_and_earns_nothing_before() -> None:
    """100 s of each one's rows: with 1,000 s left they share, with 110 s left the deadline comes first."""
    half = Bought({"patient": 800, "hurried": 800})
    half.run({"hurried": 1000.0}, until=lambda each: each.now >= 50)
    assert half.done["hurried"] == pytest.approx(half.done["patient"], rel=0.1)
    last = Bought({"patient": 800, "hurried": 800})
    last.run({"hurried": 110.0})
    assert last.ended["hurried"] <= 110 and last.ended["patient"] == pytest.approx(200.0)


@pytest.mark.parametrize("away", ["", "a"])
def test_a_deadline_that_cannot_be_kept_takes_no_more_of_the_cloud_than_its_share(away: str) -> None:
    """Twice as many rows as the cloud can do until then; an hour of such had the cloud alone, and the small client's deadline
    passed, whose rows are eight seconds' work."""
    world = Bought({"a": 2400, "b": 2400, "cloudy": 64}, away=away)
    world.run({"a": 150.0, "cloudy": 170.0}, until=lambda each: each.now >= 100)
    assert world.done["b"] == pytest.approx(world.done["a"], rel=0.1)
    assert world.ended["cloudy"] <= 1.2 * 3 * 8


def test_a_deadline_that_leaves_time_at_first_is_kept_beside_others() -> None:
    world = Bought({"patient": 3200, "hurried": 800})
    world.run({"hurried": 300.0})
    assert 150 < world.ended["hurried"] <= 300


def test_who_has_a_local_lane_that_is_down_takes_no_more_of_the_cloud_than_others() -> None:
    """What it had was forgotten at each look, and it was always who had the least."""
    world = Bought({"cloudy": 800, "b": 800}, away="b")
    world.run(until=lambda each: each.now >= 50)
    assert world.done["b"] == pytest.approx(world.done["cloudy"], rel=0.1)


def test_who_is_served_without_having_been_counted_is_served_from_the_others_level() -> None:
    served = Served()
    served.levels(["a"])
    served.add("a", 100.0, 1.0)
    assert served.levels(["a"]) == {"a": 100.0}
    served.add("late", 10.0, 1.0)
    assert served.levels(["a"]) == {"a": 100.0, "late": 110.0}
    lines = {name: iter([(5.0, name)] * 9) for name in ("late", "new", "a")}
    turns = in_turn(lines, served.levels(["a"]), {}, {})
    assert [next(turns) for _ in range(4)] == ["new", "a", "new", "a"]


def test_of_what_is_waited_for_in_the_cloud_each_client_has_its_turn() -> None:
    mini = TargetView("mini", "cloud", True, 8, rate=800.0, rows_per_s=8.0)
    many, one = (
        tuple(BatchView(f"{client}{i}", "cloudy", 8, WORK) for i in range(count))
        for client, count in (("a", 9), ("b", 1))
    )
    runs = (
        RunView("late", "c", 0, 1000, tuple(BatchView(f"c{i}", "cloudy", 8, WORK) for i in range(9))),
        RunView("a", "a", 0, None, many, waited_for=True), RunView("b", "b", 1, None, one, waited_for=True),
    )  # fmt: skip
    moves = plan(Snapshot(0, {"mini": mini}, {"cloudy": ("mini",)}, runs))
    assert [move.run for move in moves] == ["a", "b", "a"], "24 rows are its stock"
