"""What leaves for money now: to the cloud at the last responsible moment, what a provider's batch API has not answered included.

The tail leaves first: what costs least in the cloud for each local second that it saves. What the local lane takes is
pipelines/plan.py's matter, what a batch API is given pipelines/planning/offices.py's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain

from msgspec.structs import replace

from pipelines.planning.capacity import (
    EVEN,
    LONG,
    Ways,
    answers,
    buy_s,
    cloud_rate,
    ends_late,
    is_astray,
    later_rows,
    left_s,
    stock,
    too_late,
    ways,
)
from pipelines.planning.fair import in_turn
from pipelines.planning.offices import RECALL_SHARE, back_s, office_for, out_rows
from pipelines.planning.shortage import Load, Loads, Short
from pipelines.planning.snapshot import BatchView, Move, Recall, Ring, RunView, Snapshot, TargetView

FIRST_LOOK, CLIMB_LOOK = 0.1, 0.3
"""So long, as a share of the time left, a new run's first answers are waited for before what seems to be short is bought; and while
a climb goes on, which may well double what the lane does."""
FEED_S = 30.0
"""The cloud's work is not allowed to run out for so long before what was recalled is there."""
Offer = tuple[RunView, BatchView, TargetView]


def to_cloud(
    snapshot: Snapshot, on: Mapping[str, Ways], loads: Mapping[str, Loads], due: list[RunView],
    short: Mapping[str, Mapping[str, Short]], taken: set[str],
) -> Iterator[Move]:  # fmt: skip
    """What is bought in real time now, up to each target's stock; and what a batch API must give back to be bought so.

    Of what somebody waits for each client has its share, then comes what is at its last responsible moment, the earliest
    deadline first; then each client has its share of the rest, so that a deadline which leaves time earns nothing, nor one that
    cannot be kept. The last moment is each cloud's own: what one has time for another may not.
    """
    clouds = {t.name: t for t in snapshot.targets.values() if t.lane == "cloud" and t.up}
    room = {name: stock(target) - target.rung_rows for name, target in clouds.items()}
    before = {name: float(target.rung_rows) for name, target in clouds.items()}  # rows that are due there earlier
    gone = dict(before)  # what it was given, at the last responsible moment of what it could not be given later
    waited, last, rest = list[Offer](), list[Offer](), list[Offer]()
    for run in due:
        if not run.may_buy:
            continue
        seconds = left_s(snapshot, run)
        free = {name: cloud_rate(cloud) * seconds - before[name] for name, cloud in clouds.items()}
        leaving = _leaving(snapshot, on, loads[run.id], run, short[run.id], free, taken)
        now, over = leaving.now, leaving.over
        pressing = _presses(run, loads[run.id], [offer for offer in now if offer[1].name not in over], before, seconds)
        for late in leaving.late.values() if seconds < math.inf else ():
            cloud, rows = late.cloud, before[late.cloud.name] + late.rows
            can = cloud.name not in over and _can(cloud, rows, seconds)
            out = sum(batch.rows for batch in late.sent)
            buying_s = buy_s(cloud, rows + out)
            slowest_s = _slowest_s(snapshot, late.sent)
            recall_s = slowest_s + buy_s(cloud, out) if out else 0.0
            new = any(_is_new(snapshot, run, loads[run.id].lanes[lane], seconds) for lane in late.of_lane)
            # what the cloud can do now, it must be able to do after the look, too
            waits = new and (not can or _can(cloud, rows, seconds / (1 + CLIMB_LOOK) - cloud.latency_s))
            if late.batches and seconds <= buying_s and not waits:
                must = rows + out - later_rows(cloud, seconds) if cloud.rows_per_s else math.inf
                went = gone[cloud.name]
                for batch in late.batches:
                    if went >= must:
                        break
                    went += batch.rows
                    now.append((batch, cloud))
                gone[cloud.name] = went if can else gone[cloud.name]  # what cannot be kept comes before nobody
                pressing |= {cloud.name} if can else set()
            # rows that keep it busy until more of what is out can be there
            feed = cloud_rate(cloud) * (slowest_s + FEED_S) - rows if seconds <= max(buying_s, recall_s) else 0.0
            before[cloud.name] = rows if can else before[cloud.name]
            yield from _recalls(snapshot, run, late.sent, seconds, feed)
        for batch, target in now:
            (waited if run.waited_for else last if target.name in pressing else rest).append((run, batch, target))
    for run, batch, target in chain(_shared(snapshot, waited, room), last, _shared(snapshot, rest, room)):
        if room[target.name] > stock(clouds[target.name]) - stock(target):  # by the limit that it has for these
            room[target.name] -= batch.rows
            taken.add(batch.id)
            yield Ring(batch.id, run.id, "cloud", target.name)


def _is_new(snapshot: Snapshot, run: RunView, load: Load, seconds: float) -> bool:
    """Whether a run has just begun and what is short of it is hardly more than a guess: of lengths, or of a local lane's speed."""
    up = [target for target in load.home.values() if target.up]
    guessed = load.guessed > EVEN * load.work or not all(target.spans for target in up)
    look = CLIMB_LOOK if any(target.climbing for target in up) else FIRST_LOOK if guessed else 0.0
    return snapshot.now_ms - run.created_ms < 1000 * look * seconds


def _presses(
    run: RunView, load: Loads, now: list[tuple[BatchView, TargetView]], before: dict[str, float], seconds: float
) -> set[str]:
    """The clouds at which what has no local lane has no time to lose, and some to be done in; counts that in with what is due
    `before`, and what is not prepared yet of a run that has no local lane at all."""
    if seconds == math.inf:
        return set()
    more = 1 + (0.0 if load.lanes else run.ahead / max(1e-9, sum(batch.work for batch, _ in now)))
    presses = set[str]()
    for target in {each.name: each for _, each in now}.values():
        rows = before[target.name] + more * sum(batch.rows for batch, each in now if each.name == target.name)
        if _can(target, rows, seconds):
            before[target.name] = rows
            if seconds <= buy_s(target, rows):
                presses.add(target.name)
    return presses


def _can(cloud: TargetView, rows: float, seconds: float) -> bool:
    """Whether a cloud target may do so many rows until a deadline."""
    return rows <= cloud_rate(cloud) * seconds


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


def _recalls(snapshot: Snapshot, run: RunView, sent: list[BatchView], seconds: float, feed: float) -> Iterator[Recall]:
    """What has had its time; and, when real time must begin, so many rows as keep the cloud busy, the last that were ordered
    first: the others may still come back while it is at those."""
    for batch in sorted(sent, key=lambda sent: -sent.sent_ms):
        had_s = seconds + (snapshot.now_ms - batch.sent_ms) / 1000
        if seconds <= RECALL_SHARE * had_s or feed > 0:
            feed -= batch.rows
            yield Recall(batch.id, run.id)


def _slowest_s(snapshot: Snapshot, sent: list[BatchView]) -> float:
    """How long it takes to be given any of these back."""
    offices = {batch.target for batch in sent} & snapshot.batch_targets.keys()
    return max((back_s(snapshot.batch_targets[name]) for name in offices), default=0.0)


class Late:
    """Of a run and one cloud: the batches that leave at its last responsible moment, the tail first, the lanes that are short of
    them, and the rows that must go then; and what is with batch APIs and would be bought there."""

    def __init__(self, cloud: TargetView) -> None:
        self.cloud, self.batches, self.sent = cloud, list[BatchView](), list[BatchView]()
        self.of_lane = defaultdict[str, float](float)
        self.rows = 0.0


class Leaving:
    """What of a run belongs in the cloud: `now`, batches with their targets, and by cloud what leaves at its last moment; and the
    clouds that are too slow even together (`over`)."""

    def __init__(self, free: dict[str, float], seconds: float) -> None:
        """`free`: rows that each cloud can do beside others in the seconds until the deadline; what it is given here is its then."""
        self.now, self.late, self.over = list[tuple[BatchView, TargetView]](), dict[str, Late](), set[str]()
        self._free, self._seconds = free, seconds

    def of(self, cloud: TargetView) -> Late:
        return self.late.setdefault(cloud.name, Late(cloud))

    def cloud_for(self, way: Ways, first: TargetView, rows: float) -> TargetView:
        """The first cloud of a route that can do so many more rows in time; one of which nothing is known may. What none can is the
        first one's, and of several that cannot all are `over`."""
        for cloud in way.clouds:
            unknown = not cloud.rows_per_s and math.isinf(cloud.limit_rows_per_s)
            if (unknown or self._free[cloud.name] >= rows) and (cloud is first or answers(cloud, self._seconds)):
                self._free[cloud.name] -= rows
                return cloud
        self.over.update(cloud.name for cloud in way.clouds if len(way.clouds) > 1)
        return first


def _leaving(
    snapshot: Snapshot, on: Mapping[str, Ways], load: Loads, run: RunView, short: Mapping[str, Short],
    free: dict[str, float], taken: set[str],
) -> Leaving:  # fmt: skip
    """What of this run belongs in the cloud, the tail first, and that of the lane that is short of most."""
    seconds = left_s(snapshot, run)
    found, left = Leaving(free, seconds), {lane: each.surely for lane, each in short.items()}
    _add_sent(found, on, run)
    # for each row that leaves, so many more must follow in the same time that are not prepared yet
    more = {lane: max(1.0, short[lane].surely / max(1e-9, each.waits)) for lane, each in load.lanes.items()}
    alone = 1.0 if load.lanes else 1 + run.ahead / max(1e-9, sum(batch.work for batch in run.waiting))
    anywhere = run.waited_for or load.strays or any(_is_tight(each, seconds) for each in load.lanes.values())
    out = out_rows(on, run, load.strays, left) if snapshot.batch_targets and load.strays else {}
    for batch, way, first in _able(on, run, taken):
        if not anywhere and max(left.values(), default=0.0) <= 0:
            break  # what is short has left, and nothing else has to
        if is_astray(run, batch, on):
            if office_for(snapshot, on, run, batch, out) is None:
                found.now.append((batch, found.cloud_for(way, first, alone * batch.rows)))
        elif run.waited_for:
            found.now.append((batch, first))
        elif _is_short(way, first, batch, left, seconds):
            left[way.lane] -= batch.work
            mine = found.of(found.cloud_for(way, first, more[way.lane] * batch.rows))
            mine.batches.append(batch)
            mine.of_lane[way.lane] += batch.rows
    _add_up(found, on, load, short, left)
    return found


def _add_sent(found: Leaving, on: Mapping[str, Ways], run: RunView) -> None:
    """What is with batch APIs would be bought at the first cloud of its route."""
    for batch in run.sent:
        if batch.route in on and (cloud := on[batch.route].cloud) is not None:
            found.of(cloud).sent.append(batch)


def _able(on: Mapping[str, Ways], run: RunView, taken: set[str]) -> Iterator[tuple[BatchView, Ways, TargetView]]:
    """What waits and may leave, the tail first, with the first cloud of its route that is up."""
    for batch in reversed(run.waiting):
        way = on.get(batch.route)
        free = batch.id not in taken and batch.lanes != "local" and not batch.held
        if free and way is not None and way.cloud is not None:
            yield batch, way, way.cloud


def _is_short(way: Ways, first: TargetView, batch: BatchView, left: Mapping[str, float], seconds: float) -> bool:
    """Whether its local lane is short of it, or has no time for it. Not where the cloud's answer would be paid and late: here it may
    still be in time."""
    if way.local is not None and not answers(first, seconds):
        return False
    return left[way.lane] > 0 or (way.local is not None and too_late(way.local, batch, seconds, way.local.rung_work))


def _add_up(
    found: Leaving, on: Mapping[str, Ways], load: Loads, short: Mapping[str, Short], left: Mapping[str, float]
) -> None:
    """Puts what leaves at each cloud's last moment in order, with the rows that it comes to where work that is short is `left`
    behind; and gives all clouds the limits that they have for what they are given."""
    surest = {lane: -each.surely / max(1e-9, load.lanes[lane].work) for lane, each in short.items()}
    for mine in found.late.values():  # what is not prepared yet must follow in the same time
        mine.batches.sort(key=lambda batch: surest[on[batch.route].lane])
        mine.rows = sum(rows * _follows(short[lane].surely, left[lane]) for lane, rows in mine.of_lane.items())
        mine.cloud = _limited(on, mine.cloud, mine.batches)
    limits = {
        name: _limited(on, cloud, [batch for batch, each in found.now if each.name == name])
        for name, cloud in {cloud.name: cloud for _, cloud in found.now}.items()
    }
    found.now = [(batch, limits[cloud.name]) for batch, cloud in found.now]


def _limited(on: Mapping[str, Ways], cloud: TargetView, batches: list[BatchView]) -> TargetView:
    """A target with the limit that it has for these batches: of long prompts its tokens a minute are fewer rows than of the mean
    of what waits. That is known of a route's first cloud alone."""
    seconds = sum(batch.cloud_s for batch in batches)
    firsts = {first.name for batch in batches if (first := on[batch.route].cloud) is not None}
    if not seconds or firsts != {cloud.name}:
        return cloud
    rows = sum(batch.rows for batch in batches)
    return replace(cloud, limit_rows_per_s=min(cloud.calls_per_s, rows / seconds))


def _follows(short: float, left: float) -> float:
    """Rows that must leave for each that does, where work that is short is left behind."""
    return short / max(1e-9, short - left) if left > 0 else 1.0


def _is_tight(load: Load, seconds: float) -> bool:
    """Whether some batch of the run may be too late for a lane's targets."""
    by = LONG if load.guessed else 1.0
    return seconds < math.inf and any(
        ends_late(target, by * load.largest, by * load.most, seconds, target.rung_work) for target in load.home.values()
    )
