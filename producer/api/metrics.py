"""`GET /metrics` for Prometheus, with the admin's key: runs, rows, queues, lanes, money, and this server's requests.

What Redis knows is read anew for each scrape; it is the same from every server.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

from pipelines import budgets, days, wire
from producer import limits, runs
from producer.api.auth import Admin
from producer.api.meter import REQUESTS
from producer.api.state import Here, State
from producer.queue import now_ms
from producer.runs import LaneView, RunView

router = APIRouter(tags=["health"])

ROWS = {name: name for name in ("ok", "invalid", "failed", "refused")} | {"duplicate": "reused"}
_NANO = 1e-9

Values = Iterable[tuple[Sequence[str], float]]


class _Now(Collector):
    """What one look at Redis found."""

    def __init__(self, found: list[GaugeMetricFamily]) -> None:
        self._found = found

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self._found


@router.get("/metrics", response_class=Response)
async def metrics(here: Here, admin: Admin) -> Response:
    """Gauges over everything that is open now, and counters of this server's requests."""
    registry = CollectorRegistry()
    registry.register(_Now(await _look(here)))
    return Response(generate_latest(registry) + generate_latest(REQUESTS), media_type=CONTENT_TYPE_LATEST)


async def _look(here: State) -> list[GaugeMetricFamily]:
    redis, keys = here.redis, here.keys
    ids = sorted(await redis.smembers(keys.open_runs))
    pipe = redis.pipeline(transaction=False)
    for run_id in ids:
        pipe.hgetall(keys.run(run_id))
    for run_id in ids:
        pipe.zcard(keys.waiting(run_id))
    for name in (keys.local_queue, keys.cloud_queue, keys.all_runs):
        pipe.zcard(name)
    replies = await pipe.execute()
    views = [runs.view(run_id, fields) for run_id, fields in zip(ids, replies, strict=False) if fields]
    waiting, (local, cloud, known) = sum(replies[len(ids) : 2 * len(ids)]), replies[2 * len(ids) :]
    return [
        _gauge("spillway_workers", "Workers that are alive.", [((), await runs.workers(redis, keys))]),
        _gauge("spillway_runs_known", "Runs that Redis remembers, ended ones included.", [((), known)]),
        *_of_runs(views),
        _gauge("spillway_batches_waiting", "Batches that no lane has taken yet.", [((), waiting)]),
        _gauge("spillway_queue_jobs", "Jobs that are rung, by queue.", [(("local",), local), (("cloud",), cloud)], "queue"),
        *_of_lanes(await runs.lanes(redis, keys)),
        *await _of_money(here, ids),
    ]  # fmt: skip


def _of_runs(views: Sequence[RunView]) -> list[GaugeMetricFamily]:
    states = Counter(view.status for view in views)
    rows = {status: sum(getattr(view, field) for view in views) for status, field in ROWS.items()}
    depth = sum(max(0, view.total - view.done) for view in views)
    return [
        _gauge("spillway_runs_open", "Runs that have not ended, by status.",
               [((status,), states[status]) for status in wire.RUN_OPEN], "status"),
        _gauge("spillway_rows", "Rows of open runs whose fate is known, by status.", _labelled(rows), "status"),
        _gauge("spillway_queue_rows", "Rows of open runs that are not answered yet.", [((), depth)]),
    ]  # fmt: skip


def _of_lanes(lanes: Sequence[LaneView]) -> list[GaugeMetricFamily]:
    names = {lane.name: (lane.name, lane.lane) for lane in lanes}
    figures = (
        ("spillway_target_up", "1 when the target answers.", lambda lane: float(lane.up)),
        ("spillway_target_slots", "Calls that the target may have at once.", lambda lane: lane.slots),
        ("spillway_target_in_flight", "Calls that are under way.", lambda lane: lane.in_flight),
        ("spillway_target_rows_per_second", "Prompts answered in a second, lately.", lambda lane: lane.rows_per_s),
    )
    return [
        _gauge(name, help_, [(names[lane.name], figure(lane)) for lane in lanes], "target", "lane")
        for name, help_, figure in figures
    ]


async def _of_money(here: State, open_ids: Sequence[str]) -> list[GaugeMetricFamily]:
    """Today's and this month's scopes: of everybody (client '') and of each client that the configuration names."""
    day = days.day(await now_ms(here.redis), here.settings.spillway.timezone)
    wanted: dict[str, int | None] = {}
    for client in ("", *here.settings.clients):
        wanted |= budgets.shared(here.settings, client, day)
    scopes = await limits.some(here.redis, here.keys, wanted)
    found = [((_kind(scope), scope.client or ""), scope) for scope in scopes]
    exposed = sum((await limits.exposures_nusd(here.redis, here.keys, open_ids)).values())
    label = ("scope", "client")
    limited = [(at, scope.limit_nusd * _NANO) for at, scope in found if scope.limit_nusd is not None]
    return [
        _gauge("spillway_spent_usd", "Spent in the current day or month.",
               [(at, scope.spent_nusd * _NANO) for at, scope in found], *label),
        _gauge("spillway_reserved_usd", "Reserved for calls under way.",
               [(at, scope.reserved_nusd * _NANO) for at, scope in found], *label),
        _gauge("spillway_limit_usd", "The limit, where there is one.", limited, *label),
        _gauge("spillway_unknown_exposure_usd", "What calls that were sent may still cost.", [((), exposed * _NANO)]),
    ]  # fmt: skip


def _kind(scope: budgets.Scope) -> str:
    """day | month"""
    return scope.name.rsplit(":", 2)[-2]


def _labelled(figures: Mapping[str, float]) -> Values:
    return [((name,), value) for name, value in figures.items()]


def _gauge(name: str, help_: str, values: Values, *labels: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for at, value in values:
        family.add_metric(at, value)
    return family
