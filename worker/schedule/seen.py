"""What the scheduler remembers of a batch, as its hash in Redis says it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from pipelines import wire
from pipelines.batch import rest
from pipelines.types import BatchHead

SEEN = ("head", "lanes", "tries", "released_ms", "real_time", "refused", "left")


class Seen(msgspec.Struct):
    """`head`: of what was not answered when it came back last. `refused_nusd` is the price of the call that fitted into no budget, `refused_lane` its lane."""

    head: BatchHead
    lanes: str = "any"
    tries: int = 0
    released_ms: int = 0
    real_time: bool = False
    refused_nusd: int = 0
    refused_lane: str = ""

    def held(self, room_nusd: float) -> str:
        """Of which lane's calls it must wait, as in BatchView, while its run's budgets have so much room."""
        if self.refused_nusd <= room_nusd:
            return ""
        return "any" if self.refused_lane == "local" else "cloud"


def seen_of(fields: Any) -> Seen | None:
    """SEEN of a batch's hash; None for a batch that is gone. Raises ValueError for what no worker of ours wrote."""
    if isinstance(fields, Exception):
        raise wire.Unreadable(str(fields))
    head, lanes, tries, released, real_time, refused, left = fields
    if head is None:
        return None
    price, _, lane = (refused or b"0").decode().partition(" ")
    said = (lanes or b"any").decode(), int(tries or 0), int(released or 0), bool(real_time)
    return Seen(rest(wire.unpack_head(head), int(left or 0)), *said, int(price), lane)


def work_at(rung: Iterable[tuple[BatchHead, str, int]], work: Callable[[BatchHead], float]) -> dict[str, float]:
    """By target: the work of rung batches (with their targets and the rows not answered yet) that is left."""
    found = defaultdict[str, float](float)
    for head, target, left in rung:
        found[target] += left / max(1, head.rows) * work(head)
    return dict(found)


def unprepared_rows(fields: Mapping[str, str]) -> float:
    """Rows of a run that are not prepared yet and will be asked, if they are like those that are."""
    rows = int(fields.get("rows") or 0)
    if fields.get("prepared") == "1" or not rows:
        return 0.0
    return max(0, int(fields.get("rows_estimate") or 0) - rows) * int(fields.get("asked") or 0) / rows
