"""For tests/benchmarks/safety.py only: a worker that sends calls before their intent is in Redis and counts no money."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.types import Entry, Intent
from worker.drain.journal import Holding, Journal

_append = Journal.append


def append(
    self: Journal, holding: Holding, scopes: tuple[str, ...], entries: Sequence[Entry], reserved: int, spent: int
) -> None:
    _append(self, holding, (), entries, 0, 0)


async def intent(self: Journal, holding: Holding, scopes: tuple[str, ...], intent: Intent) -> bool:
    _append(self, holding, (), [intent], 0, 0)
    return True


Journal.append, Journal.intent = append, intent  # type: ignore[method-assign]
