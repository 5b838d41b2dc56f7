"""Since when each target is down, and what of its work went to providers' batch APIs meanwhile."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import NamedTuple

from worker.context import Context
from worker.timing import GONE_MS

CALM_MS = 60_000
"""Who was up for so long is over what it had failed before, even if nobody has asked it anything since."""


class Given(NamedTuple):
    """A batch of a run without a deadline: the local target that is away, the client, and its work."""

    home: str
    client: str
    work: float


class Away:
    """Looks at every tick; closed targets wait for a person, and count as none that are away."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._was_up: set[str] = set()
        self._calm_ms: dict[str, int] = {}
        self._steady: set[str] = set()
        self._down_since: dict[str, int] = {}
        self._away_since: dict[str, int] = {}
        self._given: dict[str, Given] = {}

    def look(self) -> None:
        """One that looks well now and then and answers nothing is away since it began to fail."""
        now, states = self._context.clock.now_ms(), self._context.targets.states
        names = self._context.settings.targets.keys()
        down = {name for name in names if not self._context.targets.is_up(name)}
        self._was_up |= names - down
        self._steady = {n for n in names - down if now - (states.get(n, {}).get("changed_ms") or 0) > CALM_MS}
        self._calm_ms.update(dict.fromkeys(self._steady, now))
        down -= {name for name in down if states.get(name, {}).get("closed")}
        self._down_since = {name: self._down_since.get(name, now) for name in down}
        failing = {name: states.get(name, {}).get("failing_since") or now for name in down}
        self._away_since = {
            name: min(since, max(failing[name], self._calm_ms.get(name, 0))) for name, since in self._down_since.items()
        }
        self._given = {batch: given for batch, given in self._given.items() if given.home in down}

    def seconds(self, name: str) -> float:
        """Infinite for one that nobody has seen up, or that is not away."""
        if name not in self._away_since or name not in self._was_up:
            return math.inf
        return (self._context.clock.now_ms() - self._away_since[name]) / 1000

    def is_steady(self, name: str) -> bool:
        """It has been up for so long that it is not one that comes and goes."""
        return name in self._steady

    def is_gone(self, route: str, lane: str) -> bool:
        """All targets of a route's lane have been down for long."""
        late = self._context.clock.now_ms() - GONE_MS
        return all(self._down_since.get(name, late) < late for name in self._context.targets.route_targets(route, lane))

    def gave(self, batch: str, route: str, client: str, work: float) -> None:
        """A provider's batch API has it, for want of a local target."""
        homes = self._context.targets.route_targets(route, "local")
        if (home := next((name for name in homes if name in self._away_since), None)) is not None:
            self._given[batch] = Given(home, client, work)

    def came_back(self, batch: str) -> None:
        """Without an answer."""
        self._given.pop(batch, None)

    def ordered(self) -> dict[tuple[str, str], float]:
        """Work given since each local target went away, answered or not, by target and client."""
        found = defaultdict[tuple[str, str], float](float)
        for given in self._given.values():
            found[given.home, given.client] += given.work
        return dict(found)
