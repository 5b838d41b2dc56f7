"""What an open run lacks, seen as plan() sees it: the run's own part of the lanes, as they are now; no policy.

Said only where it is known: the local lane was measured, and the cloud is slower than its limits or its slots admit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from pipelines.capacity import Load, Short, Ways, has_home, left_s, load, shortages, ways
from pipelines.foresee import Lack, Part, Work, lacking
from pipelines.snapshot import BatchView, RunView, Snapshot, TargetView

LEAST_LATE = 0.05
"""Of the time left; the last calls of a run that is in time look late by less."""
LEAST_RATE = 1e-9
"""Work per second of a lane that does nothing."""


def missing(snapshot: Snapshot, price_pusd: Callable[[str], float], room_pusd: Mapping[str, float]) -> dict[str, Lack]:
    """By run, where something is. `price_pusd`: of a waiting batch in the cloud; `room_pusd`: what is left of the budget that
    refuses a run's calls."""
    on, due = ways(snapshot), sorted(snapshot.runs, key=lambda run: run.deadline_ms or math.inf)
    loads = {run.id: load(run, on) for run in due}
    short = shortages(snapshot, loads, due, {})
    found = {run.id: _of_run(snapshot, on, run, loads[run.id], short[run.id], price_pusd, room_pusd) for run in due}
    return {run: lack for run, lack in found.items() if lack is not None}


def _of_run(
    snapshot: Snapshot, on: Mapping[str, Ways], run: RunView, load: Load, short: Short,
    price_pusd: Callable[[str], float], room_pusd: Mapping[str, float],
) -> Lack | None:  # fmt: skip
    left = left_s(snapshot, run)
    if not run.waiting or run.waited_for or left <= 0 or any(not home.spans for home in load.home.values()):
        return None
    deadline_s = None if math.isinf(left) else left
    rate = 1.0 if deadline_s is None else (load.work - short.likely) / left
    rate = rate if rate > LEAST_RATE else 0.0
    parts = [
        Part(
            batch.route,
            batch.work / rate if rate and has_home(batch, on) else math.inf,
            math.inf if batch.lanes == "local" else _away_s(snapshot, batch),
            away_pusd=(price_pusd(batch.id), 0.0),
        )
        for batch in run.waiting
    ]
    work = Work([*parts, *_ahead(run, parts, rate if load.home else 0.0)])
    lack = lacking(work, deadline_s, room_pusd.get(run.id))
    late = lack is not None and lack.seconds is not None and lack.seconds > LEAST_LATE * left
    return lack if lack is not None and (late or lack.pusd is not None) else None


def _ahead(run: RunView, parts: list[Part], rate: float) -> list[Part]:
    """What is rung or not prepared yet, as if it were like the rest."""
    able = [(part, batch.work) for part, batch in zip(parts, run.waiting, strict=True) if math.isfinite(part.away_s)]
    work = sum(work for _, work in able)
    if run.ahead <= 0 or not (work or rate):
        return []
    share = run.ahead / work if work else 0.0
    away_s = share * sum(part.away_s for part, _ in able) if work else math.inf
    pusd = share * sum(part.away_pusd[0] for part, _ in able)
    return [Part("", run.ahead / rate if rate else math.inf, away_s, away_pusd=(pusd, 0.0))]


def _away_s(snapshot: Snapshot, batch: BatchView) -> float:
    """A cloud that is down for the moment is counted on."""
    targets = (snapshot.targets[name] for name in snapshot.routes.get(batch.route, ()) if name in snapshot.targets)
    cloud = next((target for target in targets if target.lane == "cloud" and target.slots > 0), None)
    return math.inf if cloud is None else batch.rows / _most(cloud)


def _most(cloud: TargetView) -> float:
    """Rows a second that a cloud target may answer at most: what is seen with few calls in flight says less than that."""
    return min(cloud.limit_rows_per_s, cloud.slots / max(cloud.latency_s, 0.05) if cloud.rows_per_s else math.inf)
