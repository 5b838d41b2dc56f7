"""What goes to which provider's batch API: what has no local lane, and what will likely be short, if there is time.

The tail leaves first. Buying in real time, and taking back what must be bought so, is pipelines/planning/spill.py's matter.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from pipelines.planning.capacity import Ways, buy_s, first_in_time, has_home, in_time, left_s, local_rate
from pipelines.planning.shortage import Load, Loads, Short
from pipelines.planning.snapshot import BatchTarget, BatchView, Move, Recall, Ring, RunView, Snapshot

SPANS = 1
"""Over so many spans of full work the local lane must have been measured before anything is ordered."""
LEAST_CHANCE = 0.1
"""A provider batch that comes back in time more seldom is not worth its trouble."""
TRIAL_ROWS, TRIAL_SURE, TRIAL_AGAIN_S = 8, 0.8, 40.0
"""So many rows tell how fast a batch API is from which nobody has heard and which is usually too slow; and that they are short is
as sure as that. As many more after a while, for the first may be stuck."""
FEW = 0.1
"""Of the rows that may have to be bought: one batch of so many is bought at once, to see how fast that goes."""
TOP_UPS = 12
"""A shortage is looked at anew this often in the time that a provider batch usually takes, or that is left."""
LEAST_TOP_UP_S = 5.0
LEAST_LOT = 0.01
"""Of the work that is left: less is no order."""
WISER = 0.2
"""After this part of the time left one knows much better what will be short."""
MOST_SURE = 0.98
RECALL_SHARE = 0.1
"""What has not come back in this last part of its time is taken back and bought in real time."""


def office_for(
    snapshot: Snapshot, on: Mapping[str, Ways], run: RunView, batch: BatchView, rows: Mapping[str, float]
) -> BatchTarget | None:
    """The batch API that a waiting batch may use, if it is up and may well answer before it would be recalled, and so many `rows`
    (by API) bought instead."""
    can = run.may_buy and not (run.waited_for or batch.real_time or batch.held or batch.lanes == "local")
    target = snapshot.batch_targets.get(on[batch.route].office) if can and batch.route in on else None
    if target is None or not target.up or target.price >= 1:
        return None
    return (
        target if _chance(snapshot, target, left_s(snapshot, run), rows.get(target.name, 0.0)) >= LEAST_CHANCE else None
    )


def _chance(snapshot: Snapshot, target: BatchTarget, left: float, rows: float) -> float:
    """That what is ordered now comes back before it would have to be recalled and bought, with all that may be out then; of an API
    that must be tried first, that the few come back with which it is tried."""
    cloud = snapshot.targets.get(target.name)
    buying_s = buy_s(cloud, rows) if cloud is not None else 0.0
    chance = in_time(target, min((1 - RECALL_SHARE) * left, left - buying_s - back_s(target)))
    if target.heard or chance >= LEAST_CHANCE:
        return chance
    few_s = back_s(target) + (buy_s(cloud, TRIAL_ROWS) if cloud is not None else 0.0)
    return first_in_time(target, min((1 - RECALL_SHARE) * left, left - max(buying_s, few_s)))


def _is_trial(snapshot: Snapshot, target: BatchTarget, left: float, rows: float) -> bool:
    """Whether it must be tried first: nobody has heard from it, and such APIs usually take too long."""
    known = msgspec.structs.replace(target, heard=True)
    return not target.heard and _chance(snapshot, known, left, rows) < LEAST_CHANCE


def out_rows(on: Mapping[str, Ways], run: RunView, strays: bool, short: Mapping[str, float]) -> defaultdict[str, float]:
    """Rows of a run that each cloud would have to take if nothing came back, by the batch API before it: what is out, what has no
    local lane, and the tail as far as its lane is short."""
    rows, left = defaultdict[str, float](float), dict(short)
    for batch in run.sent:
        rows[batch.target] += batch.rows
    for batch in reversed(run.waiting):
        if not strays and max(left.values(), default=0.0) <= 0:
            break
        home = has_home(batch, on)
        if batch.lanes != "local" and (not home or left[on[batch.route].lane] > 0):
            rows[on[batch.route].office if batch.route in on else ""] += batch.rows
            if home:
                left[on[batch.route].lane] -= batch.work
    return rows


def back_s(target: BatchTarget) -> float:
    """How long it takes to be given an order back: no longer than it usually takes to be answered."""
    return min(target.cancel_s, target.latency_p50_s)


def to_offices(
    snapshot: Snapshot, on: Mapping[str, Ways], loads: Mapping[str, Loads], due: list[RunView],
    short: Mapping[str, Mapping[str, Short]], taken: set[str],
) -> Iterator[Move]:  # fmt: skip
    """What belongs to a provider's batch API now, the tail first: all that has no local lane, and of the rest what will likely be
    short, or, where there is no deadline, what a lane that is away would have done meanwhile. Before the first goes to an API one is
    bought, where nobody knows how fast the cloud is that must buy what does not come back. And what is wanted back, for it costs
    nothing at home."""
    yield from _needless(on, due)
    there, trying, asked = _there(due), Counter[str](), set[str]()
    missed, tried = _missed(snapshot, on, due), _tried(snapshot, due)
    for run in due if snapshot.batch_targets else ():
        lanes, strays = loads[run.id]
        wanted = {lane: _wanted(asked, short[run.id][lane].likely) for lane, asked in lanes.items()}
        rows, left = out_rows(on, run, strays, wanted), left_s(snapshot, run)
        trials = {
            name for name, office in snapshot.batch_targets.items() if _is_trial(snapshot, office, left, rows[name])
        }
        for batch in reversed(run.waiting):
            if not strays and max(wanted.values(), default=0.0) <= 0:
                break
            target = office_for(snapshot, on, run, batch, rows) if batch.id not in taken else None
            if target is None or not _has_room(target.room_rows, there[target.name, run.client], batch):
                continue
            if target.name in trials and (
                target.name in tried or not _has_room(TRIAL_ROWS, trying[target.name], batch)
            ):
                continue
            if has_home(batch, on) and run.deadline_ms is None:
                home = on[batch.route].home[0]
                if on[batch.route].local is not None or not _is_time(snapshot, run, target, home.down_s):
                    continue
                if missed[home.name, run.client] < batch.work:
                    missed[home.name, run.client] = 0.0
                    continue
                missed[home.name, run.client] -= batch.work
            elif has_home(batch, on):
                lane = on[batch.route].lane
                if wanted[lane] < batch.work or not _is_time(snapshot, run, target):
                    wanted[lane] = 0.0  # the tail leaves first, not what is small enough
                    continue
                wanted[lane] -= batch.work
            few = batch.rows <= FEW * rows[target.name]
            if few and target.name not in asked and _is_unknown(snapshot, target, left, rows[target.name]):
                asked.add(target.name)
                taken.add(batch.id)
                yield Ring(batch.id, run.id, "cloud", target.name)
                continue
            there[target.name, run.client] += batch.rows
            trying[target.name] += batch.rows
            taken.add(batch.id)
            yield Ring(batch.id, run.id, "provider_batch", target.name)


def _is_unknown(snapshot: Snapshot, office: BatchTarget, left: float, rows: float) -> bool:
    """Whether nobody has asked a cloud yet that may have to buy so many rows, and taken for a slow one it would need more than the
    last part of the time for it: orders would be called back for that."""
    cloud = snapshot.targets.get(office.name)
    if cloud is None or not cloud.up or cloud.rows_per_s or cloud.rung_rows:
        return False
    return buy_s(cloud, rows) > RECALL_SHARE * left


def _there(runs: Iterable[RunView]) -> Counter[tuple[str, str]]:
    """Rows of each client that are with each batch API, or on their way: who has its fill leaves others their turn."""
    out = Counter[tuple[str, str]]()
    for run in runs:
        for batch in run.sent:
            out[batch.target, run.client] += batch.rows
    return out


def _has_room(most_rows: int, rows: int, batch: BatchView) -> bool:
    """Whether a batch may go where so many rows are; where none is, it may be larger than what is taken."""
    return rows + batch.rows <= most_rows or (not rows and most_rows > 0)


def sureness(snapshot: Snapshot, on: Mapping[str, Ways], runs: Iterable[RunView]) -> dict[str, float]:
    """How sure of a shortage one must be to order for it now, by run; of those that may use a batch API until a deadline.

    A newsvendor who may wait: what is ordered costs `price` of real time, needed or not; what is not ordered now can be
    ordered when more is known, and loses no more than the chance to be back in time. Where that does not fall, nearly
    certain; where it falls to nothing, the `1 - price` quantile of the shortage.
    """
    found = {}
    for run in runs if snapshot.batch_targets else ():
        left = left_s(snapshot, run)
        names = {on[batch.route].office for batch in run.waiting if batch.route in on}
        offices = [snapshot.batch_targets[name] for name in names & snapshot.batch_targets.keys()]
        if offices and 0 < left < math.inf:
            found[run.id] = min(_sure(snapshot, office, left) for office in offices)
    return found


def _sure(snapshot: Snapshot, office: BatchTarget, left: float) -> float:
    if _is_trial(snapshot, office, left, 0.0):
        return TRIAL_SURE
    chance, price = _chance(snapshot, office, left, 0.0), min(1.0, office.price)
    kept = _chance(snapshot, office, (1 - WISER) * left, 0.0) / chance if chance else 1.0
    return min(MOST_SURE, max(1 - MOST_SURE, price / max(1e-9, 1 - kept * (1 - price))))


def _tried(snapshot: Snapshot, runs: Iterable[RunView]) -> set[str]:
    """To which something was sent a moment ago."""
    since_ms = snapshot.now_ms - 1000 * TRIAL_AGAIN_S
    return {batch.target for run in runs for batch in run.sent if batch.sent_ms > since_ms}


def _wanted(load: Load, likely: float) -> float:
    """Work of a run that is ordered because a lane will likely be short of it; nothing before that was measured, nor for little."""
    measured = any(target.spans >= SPANS for target in load.home.values())
    return likely if measured and likely >= LEAST_LOT * load.work else 0.0


def _needless(on: Mapping[str, Ways], runs: Iterable[RunView]) -> Iterator[Recall]:
    """What an API was given because a local lane was away, of runs that have time for it, once that is back and has stayed for a
    while: of what is taken back only what was finished is paid."""
    for run in runs:
        for batch in run.sent if run.deadline_ms is None else ():
            home = on[batch.route].local if batch.route in on and batch.lanes == "any" else None
            if home is not None and home.steady:
                yield Recall(batch.id, run.id)


def _missed(snapshot: Snapshot, on: Mapping[str, Ways], runs: Iterable[RunView]) -> defaultdict[tuple[str, str], float]:
    """Work that each local target would have done since it went away, shared among the clients whose runs have no deadline, less what
    batch APIs were given of it."""
    patient = [run for run in runs if run.deadline_ms is None]
    weights = {run.client: snapshot.weights.get(run.client, 1.0) for run in patient if run.waiting}
    whole = sum(weights.values())
    out = defaultdict[tuple[str, str], float](float)
    for run in patient:
        for batch in run.sent:
            if has_home(batch, on):
                out[on[batch.route].home[0].name, run.client] += batch.work
    missed = defaultdict[tuple[str, str], float](float)
    for target in snapshot.targets.values():
        if target.lane == "local" and not target.up and target.down_s < math.inf:
            for client, weight in weights.items():
                key = target.name, client
                given = max(out[key], snapshot.ordered.get(key, 0.0))
                missed[key] = weight / whole * local_rate(target) * target.down_s - given
    return missed


def _is_time(snapshot: Snapshot, run: RunView, target: BatchTarget, away_s: float = math.inf) -> bool:
    """Orders come in a few large lots: not again soon after the last, nor as soon as a lane is away."""
    last_ms = max((batch.sent_ms for batch in run.sent), default=-math.inf)
    wait_s = max(LEAST_TOP_UP_S, min(target.latency_p50_s, left_s(snapshot, run)) / TOP_UPS)
    return min(away_s, (snapshot.now_ms - last_ms) / 1000) >= wait_s
