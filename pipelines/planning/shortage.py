"""What each local lane will not do of a run in time: what the run asks of it, less its client's share of what the lane can do.

A lane is one local target, for servers of different routes do nothing for each other (`Ways.lane`). No decisions here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import NamedTuple

from pipelines.planning.capacity import EVEN, Ways, call_s, half_done, has_home, left_s, local_rate, usable_s
from pipelines.planning.fair import NORMAL, Claim, Vessels
from pipelines.planning.snapshot import BatchView, RunView, Snapshot, TargetView

SPREAD, UNSURE = 0.03, 0.25
"""How far what a local lane does may be from what is foreseen of it, one standard deviation as a share of it: measured over
many spans, and how much more by the root of their number."""
GUESS_SPREAD = 0.3
"""How far work whose lengths were guessed may be from that, likewise."""


class Short(NamedTuple):
    """Work of a run that a local lane will not do in time: by a cautious reckoning, and what one can be as sure of as was
    asked; below 0: to spare."""

    surely: float
    likely: float


class Load(NamedTuple):
    """What a run asks of one local lane: work rung there, not prepared yet or waiting; the lane's targets by name; the least and
    the most work of a waiting prompt, and the most of a batch. `waits` of the work waits, and `guessed` of that was guessed."""

    work: float
    home: dict[str, TargetView]
    least: float = 0.0
    most: float = 0.0
    largest: float = 0.0
    guessed: float = 0.0
    waits: float = 0.0


class Loads(NamedTuple):
    """What a run asks of each local lane, by lane. `strays`: some batch has none now."""

    lanes: dict[str, Load]
    strays: bool


def load(snapshot: Snapshot, on: Mapping[str, Ways], run: RunView) -> Loads:
    """What is not prepared yet is taken to be like what waits."""
    waiting: dict[str, list[BatchView]] = {}
    strays = False
    for batch in run.waiting:
        if has_home(batch, on):
            waiting.setdefault(on[batch.route].lane, []).append(batch)
        else:
            strays = True
    work = {lane: sum(batch.work for batch in mine) for lane, mine in waiting.items()}
    more = 1 + max(0.0, run.ahead - sum(run.rung.values())) / max(1e-9, sum(work.values()))
    lanes = {lane: _load(on, mine, more * work[lane] + run.rung.get(lane, 0.0)) for lane, mine in waiting.items()}
    for name in run.rung.keys() & snapshot.targets.keys() - lanes.keys():  # nothing of it waits any more
        lanes[name] = Load(run.rung[name], {name: snapshot.targets[name]})
    strays = strays or any(on[batch.route].local is None for mine in waiting.values() for batch in mine)
    return Loads(lanes, strays)


def _load(on: Mapping[str, Ways], mine: list[BatchView], work: float) -> Load:
    """Of a lane, with what of it waits."""
    each = [batch.work / batch.rows for batch in mine]
    home = {target.name: target for route in {batch.route for batch in mine} for target in on[route].home}
    largest, guessed = max(batch.work for batch in mine), sum(batch.work for batch in mine if batch.guessed)
    return Load(work, home, min(each), max(each), largest, guessed, sum(batch.work for batch in mine))


def shortages(
    snapshot: Snapshot, loads: Mapping[str, Loads], due: Iterable[RunView], sure: Mapping[str, float]
) -> dict[str, dict[str, Short]]:
    """By run and lane; `due` in the order of deadlines. Other clients have their shares of a lane, and a client's runs that are
    due earlier come first. `sure`: with which probability the likely shortage must be there at least (EVEN: its median)."""
    runs = list(due)
    wants = defaultdict[str, defaultdict[str, float]](lambda: defaultdict(float))
    for run in runs:
        for lane, asked in loads[run.id].lanes.items():
            wants[lane][run.client] += asked.work
    vessels = {lane: _vessels(snapshot, of_client) for lane, of_client in wants.items() if len(of_client) > 1}
    kept = defaultdict[tuple[str, str], float](float)
    found: dict[str, dict[str, Short]] = {}
    for run in runs:
        seconds, found[run.id] = left_s(snapshot, run), {}
        for lane, asked in loads[run.id].lanes.items():
            before, short = kept[lane, run.client], Short(-math.inf, -math.inf)
            if seconds < math.inf:
                able = _capacity(asked, seconds, sure.get(run.id, EVEN))
                share = [vessels[lane].share(run.client, work) for work in able] if lane in vessels else able
                short = Short(*(asked.work - max(0.0, work - before) for work in share))
            kept[lane, run.client] = before + asked.work - max(0.0, short.surely)
            found[run.id][lane] = short
    return found


def _vessels(snapshot: Snapshot, wants: Mapping[str, float]) -> Vessels:
    served, weights, ranks = snapshot.served, snapshot.weights, snapshot.ranks
    return Vessels({
        name: Claim(served.get(name, 0.0), work, weights.get(name, 1.0), ranks.get(name, NORMAL))
        for name, work in wants.items()
    })  # fmt: skip


def _capacity(load: Load, seconds: float, sure: float) -> tuple[float, float]:
    """Work that a lane's targets do until then: with caution, and what they do no more than with that probability.

    The first does not count on a target that is down. For the second such a one stays away for another `d` seconds or more with
    probability `down / (down + d)`, and work that was only guessed may be less.
    """
    z = NormalDist().inv_cdf(sure)
    careful, most = 0.0, max(0.0, z) * GUESS_SPREAD * load.guessed
    for target in load.home.values():
        last_s = call_s(target, load.least)
        if target.up:
            careful += local_rate(target) * usable_s(target, seconds, last_s) + half_done(target)
        away_s = 0.0 if target.up else target.down_s * (1 / sure - 1)
        spread = math.hypot(SPREAD, UNSURE / math.sqrt(max(1, target.spans)))
        faster = max(0.0, 1 + z * spread)
        most += local_rate(target) * faster * max(0.0, seconds - last_s - away_s) + (
            half_done(target) if target.up else 0.0
        )
    return careful, most
