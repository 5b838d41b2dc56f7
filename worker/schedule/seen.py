"""What the scheduler remembers of a batch, as its hash in Redis says it."""

from __future__ import annotations

from typing import Any

import msgspec

from pipelines import wire
from pipelines.types import BatchHead

SEEN = ("head", "lanes", "tries", "released_ms", "real_time", "refused")


class Seen(msgspec.Struct):
    """Its head never changes. `refused`: the price in nano-dollars and the lane of the call that fitted into no budget."""

    head: BatchHead
    lanes: str = "any"
    tries: int = 0
    released_ms: int = 0
    real_time: bool = False
    refused: str = ""

    def held(self, room_nusd: float) -> str:
        """Of which lane's calls it must wait, as in BatchView, while its run's budgets have so much room."""
        refused_nusd, _, lane = self.refused.partition(" ")
        return "" if int(refused_nusd or 0) <= room_nusd else {"local": "any"}.get(lane, "cloud")


def seen_of(fields: Any) -> Seen | None:
    """SEEN of a batch's hash; None for a batch that is gone. Raises ValueError for what no worker of ours wrote."""
    if isinstance(fields, Exception):
        raise wire.Unreadable(str(fields))
    head, lanes, tries, released, real_time, refused = fields
    if head is None:
        return None
    int((refused or b"").partition(b" ")[0] or 0)  # or it is none of ours
    said = (lanes or b"any").decode(), int(tries or 0), int(released or 0), bool(real_time)
    return Seen(wire.unpack_head(head), *said, (refused or b"").decode())
