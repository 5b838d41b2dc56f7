"""What leaves for money now: to the cloud at the last responsible moment, what a provider's batch API has not answered included.

The tail leaves first: what costs least in the cloud for each local second that it saves. What the local lane takes is
pipelines/plan.py's matter, what a batch API is given pipelines/offices.py's.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import NamedTuple

from msgspec.structs import replace

from pipelines.capacity import (
    EVEN,
    LONG,
    Load,
    Short,
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
from pipelines.fair import in_turn
from pipelines.offices import RECALL_SHARE, back_s, office_for, out_rows
from pipelines.snapshot import BatchView, Move, Recall, Ring, RunView, Snapshot, TargetView

FIRST_LOOK, CLIMB_LOOK = 0.1, 0.3
"""So long, as a share of the time left, a new run's first answers are waited for before what seems to be short is bought; and while
a climb goes on, which may well double what the lane does."""
FEED_S = 30.0
"""The cloud's work is not allowed to run out for so long before what was recalled is there."""
Offer = tuple[RunView, BatchView, TargetView]


def to_cloud(
    snapshot: Snapshot, on: Mapping[str, Ways], loads: Mapping[str, Load], due: list[RunView],
    short: Mapping[str, Short], taken: set[str],
) -> Iterator[Move]:  # fmt: skip
    """What is bought in real time now, up to each target's stock; and what a batch API must give back to be bought so.

    Of what somebody waits for each client has its share, then comes what is at its last responsible moment, the earliest
    deadline first; then each client has its share of the rest, so that a deadline which leaves time earns nothing, nor one that
    cannot be kept.
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
        leaving = _leaving(snapshot, on, loads[run.id], run, short[run.id].surely, taken)
        cloud = leaving.late[0][1] if leaving.late else _cloud_of_sent(on, run)
        now, pressing = leaving.now, _presses(run, loads[run.id], leaving.now, before, seconds)
        if cloud is not None and seconds < math.inf:
            rows = before[cloud.name] + leaving.rows
            can = _can(cloud, rows, seconds)
            out = sum(batch.rows for batch in run.sent)
            buying_s = buy_s(cloud, rows + out)
            recall_s = _slowest_s(snapshot, run) + buy_s(cloud, out) if out else 0.0
            new = _is_new(snapshot, run, loads[run.id], seconds)
            # what the cloud can do now, it must be able to do after the look, too
            waits = new and (not can or _can(cloud, rows, seconds / (1 + CLIMB_LOOK) - cloud.latency_s))
            if leaving.late and seconds <= buying_s and not waits:
                must = rows + out - later_rows(cloud, seconds) if cloud.rows_per_s else math.inf
                went = gone[cloud.name]
                for offer in leaving.late:
                    if went >= must:
                        break
                    went += offer[0].rows
                    now.append(offer)
                gone[cloud.name] = went if can else gone[cloud.name]  # what cannot be kept comes before nobody
                pressing = pressing or can
            feed = _feed_rows(snapshot, run, cloud) - rows if seconds <= max(buying_s, recall_s) else 0.0
            before[cloud.name] = rows if can else before[cloud.name]
            yield from _recalls(snapshot, run, seconds, feed)
        (waited if run.waited_for else last if pressing else rest).extend((run, *each) for each in now)
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
    run: RunView, load: Load, now: list[tuple[BatchView, TargetView]], before: dict[str, float], seconds: float
) -> bool:
    """Whether what has no local lane has no time to lose, and some to be done in; counts that in with what is due `before`, and
    what is not prepared yet of a run that has no local lane at all."""
    if seconds == math.inf:
        return False
    more = 1 + (0.0 if load.home else run.ahead / max(1e-9, sum(batch.work for batch, _ in now)))
    presses = False
    for target in {each.name: each for _, each in now}.values():
        rows = before[target.name] + more * sum(batch.rows for batch, each in now if each.name == target.name)
        if _can(target, rows, seconds):
            before[target.name] = rows
            presses = presses or seconds <= buy_s(target, rows)
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
    return max((back_s(snapshot.batch_targets[name]) for name in offices), default=0.0)


def _feed_rows(snapshot: Snapshot, run: RunView, cloud: TargetView) -> float:
    """Rows that keep a cloud target busy until more of what is out can be there."""
    return cloud_rate(cloud) * (_slowest_s(snapshot, run) + FEED_S)


class Leaving(NamedTuple):
    """Batches with their cloud targets: for now, and for the last responsible moment; rows that must go then."""

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
    rows = out_rows(on, run, load, short) if snapshot.batch_targets and load.strays else 0.0
    for batch in reversed(run.waiting):
        if left <= 0 and not anywhere:
            break  # what is short has left, and nothing else has to
        way = on.get(batch.route)
        if way is None or way.cloud is None or batch.id in taken or batch.lanes == "local" or batch.held:
            continue
        if is_astray(run, batch, on):
            if office_for(snapshot, on, run, batch, rows) is None:
                now.append((batch, way.cloud))
        elif run.waited_for:
            now.append((batch, way.cloud))
        elif way.local is not None and not answers(way.cloud, seconds):
            continue  # it would be paid and late; here it may still be in time
        elif left > 0 or (way.local is not None and too_late(way.local, batch, seconds, way.local.rung_work)):
            left -= batch.work
            late.append((batch, way.cloud))
    rows = float(sum(batch.rows for batch, _ in late))
    if left > 0 and late:  # what is not prepared yet must follow in the same time
        rows *= short / max(1e-9, short - left)
    return Leaving(_limited(now), _limited(late), rows)


def _limited(offers: list[tuple[BatchView, TargetView]]) -> list[tuple[BatchView, TargetView]]:
    """Each target with the limit that it has for these batches: of long prompts its tokens a minute are fewer rows than of the
    mean of what waits."""
    rows, seconds = Counter[str](), defaultdict[str, float](float)
    for batch, cloud in offers:
        rows[cloud.name] += batch.rows
        seconds[cloud.name] += batch.cloud_s
    limited = {
        name: replace(cloud, limit_rows_per_s=min(cloud.calls_per_s, rows[name] / seconds[name]))
        for name, cloud in {cloud.name: cloud for _, cloud in offers}.items()
        if seconds[name]
    }
    return [(batch, limited.get(cloud.name, cloud)) for batch, cloud in offers]


def _tight(target: TargetView, load: Load, seconds: float) -> bool:
    """Whether some batch of the run may be too late for a local target."""
    by = LONG if load.guessed else 1.0
    return seconds < math.inf and ends_late(target, by * load.largest, by * load.most, seconds, target.rung_work)
