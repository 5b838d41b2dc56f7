"""What runs lack to be done in time and within their budgets, in words that a run's hash holds; reckoned now and then."""

from __future__ import annotations

import math
from collections.abc import Callable

from pipelines import wire
from pipelines.money import PUSD_PER_NUSD, pusd_to_usd_str
from pipelines.planning.foresee import in_words
from pipelines.planning.missing import missing
from pipelines.planning.snapshot import Snapshot

EVERY_MS = 5_000


class Lacks:
    """Remembers what was found last, and by which budget's room."""

    def __init__(self, price_pusd: Callable[[str], float]) -> None:
        self._price_pusd = price_pusd
        self._found: dict[str, str] = {}
        self._at_ms = -EVERY_MS
        self.room_nusd: dict[str, int] = {}

    def look(self, snapshot: Snapshot) -> dict[str, str]:
        """By run, as JSON: `usd`, `seconds` and `text`; nothing of runs that lack nothing."""
        if snapshot.now_ms - self._at_ms >= EVERY_MS:
            self._at_ms = snapshot.now_ms
            refused = {run.id: self.room_nusd.get(run.id, 0) for run in snapshot.runs if not run.may_buy}
            self.room_nusd = refused
            room = {run: float(nusd * PUSD_PER_NUSD) for run, nusd in refused.items()}
            self._found = {
                run: wire.dump({
                    "usd": None if lack.pusd is None else pusd_to_usd_str(math.ceil(lack.pusd)),
                    "seconds": None if lack.seconds is None else round(lack.seconds, 1),
                    "text": in_words(*lack),
                }).decode()
                for run, lack in missing(snapshot, self._price_pusd, room).items()
            }  # fmt: skip
        return self._found
