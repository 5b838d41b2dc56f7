"""What others do, as functions of the same snapshot: each sees the file's order and knows neither price nor speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

from pipelines.planning.capacity import stock
from pipelines.planning.snapshot import Move, Ring, RunView, Snapshot

QUEUE_ROWS = 500
SWITCH_S = 900.0


def _fill(snapshot: Snapshot, run: RunView, lane: str, taken: set[str], skip_rows: float = 0.0) -> Iterator[Ring]:
    """Rings waiting batches from the front on a lane's target, up to its stock; `skip_rows` at the front are left."""
    target = next(t for t in snapshot.targets.values() if t.lane == lane)
    room = stock(target) - target.rung_rows if target.up else 0.0
    for batch in run.waiting:
        if batch.id in taken:
            continue
        skip_rows -= batch.rows
        if skip_rows < 0 and room > 0:
            room -= batch.rows
            taken.add(batch.id)
            yield Ring(batch.id, run.id, lane, target.name)


def cloud_only(snapshot: Snapshot) -> list[Move]:
    return list(_fill(snapshot, snapshot.runs[0], "cloud", set()))


def local_only(snapshot: Snapshot) -> list[Move]:
    return list(_fill(snapshot, snapshot.runs[0], "local", set()))


def queue_threshold(snapshot: Snapshot) -> list[Move]:
    """What stands behind the first 500 rows of the queue is spilled."""
    taken: set[str] = set()
    run = snapshot.runs[0]
    return [*_fill(snapshot, run, "local", taken), *_fill(snapshot, run, "cloud", taken, QUEUE_ROWS)]


def switch_at_900_s(snapshot: Snapshot) -> list[Move]:
    """Local first; everything goes to the cloud in the last quarter of an hour."""
    run, taken = snapshot.runs[0], set[str]()
    assert run.deadline_ms is not None
    moves = list(_fill(snapshot, run, "local", taken))
    if run.deadline_ms - snapshot.now_ms <= SWITCH_S * 1000:
        moves = list(_fill(snapshot, run, "cloud", set()))
    return list[Move](moves)


def round_robin() -> Callable[[Snapshot], list[Move]]:
    """Batches in turn to either lane."""
    turn, lanes = count(), dict[str, str]()

    def policy(snapshot: Snapshot) -> list[Move]:
        run, moves = snapshot.runs[0], list[Move]()
        for batch in run.waiting:
            if batch.id not in lanes:
                lanes[batch.id] = "local" if next(turn) % 2 else "cloud"
        for lane in ("local", "cloud"):
            others = {batch.id for batch in run.waiting if lanes[batch.id] != lane}
            moves.extend(_fill(snapshot, run, lane, others))
        return moves

    return policy
