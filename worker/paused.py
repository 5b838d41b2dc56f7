"""Which reuse is paused, as the audits under the data root tell it: for `spillway plan`, and for a Redis that has forgotten it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime

from pipelines import paths, pauses
from pipelines.config.sections import Route
from pipelines.pauses import Pause, Said
from worker.store import Store


def on_disk(store: Store, routes: Mapping[str, Route], now: datetime) -> dict[str, Pause]:
    """By name (audit.pause_name). Blocking."""
    allowed = {name: route.max_false_reuse for name, route in routes.items()}
    return pauses.of_audits(_runs(store, now), allowed, now)


def _runs(store: Store, now: datetime) -> Iterator[tuple[date, list[Said]]]:
    """Audits of each run that ended of late, and the day of its end."""
    for day in pauses.days(now):
        for name in store.names(paths.audits_day(day.isoformat())):
            try:
                table = store.sound_table(name, columns=pauses.COLUMNS)
            except (KeyError, ValueError):  # not all of these are there
                continue
            if table is not None:
                yield day, pauses.said(table)
