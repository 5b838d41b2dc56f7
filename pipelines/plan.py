"""Which batch goes to which lane, now: a pure function of a snapshot, and the one place where policy lives.

Local takes from the head of each run's order (most cloud dollars saved per local second), cloud from its tail.
Between clients weighted fair share by work done, inside a client the earliest deadline. A run without a deadline
stays local while a local target is up; a run with one spills what the local lane cannot finish in time, at the last
responsible moment, and before that hands what will most likely be short to a provider's batch API, at its lower price.
The queues stay short: a lane is topped up to its stock, no further. No Redis, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist

from pipelines.snapshot import BatchTarget, BatchView, Move, Recall, Ring, RunView, Snapshot, TargetView

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
ORDERED = 0.9
"""Of the shortage foreseen: an answer bought although the local lane had time for it is money lost."""
SPREAD = 0.1
"""How far the work left may be from its estimate, one standard deviation as a share of it."""
BATCH_P90S = 1.0
"""A provider batch is begun while the time left is more than so many times what nine in ten take."""
TOP_UPS = 6
"""A shortage is looked at anew this often in the time that a provider batch usually takes."""
RECALL_SHARE = 0.1
"""What has not come back in this last part of its time is taken back and bought in real time."""


def plan(snapshot: Snapshot) -> list[Move]:
    """The moves of this tick; the same snapshot gives the same moves."""
    taken: set[str] = set()
    moves: list[Move] = list(_fill_local(snapshot, taken))
    moves.extend(_recall(snapshot))
    moves.extend(_order(snapshot, taken))
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
        if cloud is None or _may_wait(snapshot, run, batch):
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
    return count if left_s <= bought_s(tail[0][1], rows) else 0


def _order(snapshot: Snapshot, taken: set[str]) -> Iterator[Ring]:
    """What belongs to a provider's batch API now, the tail first: all that has no local lane and time enough, and of the
    rest what will most likely be short."""
    room = {name: float(target.room_rows) for name, target in snapshot.batch_targets.items()}
    before = 0.0
    for run in sorted(snapshot.runs, key=_due):
        short = _foreseen(snapshot, run, before)
        for batch in reversed(run.waiting):
            target = _batch_target(snapshot, run, batch) if batch.id not in taken else None
            if target is None or room[target.name] < batch.rows:
                continue
            at_home = batch.lanes != "cloud" and first_up(snapshot, batch.route, "local") is not None
            if at_home and (short < batch.work or not _is_time(snapshot, run, target)):
                continue
            short -= batch.work if at_home else 0.0
            room[target.name] -= batch.rows
            taken.add(batch.id)
            yield Ring(batch.id, run.id, "provider_batch", target.name)
        before += run.ahead + sum(batch.work for batch in run.waiting)


def _batch_target(snapshot: Snapshot, run: RunView, batch: BatchView) -> BatchTarget | None:
    """The batch API that a waiting batch may use: the first that is up and usually answers well before the deadline."""
    if run.waited_for or batch.real_time or not run.may_buy or batch.lanes == "local":
        return None
    left_s = float("inf") if run.deadline_ms is None else (run.deadline_ms - snapshot.now_ms) / 1000
    for name in snapshot.routes.get(batch.route, ()):
        target = snapshot.batch_targets.get(name)
        if target is not None and target.up and target.price < 1 and left_s > BATCH_P90S * target.latency_p90_s:
            return target
    return None


def _may_wait(snapshot: Snapshot, run: RunView, batch: BatchView) -> bool:
    """Whether a batch without a local lane is better off waiting for room at a batch API than bought in real time."""
    return _batch_target(snapshot, run, batch) is not None


def _is_time(snapshot: Snapshot, run: RunView, target: BatchTarget) -> bool:
    """Orders come in a few large lots: not again soon after the last."""
    last_ms = max((batch.sent_ms for batch in run.sent), default=0)
    return snapshot.now_ms - last_ms >= 1000 * target.latency_p50_s / TOP_UPS


def _foreseen(snapshot: Snapshot, run: RunView, before: float) -> float:
    """Work that should be ordered now so that the local lane just ends the rest in time.

    A newsvendor's order: at a price of half the real-time price the median of the shortage, at another price its quantile.
    """
    if run.deadline_ms is None or not snapshot.batch_targets:
        return 0.0
    left_s = (run.deadline_ms - snapshot.now_ms) / 1000
    mine = {name for batch in run.waiting for name in snapshot.routes.get(batch.route, ())}
    locals_ = [t for t in snapshot.targets.values() if t.lane == "local" and t.up and t.name in mine]
    capacity = sum(local_rate(t) * max(0.0, left_s - TAIL_LATENCIES * t.latency_s) for t in locals_)
    price = min((snapshot.batch_targets[name].price for name in mine & snapshot.batch_targets.keys()), default=1.0)
    sent = sum(batch.work for batch in run.sent)
    need = before + run.ahead + sum(batch.work for batch in run.waiting) + sent
    quantile = NormalDist().inv_cdf(min(0.95, max(0.05, 1 - price)))
    return ORDERED * (need * (1 + SPREAD * quantile) - capacity) - sent


def _recall(snapshot: Snapshot) -> Iterator[Recall]:
    """What has not come back when real time must begin."""
    for run in snapshot.runs:
        if run.deadline_ms is None or not run.may_buy:
            continue
        rows = sum(batch.rows for batch in run.sent)
        for batch in run.sent:
            left_s, had_s = (run.deadline_ms - snapshot.now_ms) / 1000, (run.deadline_ms - batch.sent_ms) / 1000
            cloud = first_up(snapshot, batch.route, "cloud")
            if cloud is not None and left_s <= max(RECALL_SHARE * had_s, bought_s(cloud, rows)):
                yield Recall(batch.id, run.id)


def bought_s(cloud: TargetView, rows: float) -> float:
    """Seconds that a cloud target must be given for so many rows: less is too late."""
    rate = max(cloud.rows_per_s, cloud.slots / max(cloud.latency_s, 0.05) if cloud.rows_per_s == 0 else 0.0)
    return CLOUD_SAFETY * rows / max(rate, 0.01) + SAFETY * LATENCIES * cloud.latency_s + TICK_S


def usable_s(target: TargetView, left_s: float) -> float:
    """How long a lane can be counted on until a deadline: less its tail, and less what its rate may turn out lower."""
    return max(0.0, left_s / SAFETY - TAIL_LATENCIES * target.latency_s)


def local_rate(target: TargetView) -> float:
    """Work per second of a local target; a cautious guess until something was measured."""
    return target.rate or GUESSED_TOKENS_PER_S * target.slots
