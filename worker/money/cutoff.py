"""The emergency cut-off: closes cloud targets for everybody while the day's observed spend is at its limit."""

from __future__ import annotations

import logging

from pipelines import budgets
from pipelines.budgets import CUTOFF, Scope
from pipelines.money import usd_to_nusd
from worker.context import Context
from worker.money import budget
from worker.money.reported import Reported

log = logging.getLogger("spillway.cutoff")


class Cutoff:
    """Closes, keeps closed against reports of other workers, and opens again what it closed itself."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reported = Reported(context)

    async def step(self, day: str) -> Scope | None:
        """The limit and what was spent, when it is reached; None otherwise."""
        scope = await self._scope(day)
        reached = scope.limit_nusd is not None and scope.spent_nusd >= scope.limit_nusd
        changed = self._close(day, scope) if reached else self._open()
        if changed:
            await self._context.targets.publish(self._context.redis, self._context.keys)
        return scope if reached else None

    async def _scope(self, day: str) -> Scope:
        """What the day has cost (settled, and presumed where nothing was heard) and what others have spent with our keys,
        under the cut-off's own limit."""
        context, name = self._context, f"{CUTOFF}:{day}"
        usd = context.settings.budget.emergency_cutoff_usd
        if usd is not None:
            await budget.ensure(context.redis, context.keys, {name: usd_to_nusd(usd)})
        found = {each.name: each for each in await budget.look(context.redis, context.keys, [name, f"day:{day}"])}
        spent = found.get(f"day:{day}", Scope(name, None))
        limit = found[name].limit_nusd if name in found else None
        others = await self._reported.others_nusd(day) if limit is not None else 0
        return Scope(name, limit, spent.spent_nusd + others, spent.reserved_nusd)

    def _close(self, day: str, scope: Scope) -> bool:
        targets = self._context.targets
        still_open = [
            name
            for name, target in self._context.settings.targets.items()
            if target.lane == "cloud" and not targets.states.get(name, {}).get("closed")
        ]
        for name in still_open:
            targets.close(name, budgets.cutoff_text(day, scope.spent_nusd, scope.limit_nusd or 0))
            targets.say(name, {"cutoff": day})
        return bool(still_open)

    def _open(self) -> bool:
        targets = self._context.targets
        ours = [name for name in self._context.settings.targets if targets.states.get(name, {}).get("cutoff")]
        for name in ours:
            log.info("target %s is open again: the cut-off is no longer reached", name)
            targets.open(name)
        return bool(ours)
