"""What plan() sees and what it says: targets, batches and runs as they are at one moment, and the moves of that moment.

Values only; what to make of them is pipelines/plan.py's matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec


class TargetView(msgspec.Struct, frozen=True):
    """One target as it is now; `rate` is estimated work finished per second, `rows_per_s` the same in rows, 0 while unknown,
    and `spans` how many spans of full work that was measured over.

    `rung_rows` and `rung_work` are on it and not answered, `rung_read` of that work is reading prompts, and `queued_work` waits
    there for a slot; `limit_rows_per_s` is what its rate limits admit; `down_s` how long it has been down: infinite where nobody
    waits for it to come back; `steady`: it has been up for a while. `climbing`: it is being found out how many calls at once it can do.
    Of its limits `calls_per_s` is the one on calls alone; those on tokens are in the limit on rows as what waits needs them, on the
    mean. `throttled`: it has said lately that it was asked too much.
    """

    name: str
    lane: str
    up: bool
    slots: int
    rung_rows: int = 0
    rate: float = 0.0
    rows_per_s: float = 0.0
    latency_s: float = 1.0
    rung_work: float = 0.0
    limit_rows_per_s: float = math.inf
    down_s: float = math.inf
    spans: int = 0
    rung_read: float = 0.0
    queued_work: float = 0.0
    climbing: bool = False
    steady: bool = False
    calls_per_s: float = math.inf
    throttled: bool = False


class BatchTarget(msgspec.Struct, frozen=True):
    """A target's asynchronous batch API: rows that may be there at once (0: it has its fill), how long its batches take, their
    price as a share of the real-time price, and how long it takes to give one back.

    `heard`: some batch has come back, so that the times are its own. Else they are such APIs' usual ones, and none has come back
    that was out for `waited_s`.
    """

    name: str
    up: bool
    room_rows: int
    latency_p50_s: float = 3600.0
    latency_p90_s: float = 6 * 3600.0
    price: float = 0.5
    cancel_s: float = 60.0
    heard: bool = True
    waited_s: float = 0.0


class BatchView(msgspec.Struct, frozen=True):
    """One batch; `lanes` says where it may still go: any, cloud (local gave up; in real time or not) or local. `read`: of its
    work, what is reading prompts; `guessed`: no answer of its `group` was measured, so it may be twice or half of that.

    `last`: there is no lane after that one; what cannot be answered there ends. `real_time`: no batch API can help it (any
    more). `held`: no budget has room for its next call on the `cloud` or on `any` lane. `target` and `sent_ms`: of a batch
    that is with a provider's batch API, since when. `cloud_s`: what its cloud's limits on tokens leave for it at least.
    """

    id: str
    route: str
    rows: int
    work: float
    lanes: str = "any"
    last: bool = False
    target: str = ""
    sent_ms: int = 0
    real_time: bool = False
    read: float = 0.0
    held: str = ""
    group: str = ""
    guessed: bool = False
    cloud_s: float = 0.0


class RunView(msgspec.Struct, frozen=True):
    """One open run; `waiting` is ordered from head to tail, `ahead` is work rung to local lanes or not yet
    prepared, `rung` how much of that is on which local target, `sent` what is with a provider's batch API and has not come back;
    what is rung to the cloud is no part of any.

    `waited_for`: somebody waits for each answer. It goes first among its client's runs, and what the local lane cannot take
    now to the cloud. `trying`: groups of which a batch is rung to the local lane.
    """

    id: str
    client: str
    created_ms: int
    deadline_ms: int | None
    waiting: tuple[BatchView, ...]
    ahead: float = 0.0
    may_buy: bool = True
    waited_for: bool = False
    sent: tuple[BatchView, ...] = ()
    trying: frozenset[str] = frozenset()
    rung: Mapping[str, float] = {}


class Snapshot(msgspec.Struct, frozen=True):
    """Everything `plan` knows; routes map to their targets' names, in order of preference. `batch_targets`: those of them
    whose batch API may be used, by name. By client: `weights`, `served` local work and `bought` work of the cloud, each for its
    weight, and `ranks`, its class. `ordered`: work by local target and client that batch APIs were given since that target went away,
    of runs without a deadline.
    """

    now_ms: int
    targets: Mapping[str, TargetView]
    routes: Mapping[str, tuple[str, ...]]
    runs: tuple[RunView, ...]
    weights: Mapping[str, float] = {}
    served: Mapping[str, float] = {}
    batch_targets: Mapping[str, BatchTarget] = {}
    ranks: Mapping[str, int] = {}
    bought: Mapping[str, float] = {}
    ordered: Mapping[tuple[str, str], float] = {}


class Ring(msgspec.Struct, frozen=True):
    """Move: let this batch run on this lane now (local, cloud or provider_batch)."""

    batch: str
    run: str
    lane: str
    target: str


class Recall(msgspec.Struct, frozen=True):
    """Move: take this batch back from the provider, it must be asked in real time; what was answered there is kept.

    Given at every tick until the batch is no longer `sent`. A provider takes back all that it was given with it.
    """

    batch: str
    run: str


Move = Ring | Recall
