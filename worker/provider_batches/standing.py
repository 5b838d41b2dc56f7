"""How each target's batch API stands, as plan wants to know it: whether it takes orders, and how long they take.

Told to everybody by the state of the target, which Redis keeps.
"""

from __future__ import annotations

from pipelines.types import Failure
from worker.backends.absent import absent
from worker.backends.batching import Remote
from worker.context import Context
from worker.money.ledger import Ledger
from worker.targets import CLOSING

KEPT = 40
"""Of the last orders it is remembered how long they took, with a minus of those that were taken back: they would have taken
longer. A lane that forgot these would go on believing in the few that came back in time."""
FULL_LEAST_S, FULL_MOST_S = 5.0, 600.0
"""How long a provider that has its fill is not asked again: twice as long each time, less when an order ends."""
OFF_S = 900.0
"""How long a batch API that refuses what we send is left alone; its rows are asked in real time."""
FULL = frozenset({"token_limit_exceeded", "rate", "overload", "connect"})


class Standing:
    """What is known of the batch APIs."""

    def __init__(self, context: Context, ledger: Ledger) -> None:
        self._context, self._ledger = context, ledger
        self._full_s: dict[str, float] = {}
        self._failed: dict[str, int] = {}
        self._told = False

    def tell(self) -> None:
        """Once: that somebody looks after the batch APIs, and their price."""
        if not self._told:
            for name, target in self._context.settings.targets.items():
                if target.provider_batch:
                    self._context.targets.say(name, {"batch_price": self._ledger.batch_share(name)})
            self._told = True

    def takes(self, name: str) -> bool:
        """Whether an order may be sent now."""
        state, now_ms = self._context.targets.states.get(name, {}), self._context.clock.now_ms()
        return now_ms >= max(state.get("batch_full_ms") or 0, state.get("batch_off_ms") or 0)

    def refused(self, name: str, failure: Failure) -> None:
        """An order was not taken."""
        targets, failure = self._context.targets, absent(self._context.settings.targets[name], failure)
        if failure.kind in CLOSING:
            targets.close(name, failure.message)
        elif failure.kind in FULL:
            self._wait(name, failure.retry_after_s)
        else:
            self._off(name, failure.message)

    def failed(self, name: str, remote: Remote) -> bool:
        """An order was taken and failed before anything of it was run. False: it only has to wait. Two in a row that need not
        are not their rows' fault."""
        if remote.code in FULL:
            self._wait(name, None)
            return False
        self._failed[name] = self._failed.get(name, 0) + 1
        if self._failed[name] > 1:
            self._off(name, f"{remote.code}: {remote.message}")
        return True

    def ended(self, name: str, seconds: float, cancel_s: float | None, remote: Remote) -> None:
        """An order came back: there is room, and one more figure of how long they take; of one that was cancelled, also how
        long that takes (`cancel_s`)."""
        targets = self._context.targets
        self._full_s.pop(name, None)
        self._failed.pop(name, None)
        targets.say(name, {"batch_full_ms": 0, "batch_off_ms": 0, "batch_reason": ""})
        if cancel_s is not None:
            self.cancelled(name, cancel_s)
        self.took(name, (cancel_s or 0.0) - seconds if remote.code == "cancelled" else seconds)

    def took(self, name: str, seconds: float) -> None:
        """One more figure, below zero of an order that did not come back until then."""
        before = self._context.targets.states.get(name, {}).get("batch_s") or []
        self._context.targets.say(name, {"batch_s": [round(seconds, 3), *before][:KEPT]})

    def cancelled(self, name: str, seconds: float) -> None:
        """It took so long to be given an order back, or longer; a slow one is remembered for a few quick ones."""
        before = self._context.targets.states.get(name, {}).get("batch_cancel_s") or 0.0
        self._context.targets.say(name, {"batch_cancel_s": round(max(seconds, before / 2), 3)})

    def _wait(self, name: str, seconds: float | None) -> None:
        self._full_s[name] = min(FULL_MOST_S, 2 * self._full_s.get(name, FULL_LEAST_S / 2))
        until_ms = self._context.clock.now_ms() + int(1000 * max(seconds or 0.0, self._full_s[name]))
        self._context.targets.say(name, {"batch_full_ms": until_ms})

    def _off(self, name: str, reason: str) -> None:
        until_ms = self._context.clock.now_ms() + int(1000 * OFF_S)
        self._context.targets.say(name, {"batch_off_ms": until_ms, "batch_reason": reason[:300]})
