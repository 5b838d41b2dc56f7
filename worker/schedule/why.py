"""Why a run does not move, in words for people; said once it has held longer than a passing trouble would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any

from pipelines.planning.snapshot import RunView, Snapshot
from pipelines.types import BatchHead
from worker.targets import BREAKER_MS, Targets
from worker.timing import SILENT_MS

DOWN_GRACE_MS = 30_000
SOON_MS = 600_000
"""A target that named a wait, or loads its model, is waited for, if it is no longer than this."""
FLAP_GRACE_MS = 2_000


def _back_soon(state: Mapping[str, Any], now_ms: int) -> bool:
    """Whether it is down because it asked for a wait, and not for long, or because it loads its model. A breaker's own pause
    says nothing of that."""
    if state.get("closed"):
        return False
    if "loading" in str(state.get("reason")) and not state.get("up", True):
        return now_ms - (state.get("changed_ms") or 0) < SOON_MS
    return now_ms + 2 * BREAKER_MS < (state.get("until_ms") or 0) <= now_ms + SOON_MS


def _may_order(view: RunView, snapshot: Snapshot, names: Set[str]) -> bool:
    """Whether plan gives a batch API something now and then while the local lane is down, and has time."""
    return bool(names & snapshot.batch_targets.keys()) and any(batch.lanes != "local" for batch in view.waiting)


class Why:
    """Remembers since when each run has been stuck."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._since: dict[str, int] = {}

    def stuck(self, view: RunView, snapshot: Snapshot, refused_by: str) -> str:
        """The reason, or nothing yet; `refused_by` is the budget scope that the next call did not fit into."""
        now = snapshot.now_ms
        since = self._since.setdefault(view.id, now)
        if not view.may_buy:
            remedy = f"raise it (`spillway budget set {refused_by} USD`) or wait until it turns"
            return f"budget {refused_by}: the next call does not fit; {remedy}"
        if gone := sorted({batch.route for batch in view.waiting} - snapshot.routes.keys()):
            return (
                f"no route {', '.join(gone)} in the configuration of the workers: put it back, or `spillway cancel {view.id}` "
                "ends the run with what it has"
            )
        names = {name for batch in view.waiting for name in snapshot.routes.get(batch.route, ())}
        down = {name: self._targets.states.get(name, {}) for name in sorted(names) if not snapshot.targets[name].up}
        waits = len(down) < len(names) and (view.deadline_ms is not None or _may_order(view, snapshot, names))
        if not down or waits or any(_back_soon(state, now) for state in down.values()):
            self._since.pop(view.id, None)
            return ""
        closed = all(state.get("closed") for state in down.values())
        if now - since < (FLAP_GRACE_MS if closed else DOWN_GRACE_MS):
            return ""
        return "no target is up: " + "; ".join(f"{name}: {state.get('reason', 'down')}" for name, state in down.items())

    def silent(self, view: RunView, snapshot: Snapshot, rung: Sequence[BatchHead]) -> str:
        """Targets that look well but have answered nothing for a while: trying them goes on, waiting for them need not."""
        routes = {batch.route for batch in view.waiting} | {head.route for head in rung if head.run == view.id}
        names = sorted({name for route in routes for name in snapshot.routes.get(route, ())})
        states = {name: self._targets.states.get(name, {}) for name in names}
        late = snapshot.now_ms - SILENT_MS
        failing = {name for name, state in states.items() if 0 < (state.get("failing_since") or 0) < late}
        others = [state for name, state in states.items() if name not in failing]
        if not failing or any(state.get("up", True) for state in others):
            return ""
        if any(_back_soon(state, snapshot.now_ms) for state in states.values()):
            return ""
        return "no target answers: " + "; ".join(
            f"{name}: {state.get('reason') or 'fails'}" for name, state in states.items()
        )
