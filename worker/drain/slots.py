"""A target's concurrency cap across all workers: leased blocks of slots, shared by what each could use."""

from __future__ import annotations

from pipelines import wire
from worker.queue import Scripts

LEASE_MS = 10_000


class Slots:
    """This process' share of one target's slots: `granted` are ours, `aim` of them should be used; `others` are those of others."""

    def __init__(self, scripts: Scripts, keys: wire.Keys, target: str, owner: str) -> None:
        self._scripts, self._key, self._owner = scripts, keys.slots(target), owner
        self.granted = 0
        self.aim = 0
        self.others = 0

    async def renew(self, want: int, in_use: int, cap: int) -> None:
        """Asks for `want` slots and keeps those `in_use`; call at least every LEASE_MS / 3."""
        args = [self._owner, max(want, in_use), in_use, cap, LEASE_MS]
        self.granted, self.aim, self.others = map(int, await self._scripts.slots(keys=[self._key], args=args))

    @property
    def share(self) -> float:
        """Our part of the slots that are granted: so much of what keeping the server busy costs is ours."""
        return max(1, self.granted) / (max(1, self.granted) + self.others)
