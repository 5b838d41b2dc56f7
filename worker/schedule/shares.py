"""Who was served how much: charged when a batch is rung, given back as far as it comes back unanswered; which client is next is
plan's matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from pipelines.planning.fair import Served
from pipelines.planning.snapshot import Snapshot
from pipelines.planning.spill import buyers


class Charge(NamedTuple):
    """Of a batch that is rung: its lane, whose it is, the guessed work for its weight, and the share of its rows not answered
    when last seen."""

    lane: str
    client: str
    work: float
    left: float = 1.0


class Shares:
    """One scheduler's, of the local lane and of the cloud apart; kept in what prompts were guessed to weigh and told in what they
    weigh now."""

    def __init__(self) -> None:
        self._served = {"local": Served(), "cloud": Served()}
        self._charges: dict[str, Charge] = {}
        self._longer = 1.0

    def measured(self, longer: float) -> None:
        """Prompts weigh so many times what was guessed, and so does what was charged: or else who was served before the first
        answers would have paid as much for one batch as others then pay for ten."""
        self._longer = longer

    def told(self, seen: Snapshot) -> Snapshot:
        """With what each client was served of either lane."""
        served = self.levels("local", (run.client for run in seen.runs if run.waiting))
        return replace(seen, served=served, bought=self.levels("cloud", buyers(seen)))

    def levels(self, lane: str, active: Iterable[str]) -> dict[str, float]:
        return {client: level * self._longer for client, level in self._served[lane].levels(active).items()}

    def rung(self, batch: str, lane: str, client: str, work: float, weight: float) -> None:
        """On a lane that clients share; a provider's batch API is none."""
        if lane in self._served:
            guessed = work / self._longer
            self._served[lane].add(client, guessed, weight)
            self._charges[batch] = Charge(lane, client, guessed / weight)

    def seen(self, batch: str, left: float) -> None:
        """How much of a batch is not answered yet."""
        if batch in self._charges:
            self._charges[batch] = self._charges[batch]._replace(left=left)

    def came_back(self, batch: str) -> None:
        """It waits again: a target that died served nobody."""
        if (charge := self._charges.pop(batch, None)) is not None:
            self._served[charge.lane].add(charge.client, -charge.work * charge.left, 1.0)

    def keep(self, known: Iterable[str]) -> None:
        """Forgets what has ended."""
        self._charges = {batch: charge for batch in known if (charge := self._charges.get(batch)) is not None}
