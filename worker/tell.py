"""Tells of an event in the log and as a row under events/. It never holds up the work, nor decides; webhooks and mails are
hooks.py's."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from datetime import UTC, date, datetime

from pipelines import paths
from pipelines.budgets import Event
from pipelines.errors import StoreError
from worker.context import Context

log = logging.getLogger("spillway.alerts")


class Teller:
    """Rows under way; `finish` waits a little for them when the process ends."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._under_way: set[asyncio.Task[None]] = set()

    def tell(self, event: Event) -> None:
        """Logs at once and starts the rest."""
        log.warning("%s", event.message)
        task = asyncio.ensure_future(self._row(event))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def finish(self, seconds: float) -> None:
        """Waits for rows that are under way, no longer than this."""
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=seconds)

    async def _row(self, event: Event) -> None:
        try:
            await asyncio.to_thread(_write_row, self._context, event)
        except (StoreError, OSError) as error:
            log.error("event not written: %s", error)


def _write_row(context: Context, event: Event) -> None:
    import pyarrow as pa

    from pipelines import schemas
    from pipelines.money import PUSD_PER_NUSD, pusd_to_usd

    at, scope = datetime.fromtimestamp(event.at_us / 1e6, UTC), event.scope
    name = f"{event.kind}-{hashlib.blake2b(f'{event.day} {scope.name}'.encode(), digest_size=8).hexdigest()}"
    limit = None if scope.limit_nusd is None else pusd_to_usd(scope.limit_nusd * PUSD_PER_NUSD)
    row = {
        "event_id": name, "at": at, "kind": event.kind, "day": date.fromisoformat(event.day), "scope": scope.name,
        "client": scope.client, "run_id": scope.run_id, "target": None, "limit_usd": limit,
        "spent_usd": pusd_to_usd(scope.spent_nusd * PUSD_PER_NUSD),
        "reserved_usd": pusd_to_usd(scope.reserved_nusd * PUSD_PER_NUSD), "message": event.message,
    }  # fmt: skip
    table = pa.Table.from_pylist([row], schema=schemas.EVENTS)
    context.store.write_table(paths.events_part(at.date().isoformat(), name), table)
