"""What lanes can do in the time that is left: the arithmetic of plan(), without its decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import takewhile
from statistics import NormalDist
from typing import NamedTuple

from pipelines.planning.snapshot import BatchTarget, BatchView, RunView, Snapshot, TargetView

STOCK_S = 3.0
STOCK_SLOTS, MOST_STOCK_SLOTS, BOUGHT_SLOTS = 1.25, 4, 2
DECIDED = 1 / 60
"""Of the time until the next deadline: what is rung is decided, so no more than that, nor less than a second's work."""
TICK_S = 1.0
DOUBT, FIRST_DOUBT = 0.01, 0.15
"""How much less than foreseen a local lane may do in a time: measured over many spans, and over none."""
CLOUD_SAFETY = 1.4
"""A cloud's rate is mostly measured with few calls in flight, and nobody knows yet what it holds."""
LATENCIES = 4
TAIL_CALLS = 0.5
"""A lane's last calls, after which nothing follows in their slots: by so many of its shortest calls it is done before a deadline."""
RESERVE_CALLS = 3.0
"""For so many of the longest calls' time at the end, the shortest prompts are kept: they leave no slot idle while the last long
ones run, and before that, when no more of them can be begun."""
GUESSED_TOKENS_PER_S = 25.0
"""Decode speed of one slot before anything was measured."""
GUESSED_LATENCY_S = 2.0
BOLDER = 4.0
"""A cloud may do so many times what it did with few calls in flight."""
SLOW_LATENCY_S, FIRST_BOUGHT, FIRST_ASKED = 6.0, 32, 4
"""A cloud that nobody has asked yet may be so slow; and so many rows show how slow it is, early enough for all others. Fewer do
where its limits say the rest."""
SIGMA_90 = NormalDist().inv_cdf(0.9)
LONG = 3.0
"""By so much what nobody has measured may be longer, at P90."""
EVEN = 0.5
FIRST_BACK_S = 10.0
"""No batch API answers sooner."""


class Ways(NamedTuple):
    """The targets that a route uses now: on each lane the first that is up, in the route's order; and at `home` that local one
    and those before it that may come back. Those behind it are asked nothing while it is up. `office`: the cloud target whose
    batch API may be used, the first that is up or may come back, for what its fallback asks for a batch is no bargain beside it.
    `clouds`: all that are up, for what the first cannot do in time."""

    local: TargetView | None
    cloud: TargetView | None
    home: tuple[TargetView, ...] = ()
    office: str = ""
    clouds: tuple[TargetView, ...] = ()

    @property
    def lane(self) -> str:
        """The local lane that a route's batches share with those of other routes, by the target that stands for it: the one that is
        up, else the first that may come back. Servers of different routes do nothing for each other."""
        return (self.local or self.home[0]).name if self.home else ""


def ways(snapshot: Snapshot) -> dict[str, Ways]:
    """By route."""
    return {
        route: _ways([snapshot.targets[n] for n in names if n in snapshot.targets])
        for route, names in snapshot.routes.items()
    }


def _ways(targets: list[TargetView]) -> Ways:
    able = [target for target in targets if target.slots > 0]
    up = {lane: next((t for t in able if t.up and t.lane == lane), None) for lane in ("local", "cloud")}
    away = [t for t in takewhile(lambda t: t is not up["local"], able) if t.lane == "local" and t.down_s < math.inf]
    office = next((t.name for t in able if t.lane == "cloud" and (t.up or t.down_s < math.inf)), "")
    clouds = tuple(target for target in able if target.up and target.lane == "cloud")
    return Ways(up["local"], up["cloud"], (*away, *filter(None, [up["local"]])), office, clouds)


def idle(route: str, servers: Sequence[str]) -> str:
    """Which local servers of a route, in its order, do nothing while its first is up, in words; '' where none stands behind another."""
    return f"route {route}: {', '.join(servers[1:])} asked nothing while {servers[0]} is up" if servers[1:] else ""


def left_s(snapshot: Snapshot, run: RunView) -> float:
    """Until the run's deadline; infinite without one."""
    return math.inf if run.deadline_ms is None else (run.deadline_ms - snapshot.now_ms) / 1000


def stock(target: TargetView) -> float:
    """Rows that should be rung at a target, at the most: enough that no slot waits for the next tick, and no more than its rate
    limits admit in a moment and a call's time, for what is rung cannot go elsewhere. While its rate is unknown, more where it
    costs nothing, and only so many that it shows where it does."""
    if target.rows_per_s or target.lane == "local":
        slots = MOST_STOCK_SLOTS if target.lane == "local" else BOUGHT_SLOTS
        rows = max(slots * target.slots, target.rows_per_s * STOCK_S)
    else:
        rows = min(FIRST_BOUGHT if math.isinf(target.limit_rows_per_s) else FIRST_ASKED, target.slots)
    return min(rows, target.limit_rows_per_s * (STOCK_S + target.latency_s))


def is_stocked(target: TargetView, rows: int, queued_work: float, seconds: float = math.inf) -> bool:
    """Whether so many rows at a local target, of which so much work waits for a slot, keep its slots busy for a while: the longer,
    the longer it is until the next deadline."""
    if rows >= stock(target):
        return True
    enough_s = min(STOCK_S, max(1.0, DECIDED * seconds))
    return bool(target.rate) and rows >= STOCK_SLOTS * target.slots and queued_work >= enough_s * local_rate(target)


def waiting_rows(slots: int, rows: int, rung_rows: int) -> int:
    """Of rows that were rung last, so that `rung_rows` are rung now, those that wait for a slot."""
    return max(0, min(rows, rung_rows - slots))


def local_rate(target: TargetView) -> float:
    """Work per second of a local target; a cautious guess until something was measured."""
    return target.rate or GUESSED_TOKENS_PER_S * target.slots


def usable_s(target: TargetView, seconds: float, call_s: float) -> float:
    """How long a lane can be counted on until a deadline, when its last calls take so long: less its tail, and less what
    its rate may turn out lower."""
    doubt = DOUBT + (FIRST_DOUBT - DOUBT) / (1 + target.spans)
    return max(0.0, seconds * (1 - doubt) - TAIL_CALLS * call_s)


def half_done(target: TargetView) -> float:
    """Work that is done of what a local target has in flight, which counts as if it had just begun."""
    return max(0.0, target.rung_work - target.queued_work) / 2


def call_s(target: TargetView, work: float) -> float:
    """Seconds that a local target takes for one prompt of that much work, all slots in use."""
    return work * target.slots / local_rate(target)


def buy_s(cloud: TargetView, rows: float) -> float:
    """Seconds that a cloud target must be given for so many rows: less is too late."""
    return CLOUD_SAFETY * rows / cloud_rate(cloud) + LATENCIES * _cloud_latency_s(cloud) + TICK_S


def answers(cloud: TargetView, seconds: float) -> bool:
    """Whether a cloud target that begins a call now will likely have answered it by then."""
    return seconds >= cloud.latency_s or not cloud.rows_per_s


def later_rows(cloud: TargetView, seconds: float) -> float:
    """Rows that a cloud target can still be given later: the inverse of `buy_s`; below 0 when it is late."""
    return (seconds - buy_s(cloud, 0)) * cloud_rate(cloud) / CLOUD_SAFETY


def cloud_rate(cloud: TargetView) -> float:
    """Rows a second of a cloud target. With few calls in flight it shows less than it can do, until all its slots were in use:
    where its limits are known, those and its latency say more; else it is believed as much as one that nobody has asked, or a few
    times what it has shown, unless it has said that more was too much."""
    most = cloud.slots / max(_cloud_latency_s(cloud), 0.05)
    rate = cloud.rows_per_s or most
    if not cloud.spans and not (cloud.throttled and math.isinf(cloud.limit_rows_per_s)):
        known = math.isfinite(cloud.limit_rows_per_s)
        rate = max(rate, most if known else min(most, max(BOLDER * rate, cloud.slots / SLOW_LATENCY_S)))
    return max(min(rate, cloud.limit_rows_per_s), 0.01)


def _cloud_latency_s(cloud: TargetView) -> float:
    return cloud.latency_s if cloud.rows_per_s else SLOW_LATENCY_S


def in_time(target: BatchTarget, seconds: float) -> float:
    """The share of a batch API's batches that come back within so long: lognormal."""
    if seconds <= 0:
        return 0.0
    sigma = latency_sigma(target.latency_p50_s, target.latency_p90_s)
    return NormalDist().cdf(math.log(seconds / target.latency_p50_s) / sigma)


def first_in_time(target: BatchTarget, seconds: float) -> float:
    """That a batch comes back within so long from an API from which none ever has: twice as long as one has been out by now, with
    a chance of a half."""
    return 1 - max(FIRST_BACK_S, target.waited_s) / seconds if seconds > 0 else 0.0


def latency_sigma(p50_s: float, p90_s: float) -> float:
    """Of a lognormal latency: the standard deviation of its logarithm."""
    return math.log(max(1.01, p90_s / p50_s)) / SIGMA_90


def has_home(batch: BatchView, on: Mapping[str, Ways]) -> bool:
    """Whether a local lane may take it, now or when it is up again."""
    return batch.lanes != "cloud" and batch.route in on and bool(on[batch.route].home)


def is_astray(run: RunView, batch: BatchView, on: Mapping[str, Ways]) -> bool:
    """Whether no local lane will take it: it has none, or none that is up and no deadline until which it could wait for one."""
    return not has_home(batch, on) or (run.deadline_ms is None and on[batch.route].local is None)


def too_late(target: TargetView, batch: BatchView, seconds: float, rung_work: float) -> bool:
    """Whether a local target would not end a batch in time behind the work that is rung, however long its answers are if they
    were only guessed; never while its rate is unknown: a first batch is how that is found out."""
    if not target.rate:
        return seconds <= 0
    work = batch.work * (LONG if batch.guessed else 1.0)
    return ends_late(target, work, work / batch.rows, seconds, rung_work)


def ends_late(target: TargetView, work: float, each: float, seconds: float, rung_work: float) -> bool:
    """The same of so much work in prompts of `each`."""
    begun_s = (rung_work - half_done(target) + work) / local_rate(target)
    return begun_s + call_s(target, each) > usable_s(target, seconds, 0.0)


def reserve_work(target: TargetView, longest: float) -> float:
    """Work of the shortest prompts that is kept for the end, while the last of the longest ones run."""
    return RESERVE_CALLS * call_s(target, longest) * local_rate(target)
