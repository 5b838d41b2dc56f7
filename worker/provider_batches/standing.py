"""How each target's batch API stands, as plan wants to know it: whether it takes orders, and how long they take.

Told to everybody by the state of the target, which Redis keeps.
"""

from __future__ import annotations

import math

from pipelines.types import Failure
from worker.backends.absent import absent
from worker.backends.batching import Remote
from worker.context import Context
from worker.money.ledger import Ledger
from worker.provider_batches.orders import Order
from worker.targets import CLOSING

KEPT = 40
"""Of the last orders it is remembered how long they took, with a minus of those that were taken back: they would have taken
longer. A lane that forgot these would go on believing in the few that came back in time."""
FULL_LEAST_S, FULL_MOST_S = 5.0, 600.0
"""How long a provider that has its fill is not asked again: twice as long each time, less when an order ends, or for less."""
ANY_ROWS = 1 << 30
"""What may be with a provider that has not said that it is too much."""
OFF_S = 900.0
"""How long a batch API that refuses what we send is left alone; its rows are asked in real time."""
TOO_MUCH = "token_limit_exceeded"
FULL = frozenset({TOO_MUCH, "rate", "overload", "connect"})


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

    def most_rows(self, name: str) -> int:
        """How many may be out there at once, or one batch."""
        return self._context.targets.states.get(name, {}).get("batch_rows") or ANY_ROWS

    def refused(self, order: Order, failure: Failure, out: int) -> bool:
        """An order was not taken, with so many rows `out` before it. True: it is at fault, more of the same will not help."""
        name, targets = order.about.target, self._context.targets
        failure = absent(self._context.settings.targets[name], failure)
        if failure.kind in FULL:
            return self._full(order, failure.kind, out, failure.retry_after_s or 0.0)
        if failure.kind in CLOSING:
            targets.close(name, failure.message)
        else:
            self._off(name, failure.message)
        return False

    def failed(self, order: Order, remote: Remote, out: int) -> bool:
        """An order was taken and failed before anything of it was run; as `refused`."""
        if remote.code in FULL:
            return self._full(order, remote.code, out)
        return self._at_fault(order.about.target, f"{remote.code}: {remote.message}")

    def _full(self, order: Order, code: str, out: int, least_s: float = 0.0) -> bool:
        """It has to wait, and for more room than there was: less is sent next time. A single batch that is refused as long as can
        be, with nothing out, will never fit."""
        name, targets = order.about.target, self._context.targets
        if code == TOO_MUCH or (code == "rate" and name in self._full_s):
            if out or len(order.about.parts) > 1:
                targets.say(name, {"batch_rows": max(1, out + order.lines // 2)})
                self._full_s.pop(name, None)
            elif self._full_s.get(name) == FULL_MOST_S:
                return self._at_fault(name, code)
        if self.takes(name):
            self._full_s[name] = min(FULL_MOST_S, 2 * self._full_s.get(name, FULL_LEAST_S / 2))
        until_ms = self._context.clock.now_ms() + int(1000 * max(least_s, self._full_s.get(name, FULL_LEAST_S)))
        targets.say(name, {"batch_full_ms": until_ms})
        return False

    def _at_fault(self, name: str, reason: str) -> bool:
        """Two in a row are not their rows' fault."""
        self._failed[name] = self._failed.get(name, 0) + 1
        if self._failed[name] > 1:
            self._off(name, reason)
        return True

    def ended(self, order: Order, seconds: float, cancel_s: float | None, remote: Remote) -> None:
        """An order came back: there is room, for half as many more, and one more figure of how long they take; of one that was
        cancelled, also how long that takes (`cancel_s`)."""
        name, targets = order.about.target, self._context.targets
        self._full_s.pop(name, None)
        self._failed.pop(name, None)
        rows = min(ANY_ROWS, self.most_rows(name) + math.ceil(order.lines / 2))
        targets.say(name, {"batch_full_ms": 0, "batch_off_ms": 0, "batch_reason": "", "batch_rows": rows})
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

    def _off(self, name: str, reason: str) -> None:
        until_ms = self._context.clock.now_ms() + int(1000 * OFF_S)
        self._context.targets.say(name, {"batch_off_ms": until_ms, "batch_reason": reason[:300]})
