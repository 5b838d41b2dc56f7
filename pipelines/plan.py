"""Which batch goes to which lane, now: a pure function of a snapshot, and the one place where policy lives.

Local takes from the head of each run's order (most cloud dollars saved per local second), cloud from its tail.
Between clients weighted fair share by work done (pipelines/planning/fair.py), inside a client the earliest deadline. A run without a deadline
stays local while a local target is up; a run with one spills what the local lane cannot finish in time, at the last
responsible moment, and before that hands what will most likely be short to a provider's batch API, at its lower price
(pipelines/planning/offices.py, spill.py). The queues stay short: a lane is topped up to its stock, no further. No Redis, no clock.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from itertools import chain

from pipelines.planning.capacity import (
    Ways,
    answers,
    is_stocked,
    left_s,
    reserve_work,
    too_late,
    waiting_rows,
    ways,
)
from pipelines.planning.fair import NORMAL
from pipelines.planning.offices import sureness, to_offices
from pipelines.planning.shortage import Short, load, shortages
from pipelines.planning.snapshot import BatchView, Move, Ring, RunView, Snapshot, TargetView
from pipelines.planning.spill import to_cloud

PROBES = (7, 0, 4, 2, 6, 1, 3, 5)
"""Eighths of a run's order, in the order in which they are tried first: all kinds of prompts, not the head's alone."""
WORTH_TRYING = 3
"""Batches of a group that are left: for fewer it is not worth it to ask what they weigh."""
SPARE = 0.25
"""Of a run's work: a lane that could do so much more until the deadline will hardly leave any to the cloud."""
SHORTER = 0.5
"""Of the longest prompts' work: what is worth keeping for the end."""


def plan(snapshot: Snapshot) -> list[Move]:
    """The moves of this tick; the same snapshot gives the same moves."""
    on, due, taken = ways(snapshot), sorted(snapshot.runs, key=_due), set[str]()
    loads = {run.id: load(snapshot, on, run) for run in due}
    short = shortages(snapshot, loads, due, sureness(snapshot, on, due))
    spare = {
        (run, lane)
        for run, asked in loads.items()
        for lane, each in asked.lanes.items()
        if short[run][lane].surely <= -SPARE * each.work
    }
    moves: list[Move] = list(_fill_local(snapshot, on, spare, short, taken))
    moves.extend(to_offices(snapshot, on, loads, due, short, taken))
    moves.extend(to_cloud(snapshot, on, loads, due, short, taken))
    return moves


def _due(run: RunView) -> tuple[float, int, str]:
    due = run.deadline_ms if run.deadline_ms is not None else float("inf")
    return (0 if run.waited_for else due, run.created_ms, run.id)


def _fill_local(
    snapshot: Snapshot, on: Mapping[str, Ways], spare: set[tuple[str, str]],
    short: Mapping[str, Mapping[str, Short]], taken: set[str],
) -> Iterator[Ring]:  # fmt: skip
    """Top each local target up, client by client, run by run, from the head; `spare`: runs that need no order, and where."""
    locals_ = [t for t in snapshot.targets.values() if t.lane == "local" and t.up]
    rung, work = {t.name: t.rung_rows for t in locals_}, {t.name: t.rung_work for t in locals_}
    queued = {t.name: t.queued_work for t in locals_}
    soonest_s = min((left_s(snapshot, run) for run in snapshot.runs if run.waiting), default=math.inf)

    def stocked(target: TargetView) -> bool:
        return is_stocked(target, rung[target.name], queued[target.name], soonest_s)

    if all(stocked(target) for target in locals_):
        return
    served = dict(snapshot.served)
    heads = {run.id: _local_order(on, run, spare, short[run.id]) for run in snapshot.runs}
    waiting = {run.id: next(heads[run.id], None) for run in snapshot.runs}
    while not all(stocked(target) for target in locals_):
        ready = [run for run in snapshot.runs if waiting[run.id] is not None]
        if not ready:
            return
        run = min(ready, key=lambda r: (snapshot.ranks.get(r.client, NORMAL), served.get(r.client, 0.0), *_due(r)))
        found = waiting[run.id]
        assert found is not None
        batch, target = found
        if stocked(target):
            waiting[run.id] = next((f for f in heads[run.id] if not stocked(f[1])), None)
        elif _bought_instead(snapshot, on, run, batch, target, work[target.name]):
            waiting[run.id] = next(heads[run.id], None)
        else:
            rung[target.name] += batch.rows
            work[target.name] += batch.work
            queued[target.name] += batch.work / batch.rows * waiting_rows(target.slots, batch.rows, rung[target.name])
            more = batch.work / snapshot.weights.get(run.client, 1.0)
            served[run.client] = served.get(run.client, 0.0) + more
            taken.add(batch.id)
            yield Ring(batch.id, run.id, "local", target.name)
            waiting[run.id] = next(heads[run.id], None)


def _bought_instead(
    snapshot: Snapshot, on: Mapping[str, Ways], run: RunView, batch: BatchView, target: TargetView, rung_work: float
) -> bool:
    """Whether a batch that the cloud could take would not be done in time behind what is rung: it would not come back."""
    may = (
        run.deadline_ms is not None
        and not batch.held
        and run.may_buy
        and batch.lanes != "local"
        and (cloud := on[batch.route].cloud) is not None
        and answers(cloud, left_s(snapshot, run))
    )
    return may and too_late(target, batch, left_s(snapshot, run), rung_work)


Found = tuple[BatchView, TargetView]


def _local_order(
    on: Mapping[str, Ways], run: RunView, spare: set[tuple[str, str]], short: Mapping[str, Short]
) -> Iterator[Found]:
    """Target by target, the head's first."""
    of_target: dict[str, list[Found]] = {}
    for batch in run.waiting:
        target = on[batch.route].local if batch.route in on else None
        if target is not None and batch.lanes != "cloud" and batch.held != "any":
            of_target.setdefault(target.name, []).append((batch, target))
    return chain.from_iterable(
        _order(run, mine, (run.id, name) in spare, short[name].surely) for name, mine in of_target.items()
    )


def _order(run: RunView, mine: list[Found], spare: bool, short: float) -> list[Found]:
    """At one target: the head first, or mixed from both ends where nothing will spill; but of a run with a deadline a sample of
    all before anything was measured, one batch of each group that still was not, and the shortest prompts last, of whose work so
    much is `short`."""
    target = mine[0][1]
    if run.deadline_ms is not None and not target.rate:
        return _ahead(mine, _tried([batch for batch, _ in mine]))
    order = list(_mixed(mine, target)) if spare else mine
    if run.deadline_ms is None:
        return order
    order = _shortest_last(order, target, short)
    return _ahead(order, _untried(run, [batch for batch, _ in order]))


def _ahead(mine: list[Found], places: list[int]) -> list[Found]:
    """These first."""
    return [mine[place] for place in places] + [one for place, one in enumerate(mine) if place not in places]


def _tried(mine: list[BatchView]) -> list[int]:
    """Places of a run's order that are tried before anything was measured: the middle one of each group of answers that was only
    guessed, or, where all are of one group, places all over the order."""
    middle, most = _middles(mine), len(PROBES)
    if len(middle) > most:
        return [middle[part * len(middle) // most] for part in PROBES]
    return middle if len(middle) > 1 else list(dict.fromkeys(part * len(mine) // most for part in PROBES))


def _middles(mine: list[BatchView]) -> list[int]:
    of_group: dict[str, list[int]] = {}
    for place, batch in enumerate(mine):
        if batch.guessed:
            of_group.setdefault(batch.group, []).append(place)
    return [places[len(places) // 2] for places in of_group.values()]


def _untried(run: RunView, mine: list[BatchView]) -> list[int]:
    """Places of a run's order that are tried later: of each group that was only guessed, is not being tried and has some
    batches left, for what is not known is held back."""
    left = Counter(batch.group for batch in mine if batch.guessed and batch.group not in run.trying)
    if not left:
        return []
    worth = {group for group, batches in left.items() if batches >= WORTH_TRYING}
    return [place for place in _middles(mine) if mine[place].group in worth][: len(PROBES)]


def _mixed(mine: list[Found], target: TargetView) -> Iterator[Found]:
    """Long prompts with short answers beside short prompts with long ones, so that a server reads while it writes: the order is
    one of that, so from both its ends, whichever brings what is rung nearer to the mix of all. Beginnings that are alike stay
    together at each end."""
    read, work = sum(batch.read for batch, _ in mine), sum(batch.work for batch, _ in mine)
    head, tail = mine[0][0], mine[-1][0]
    tail_reads = tail.read * head.work > head.read * tail.work
    left, rung_read, rung_work = deque(mine), target.rung_read, target.rung_work
    while left:
        lacks_reading = rung_read * work < read * rung_work
        found = left.pop() if read and lacks_reading == tail_reads else left.popleft()
        rung_read, rung_work = rung_read + found[0].read, rung_work + found[0].work
        yield found


def _shortest_last(mine: list[Found], target: TargetView, short: float) -> list[Found]:
    """Of what the lane will have done by the deadline, the shortest last, as far as they fill its end; the tail, which is short,
    behind them: for that it will have no time."""
    stays = len(mine)
    while stays > 1 and short > 0:
        stays -= 1
        short -= mine[stays][0].work
    mine, leaving = mine[:stays], mine[stays:]
    longest = max(batch.work / batch.rows for batch, _ in mine)
    room = reserve_work(target, longest)
    kept: set[str] = set()
    measured = [batch for batch, _ in mine if not batch.guessed]  # of the others nobody knows how short they are
    for batch in sorted(measured, key=lambda batch: batch.work / batch.rows):
        if batch.work > room or batch.work / batch.rows > SHORTER * longest:
            break
        room -= batch.work
        kept.add(batch.id)
    return [one for one in mine if one[0].id not in kept] + [one for one in mine if one[0].id in kept] + leaving
