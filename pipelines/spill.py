"""What leaves for money now: to the cloud at the last responsible moment, to a provider's batch API before that, and back.

The tail leaves first: what costs least in the cloud for each local second that it saves. What the local lane takes is
pipelines/plan.py's matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from pipelines.capacity import (
    LONG,
    Load,
    Short,
    Ways,
    buy_s,
    cloud_rate,
    ends_late,
    has_home,
    in_time,
    is_astray,
    left_s,
    reserve_work,
    stock,
    too_late,
    ways,
)  # fmt: skip
from pipelines.fair import in_turn
from pipelines.snapshot import BatchTarget, BatchView, Move, Recall, Ring, RunView, Snapshot, TargetView

SPANS = 20
"""Over so many spans of full work the local lane must have been measured before anything is ordered."""
LEAST_CHANCE = 0.1
"""A provider batch that comes back in time more seldom is not worth its trouble."""
TOP_UPS = 12
"""A shortage is looked at anew this often in the time that a provider batch usually takes, or that is left."""
LEAST_LOT = 0.01
"""Of the work that is left: less is no order."""
WISER = 0.2
"""After this part of the time left one knows much better what will be short."""
MOST_SURE = 0.98
FEED_S = 30.0
"""The cloud's work is not allowed to run out for so long before what was recalled is there."""
RECALL_SHARE = 0.1
"""What has not come back in this last part of its time is taken back and bought in real time."""
Offer = tuple[RunView, BatchView, TargetView]


def to_cloud(
    snapshot: Snapshot, on: Mapping[str, Ways], loads: Mapping[str, Load], due: list[RunView],
    short: Mapping[str, Short], taken: set[str],
) -> Iterator[Move]:  # fmt: skip
    """What is bought in real time now, up to each target's stock; and what a batch API must give back to be bought so.

    Of what somebody waits for each client has its share, then comes what is at its last responsible moment, the earliest
    deadline first; then each client has its share of the rest, so that a deadline which leaves time earns nothing.
    """
    clouds = {t.name: t for t in snapshot.targets.values() if t.lane == "cloud" and t.up}
    room = {name: stock(target) - target.rung_rows for name, target in clouds.items()}
    before = {name: float(target.rung_rows) for name, target in clouds.items()}  # rows that are due there earlier
    waited, last, rest = list[Offer](), list[Offer](), list[Offer]()
    for run in due:
        if not run.may_buy:
            continue
        seconds = left_s(snapshot, run)
        leaving = _leaving(snapshot, on, loads[run.id], run, short[run.id].surely, taken)
        cloud = leaving.late[0][1] if leaving.late else _cloud_of_sent(on, run)
        now, pressing = leaving.now, _presses(run, loads[run.id], leaving.now, before, seconds)
        if cloud is not None and seconds < math.inf:
            before[cloud.name] += leaving.rows
            out = sum(batch.rows for batch in run.sent)
            needed_s = buy_s(cloud, before[cloud.name] + out) + (_slowest_s(snapshot, run) if out else 0.0)
            if leaving.late and seconds <= needed_s:
                now, pressing = now + leaving.late, True
            feed = _feed_rows(snapshot, run, cloud) - before[cloud.name] if seconds <= needed_s else 0.0
            yield from _recalls(snapshot, run, seconds, feed)
        (waited if run.waited_for else last if pressing else rest).extend((run, *each) for each in now)
    for run, batch, target in chain(_shared(snapshot, waited, room), last, _shared(snapshot, rest, room)):
        if room[target.name] > 0:
            room[target.name] -= batch.rows
            taken.add(batch.id)
            yield Ring(batch.id, run.id, "cloud", target.name)


def _presses(
    run: RunView, load: Load, now: list[tuple[BatchView, TargetView]], before: dict[str, float], seconds: float
) -> bool:
    """Whether what has no local lane has no time to lose; counts it in with what is due `before`, and what is not prepared yet of
    a run that has no local lane at all."""
    if seconds == math.inf:
        return False
    more = 1 + (0.0 if load.home else run.ahead / max(1e-9, sum(batch.work for batch, _ in now)))
    for batch, target in now:
        before[target.name] += more * batch.rows
    return any(
        seconds <= buy_s(target, before[target.name]) for target in {each.name: each for _, each in now}.values()
    )


def _shared(snapshot: Snapshot, offers: list[Offer], room: Mapping[str, float]) -> Iterator[Offer]:
    """In the order of clients' turns, as far as there is room when the turn comes."""
    of_client: dict[str, list[Offer]] = {}
    for offer in offers:
        of_client.setdefault(offer[0].client, []).append(offer)
    lines = {
        client: ((offer[1].work, offer) for offer in mine if room[offer[2].name] > 0)
        for client, mine in of_client.items()
    }
    return in_turn(lines, snapshot.bought, snapshot.weights, snapshot.ranks)


def buyers(snapshot: Snapshot) -> set[str]:
    """Clients who share the cloud now: somebody waits for their answers, or no local lane will give them."""
    on = ways(snapshot)
    mine = (run for run in snapshot.runs if run.may_buy and run.waiting)
    return {run.client for run in mine if run.waited_for or any(is_astray(run, batch, on) for batch in run.waiting)}


def _cloud_of_sent(on: Mapping[str, Ways], run: RunView) -> TargetView | None:
    found = (on[batch.route].cloud for batch in run.sent if batch.route in on)
    return next((cloud for cloud in found if cloud is not None), None)


def _recalls(snapshot: Snapshot, run: RunView, seconds: float, feed: float) -> Iterator[Recall]:
    """What has had its time; and, when real time must begin, so many rows as keep the cloud busy, the last that were ordered
    first: the others may still come back while it is at those."""
    for batch in sorted(run.sent, key=lambda sent: -sent.sent_ms):
        had_s = seconds + (snapshot.now_ms - batch.sent_ms) / 1000
        if seconds <= RECALL_SHARE * had_s or feed > 0:
            feed -= batch.rows
            yield Recall(batch.id, run.id)


def _slowest_s(snapshot: Snapshot, run: RunView) -> float:
    """How long it takes to be given any order of a run back."""
    offices = {batch.target for batch in run.sent} & snapshot.batch_targets.keys()
    return max((_back_s(snapshot.batch_targets[name]) for name in offices), default=0.0)


def _feed_rows(snapshot: Snapshot, run: RunView, cloud: TargetView) -> float:
    """Rows that keep a cloud target busy until more of what is out can be there."""
    return cloud_rate(cloud) * (_slowest_s(snapshot, run) + FEED_S)


class Leaving(NamedTuple):
    """Batches with their cloud targets: for now, and for the last responsible moment; rows that must go then at the most."""

    now: list[tuple[BatchView, TargetView]]
    late: list[tuple[BatchView, TargetView]]
    rows: float


def _leaving(
    snapshot: Snapshot, on: Mapping[str, Ways], load: Load, run: RunView, short: float, taken: set[str]
) -> Leaving:
    """What of this run belongs in the cloud, the tail first."""
    seconds, left = left_s(snapshot, run), short
    now: list[tuple[BatchView, TargetView]] = []
    late: list[tuple[BatchView, TargetView]] = []
    anywhere = run.waited_for or load.strays or any(_tight(t, load, seconds) for t in load.home.values())
    rows = _out_rows(on, run, load, short) if snapshot.batch_targets and load.strays else 0.0
    for batch in reversed(run.waiting):
        if left <= 0 and not anywhere:
            break  # what is short has left, and nothing else has to
        way = on.get(batch.route)
        if way is None or way.cloud is None or batch.id in taken or batch.lanes == "local" or batch.held:
            continue
        if is_astray(run, batch, on):
            if office_for(snapshot, run, batch, rows) is None:
                now.append((batch, way.cloud))
        elif run.waited_for:
            now.append((batch, way.cloud))
        elif left > 0 or (way.local is not None and too_late(way.local, batch, seconds, way.local.rung_work)):
            left -= batch.work
            late.append((batch, way.cloud))
    return Leaving(now, late, _rows(load, late, short, left))


def _rows(load: Load, late: list[tuple[BatchView, TargetView]], short: float, left: float) -> float:
    """What is not prepared yet must follow in the same time; and the last shortage may be of the shortest prompts, which are
    many."""
    rows = float(sum(batch.rows for batch, _ in late))
    if left > 0 and late:
        rows *= short / max(1e-9, short - left)
    reserve = min(max(0.0, short), max((reserve_work(t, load.most) for t in load.home.values()), default=0.0))
    return max(rows, reserve / load.least if load.least else 0.0)


def _tight(target: TargetView, load: Load, seconds: float) -> bool:
    """Whether some batch of the run may be too late for a local target."""
    by = LONG if load.guessed else 1.0
    return seconds < math.inf and ends_late(target, by * load.largest, by * load.most, seconds, target.rung_work)


def office_for(snapshot: Snapshot, run: RunView, batch: BatchView, rows: float) -> BatchTarget | None:
    """The batch API that a waiting batch may use: the first that is up and may well answer before it would be recalled, and so
    many `rows` bought instead."""
    can = run.may_buy and not (run.waited_for or batch.real_time or batch.held or batch.lanes == "local")
    if not can or not snapshot.batch_targets:
        return None
    left = left_s(snapshot, run)
    for name in snapshot.routes.get(batch.route, ()):
        target = snapshot.batch_targets.get(name)
        if (
            target is not None
            and target.up
            and target.price < 1
            and _chance(snapshot, target, left, rows) >= LEAST_CHANCE
        ):
            return target
    return None


def _chance(snapshot: Snapshot, target: BatchTarget, left: float, rows: float) -> float:
    """That what is ordered now comes back before it would have to be recalled and bought, with all that may be out then."""
    cloud = snapshot.targets.get(target.name)
    needed_s = _back_s(target) + (buy_s(cloud, rows) if cloud is not None else 0.0)
    return in_time(target, min((1 - RECALL_SHARE) * left, left - needed_s))


def _out_rows(on: Mapping[str, Ways], run: RunView, load: Load, short: float) -> float:
    """Rows of a run that the cloud would have to take if nothing came back: what is out, what has no local lane, and the tail as
    far as it is short."""
    rows, left = float(sum(batch.rows for batch in run.sent)), short
    for batch in reversed(run.waiting):
        if left <= 0 and not load.strays:
            break
        home = has_home(batch, on)
        if batch.lanes != "local" and (left > 0 or not home):
            rows += batch.rows
            left -= batch.work if home else 0.0
    return rows


def _back_s(target: BatchTarget) -> float:
    """How long it takes to be given an order back: no longer than it usually takes to be answered."""
    return min(target.cancel_s, target.latency_p50_s)


def to_offices(
    snapshot: Snapshot, on: Mapping[str, Ways], loads: Mapping[str, Load], due: list[RunView],
    short: Mapping[str, Short], taken: set[str],
) -> Iterator[Ring]:  # fmt: skip
    """What belongs to a provider's batch API now, the tail first: all that has no local lane, and of the rest what will
    likely be short."""
    room = {name: float(target.room_rows) for name, target in snapshot.batch_targets.items()}
    for run in due if room else ():
        measured = any(target.spans >= SPANS for target in loads[run.id].home.values())
        wanted = short[run.id].likely if measured else 0.0
        wanted = wanted if wanted >= LEAST_LOT * loads[run.id].work else 0.0
        if wanted <= 0 and not loads[run.id].strays:
            continue
        rows = _out_rows(on, run, loads[run.id], wanted)
        for batch in reversed(run.waiting):
            if wanted <= 0 and not loads[run.id].strays:
                break
            target = office_for(snapshot, run, batch, rows) if batch.id not in taken else None
            if target is None or room[target.name] < batch.rows:
                continue
            if not is_astray(run, batch, on):
                if wanted < batch.work or not _is_time(snapshot, run, target):
                    wanted = 0.0  # the tail leaves first, not what is small enough
                    continue
                wanted -= batch.work
            room[target.name] -= batch.rows
            taken.add(batch.id)
            yield Ring(batch.id, run.id, "provider_batch", target.name)


def sureness(snapshot: Snapshot, runs: Iterable[RunView]) -> dict[str, float]:
    """How sure of a shortage one must be to order for it now, by run; of those that may use a batch API until a deadline.

    A newsvendor who may wait: what is ordered costs `price` of real time, needed or not; what is not ordered now can be
    ordered when more is known, and loses no more than the chance to be back in time. Where that does not fall, nearly
    certain; where it falls to nothing, the `1 - price` quantile of the shortage.
    """
    found = {}
    for run in runs if snapshot.batch_targets else ():
        left = left_s(snapshot, run)
        names = {name for batch in run.waiting for name in snapshot.routes.get(batch.route, ())}
        offices = [snapshot.batch_targets[name] for name in names & snapshot.batch_targets.keys()]
        if offices and 0 < left < math.inf:
            found[run.id] = min(_sure(snapshot, office, left) for office in offices)
    return found


def _sure(snapshot: Snapshot, office: BatchTarget, left: float) -> float:
    chance, price = _chance(snapshot, office, left, 0.0), min(1.0, office.price)
    kept = _chance(snapshot, office, (1 - WISER) * left, 0.0) / chance if chance else 1.0
    return min(MOST_SURE, max(1 - MOST_SURE, price / max(1e-9, 1 - kept * (1 - price))))


def _is_time(snapshot: Snapshot, run: RunView, target: BatchTarget) -> bool:
    """Orders come in a few large lots: not again soon after the last."""
    last_ms = max((batch.sent_ms for batch in run.sent), default=-math.inf)
    return snapshot.now_ms - last_ms >= 1000 * min(target.latency_p50_s, left_s(snapshot, run)) / TOP_UPS
