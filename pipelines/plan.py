"""Which batch goes to which lane, now: a pure function of a snapshot, and the one place where policy lives.

Local takes from the head of each run's order (most cloud dollars saved per local second), cloud from its tail.
Between clients weighted fair share by work done, inside a client the earliest deadline. A run without a deadline
stays local while a local target is up; a run with one spills what the local lane cannot finish in time, at the last
responsible moment. The queues stay short: a lane is topped up to its stock, no further. No Redis, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

STOCK_S = 3.0
STOCK_SLOTS, FIRST_STOCK_SLOTS = 2, 4
TICK_S = 1.0
SAFETY, CLOUD_SAFETY = 1.15, 1.4
"""A local rate is measured at work; a cloud's mostly with few calls in flight, and nobody knows yet what it holds."""
LATENCIES = 4
TAIL_LATENCIES = 2
"""A lane's last calls: some take twice as long as the average, and nothing follows in their slots."""
GUESSED_TOKENS_PER_S = 25.0
"""Decode speed of one slot before anything was measured."""


class TargetView(msgspec.Struct, frozen=True):
    """One target as it is now; `rate` is estimated work finished per second, 0 while unknown."""

    name: str
    lane: str
    up: bool
    slots: int
    rung_rows: int = 0
    rate: float = 0.0
    rows_per_s: float = 0.0
    latency_s: float = 1.0


class BatchView(msgspec.Struct, frozen=True):
    """One waiting batch; `lanes` says where it may still go: any, cloud (local gave up) or local.

    `last`: there is no lane after that one; what cannot be answered there ends.
    """

    id: str
    route: str
    rows: int
    work: float
    lanes: str = "any"
    last: bool = False


class RunView(msgspec.Struct, frozen=True):
    """One open run; `waiting` is ordered from head to tail, `ahead` is work rung or not yet prepared.

    `waited_for`: somebody waits for each answer. It goes first among its client's runs, and what the local lane cannot take
    now to the cloud.
    """

    id: str
    client: str
    created_ms: int
    deadline_ms: int | None
    waiting: tuple[BatchView, ...]
    ahead: float = 0.0
    may_buy: bool = True
    waited_for: bool = False


class Snapshot(msgspec.Struct, frozen=True):
    """Everything `plan` knows; routes map to their targets' names, in order of preference."""

    now_ms: int
    targets: Mapping[str, TargetView]
    routes: Mapping[str, tuple[str, ...]]
    runs: tuple[RunView, ...]
    weights: Mapping[str, float] = {}
    served: Mapping[str, float] = {}


class Ring(msgspec.Struct, frozen=True):
    """Move: let this batch run on this lane now."""

    batch: str
    run: str
    lane: str
    target: str


def plan(snapshot: Snapshot) -> list[Ring]:
    """The moves of this tick; the same snapshot gives the same moves."""
    taken: set[str] = set()
    moves = list(_fill_local(snapshot, taken))
    moves.extend(_fill_cloud(snapshot, taken))
    return moves


def first_up(snapshot: Snapshot, route: str, lane: str) -> TargetView | None:
    """The target that a route uses on a lane: the first that is up, in the route's order."""
    for name in snapshot.routes.get(route, ()):
        target = snapshot.targets.get(name)
        if target is not None and target.lane == lane and target.up and target.slots > 0:
            return target
    return None


def stock(target: TargetView) -> float:
    """Rows that should be rung at a target: enough that no slot waits for the next tick; more while its rate is unknown."""
    if not target.rows_per_s:
        return FIRST_STOCK_SLOTS * target.slots
    return max(STOCK_SLOTS * target.slots, target.rows_per_s * STOCK_S)


def _fill_local(snapshot: Snapshot, taken: set[str]) -> Iterator[Ring]:
    """Top each local target up, client by client, run by run, from the head."""
    rung = {t.name: t.rung_rows for t in snapshot.targets.values() if t.lane == "local" and t.up}
    served = dict(snapshot.served)
    heads = {run.id: _local_order(snapshot, run) for run in snapshot.runs}
    waiting = {run.id: next(heads[run.id], None) for run in snapshot.runs}
    while True:
        ready = [run for run in snapshot.runs if waiting[run.id] is not None]
        if not ready:
            return
        run = min(ready, key=lambda r: (served.get(r.client, 0.0) / snapshot.weights.get(r.client, 1.0), *_due(r)))
        found = waiting[run.id]
        assert found is not None
        batch, target = found
        if rung[target.name] >= stock(target):
            waiting[run.id] = next((f for f in heads[run.id] if rung[f[1].name] < stock(f[1])), None)
        elif _too_late(snapshot, run, batch, target, rung[target.name]):
            waiting[run.id] = next(heads[run.id], None)
        else:
            rung[target.name] += batch.rows
            served[run.client] = served.get(run.client, 0.0) + batch.work
            taken.add(batch.id)
            yield Ring(batch.id, run.id, "local", target.name)
            waiting[run.id] = next(heads[run.id], None)


def _too_late(snapshot: Snapshot, run: RunView, batch: BatchView, target: TargetView, rung_rows: int) -> bool:
    """Whether a batch that the cloud could take would not be done in time behind what is rung: it would not come back."""
    cloud = run.may_buy and batch.lanes != "local" and first_up(snapshot, batch.route, "cloud") is not None
    if run.deadline_ms is None or not cloud:
        return False
    usable = usable_s(target, (run.deadline_ms - snapshot.now_ms) / 1000)
    if not target.rows_per_s:  # a first batch is how its rate is found out
        return usable <= 0
    return rung_rows + batch.rows > target.rows_per_s * usable


def _local_order(snapshot: Snapshot, run: RunView) -> Iterator[tuple[BatchView, TargetView]]:
    for batch in run.waiting:
        target = first_up(snapshot, batch.route, "local") if batch.lanes != "cloud" else None
        if target is not None:
            yield batch, target


def _due(run: RunView) -> tuple[float, int, str]:
    due = run.deadline_ms if run.deadline_ms is not None else float("inf")
    return (0 if run.waited_for else due, run.created_ms, run.id)


def _fill_cloud(snapshot: Snapshot, taken: set[str]) -> Iterator[Ring]:
    room = {t.name: stock(t) - t.rung_rows for t in snapshot.targets.values() if t.lane == "cloud" and t.up}
    before = 0.0  # work of runs that are due earlier: they use the local lane first
    for run in sorted(snapshot.runs, key=_due):
        spill = _to_spill(snapshot, run, before, taken) if run.may_buy else ()
        for batch, target in spill:
            if room.get(target.name, 0.0) > 0:
                room[target.name] -= batch.rows
                taken.add(batch.id)
                yield Ring(batch.id, run.id, "cloud", target.name)
        before += run.ahead + sum(batch.work for batch in run.waiting)


def _to_spill(
    snapshot: Snapshot, run: RunView, before: float, taken: set[str]
) -> Iterator[tuple[BatchView, TargetView]]:
    """What of this run belongs in the cloud now, the tail first."""
    late: list[tuple[BatchView, TargetView]] = []
    for batch in reversed(run.waiting):
        cloud = first_up(snapshot, batch.route, "cloud") if batch.id not in taken and batch.lanes != "local" else None
        if cloud is None:
            continue
        if batch.lanes == "cloud" or first_up(snapshot, batch.route, "local") is None:
            yield batch, cloud
        else:
            late.append((batch, cloud))
    if run.waited_for:
        yield from late
    elif run.deadline_ms is not None and late:
        yield from late[: _due_now(snapshot, run, before, late)]


def _due_now(snapshot: Snapshot, run: RunView, before: float, tail: list[tuple[BatchView, TargetView]]) -> int:
    """How many tail batches must leave now so that the rest can be done locally in time."""
    assert run.deadline_ms is not None
    left_s = (run.deadline_ms - snapshot.now_ms) / 1000
    mine = {name for batch, _ in tail for name in snapshot.routes.get(batch.route, ())}
    locals_ = [t for t in snapshot.targets.values() if t.lane == "local" and t.up and t.name in mine]
    capacity = sum(local_rate(t) * usable_s(t, left_s) for t in locals_)
    short = before + run.ahead + sum(batch.work for batch in run.waiting) - capacity
    count, rows, work = 0, 0.0, 0.0
    for batch, _ in tail:
        if short <= 0:
            break
        short, work, rows = short - batch.work, work + batch.work, rows + batch.rows
        count += 1
    if count == 0:
        return 0
    rows += max(0.0, short) * rows / max(work, 1e-9)  # what is not prepared yet must follow in the same time
    cloud = tail[0][1]
    rate = max(cloud.rows_per_s, cloud.slots / max(cloud.latency_s, 0.05) if cloud.rows_per_s == 0 else 0.0)
    needed_s = CLOUD_SAFETY * rows / max(rate, 0.01) + SAFETY * LATENCIES * cloud.latency_s + TICK_S
    return count if left_s <= needed_s else 0


def usable_s(target: TargetView, left_s: float) -> float:
    """How long a lane can be counted on until a deadline: less its tail, and less what its rate may turn out lower."""
    return max(0.0, left_s / SAFETY - TAIL_LATENCIES * target.latency_s)


def local_rate(target: TargetView) -> float:
    """Work per second of a local target; a cautious guess until something was measured."""
    return target.rate or GUESSED_TOKENS_PER_S * target.slots
