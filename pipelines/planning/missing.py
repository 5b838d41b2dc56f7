"""What an open run lacks, seen as plan() sees it: the run's own part of the lanes, as they are now; no policy.

Said only where it is known: the local lane was measured, and the cloud is slower than its limits or its slots admit.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

from pipelines.planning.capacity import Ways, has_home, left_s, ways
from pipelines.planning.foresee import Lack, Part, Work, lacking
from pipelines.planning.shortage import Loads, Short, load, shortages
from pipelines.planning.snapshot import BatchView, RunView, Snapshot, TargetView

LEAST_LATE = 0.05
"""Of the time left; the last calls of a run that is in time look late by less."""
LEAST_RATE = 1e-9
"""Work per second of a lane that does nothing."""


def missing(snapshot: Snapshot, price_pusd: Callable[[str], float], room_pusd: Mapping[str, float]) -> dict[str, Lack]:
    """By run, where something is. `price_pusd`: of a waiting batch in the cloud; `room_pusd`: what is left of the budget that
    refuses a run's calls."""
    on, due = ways(snapshot), sorted(snapshot.runs, key=lambda run: run.deadline_ms or math.inf)
    loads = {run.id: load(snapshot, on, run) for run in due}
    short = shortages(snapshot, loads, due, {})
    found = {run.id: _of_run(snapshot, on, run, loads[run.id], short[run.id], price_pusd, room_pusd) for run in due}
    return {run: lack for run, lack in found.items() if lack is not None}


def _of_run(
    snapshot: Snapshot, on: Mapping[str, Ways], run: RunView, loads: Loads, short: Mapping[str, Short],
    price_pusd: Callable[[str], float], room_pusd: Mapping[str, float],
) -> Lack | None:  # fmt: skip
    left = left_s(snapshot, run)
    unsure = any(not home.spans for asked in loads.lanes.values() for home in asked.home.values())
    if not run.waiting or run.waited_for or left <= 0 or unsure:
        return None
    deadline_s = None if math.isinf(left) else left
    rates = {
        lane: 1.0 if deadline_s is None else max(LEAST_RATE, (asked.work - short[lane].likely) / left)
        for lane, asked in loads.lanes.items()
    }
    parts = [_part(snapshot, on, run, batch, rates, price_pusd(batch.id)) for batch in run.waiting]
    work = Work([*parts, *_ahead(run, loads, parts, rates)])
    lack = lacking(work, deadline_s, room_pusd.get(run.id))
    late = lack is not None and lack.seconds is not None and lack.seconds > LEAST_LATE * left
    return lack if lack is not None and (late or lack.pusd is not None) else None


def _part(
    snapshot: Snapshot, on: Mapping[str, Ways], run: RunView, batch: BatchView, rates: Mapping[str, float], pusd: float
) -> Part:
    lane = on[batch.route].lane if has_home(batch, on) else ""
    home_s = batch.work / rates[lane] if lane and rates[lane] > LEAST_RATE else math.inf
    cloud, away_s = _away(snapshot, batch)
    away_s = math.inf if batch.lanes == "local" else away_s
    return Part(batch.route, home_s, away_s, away_pusd=(pusd, 0.0), home=lane, away=cloud)


def _ahead(run: RunView, loads: Loads, parts: list[Part], rates: Mapping[str, float]) -> Iterator[Part]:
    """What is rung or not prepared yet, as if it were like the rest of its lane, cloud by cloud."""
    more = {lane: asked.work for lane, asked in loads.lanes.items()} or {"": run.ahead}
    able = defaultdict[str, dict[str, list[tuple[float, Part]]]](dict)
    for part, batch in zip(parts, run.waiting, strict=True):
        if part.home:
            more[part.home] -= batch.work
        if math.isfinite(part.away_s):
            able[part.home].setdefault(part.away, []).append((batch.work, part))
    for lane, work in more.items():
        home_s = work / rates[lane] if rates.get(lane, 0.0) > LEAST_RATE else math.inf
        whole = sum(each for mine in able[lane].values() for each, _ in mine)
        if work > 0 and not whole and home_s < math.inf:
            yield Part("", home_s, home=lane)
        for cloud, mine in able[lane].items() if work > 0 else ():
            share, like = sum(each for each, _ in mine) / whole, work / whole
            away_s, pusd = sum(part.away_s for _, part in mine), sum(part.away_pusd[0] for _, part in mine)
            yield Part("", share * home_s, like * away_s, away_pusd=(like * pusd, 0.0), home=lane, away=cloud)


def _away(snapshot: Snapshot, batch: BatchView) -> tuple[str, float]:
    """The cloud of a batch and its seconds there, with those behind it, which take what it cannot do; one that is down for the moment
    is counted on."""
    targets = (snapshot.targets[name] for name in snapshot.routes.get(batch.route, ()) if name in snapshot.targets)
    clouds = [target for target in targets if target.lane == "cloud" and target.slots > 0]
    return (clouds[0].name, batch.rows / sum(map(_most, clouds))) if clouds else ("", math.inf)


def _most(cloud: TargetView) -> float:
    """Rows a second that a cloud target may answer at most: what is seen with few calls in flight says less than that."""
    return min(cloud.limit_rows_per_s, cloud.slots / max(cloud.latency_s, 0.05) if cloud.rows_per_s else math.inf)
