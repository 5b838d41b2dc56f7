"""Small snapshots for the tests of plan() and of its parts: one local target, one cloud target, runs of like batches."""

from __future__ import annotations

import msgspec

from pipelines.plan import plan
from pipelines.planning.snapshot import BatchView, Move, Ring, RunView, Snapshot, TargetView

GPU = TargetView("gpu", "local", True, slots=4, rate=100.0, rows_per_s=2.0, latency_s=1.0)
MINI = TargetView("mini", "cloud", True, slots=8, rate=100.0, rows_per_s=10.0, latency_s=0.5, spans=1)
NOW = 1_000_000


def batches(
    count: int, rows: int = 8, work: float = 100.0, route: str = "small", lanes: str = "any"
) -> tuple[BatchView, ...]:
    return tuple(BatchView(f"b{i}", route, rows, work, lanes) for i in range(count))


def run(waiting: tuple[BatchView, ...], *, deadline_s: float | None = None, **more: object) -> RunView:
    deadline = None if deadline_s is None else NOW + int(deadline_s * 1000)
    return msgspec.structs.replace(RunView("r", "c", 0, deadline, waiting), **more)


def snapshot(*runs: RunView, gpu: TargetView | None = GPU, mini: TargetView | None = MINI, **more: object) -> Snapshot:
    targets = {t.name: t for t in (gpu, mini) if t is not None}
    routes = {"small": ("gpu", "mini"), "cloudy": ("mini",), "homely": ("gpu",)}
    return msgspec.structs.replace(Snapshot(NOW, targets, routes, runs), **more)


def moved(moves: list[Move]) -> list[tuple[str, str]]:
    return [(move.batch, move.lane if isinstance(move, Ring) else "recall") for move in moves]


def rings(given_: Snapshot) -> list[Ring]:
    return [move for move in plan(given_) if isinstance(move, Ring)]
