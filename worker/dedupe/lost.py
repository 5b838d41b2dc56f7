"""The list of ended runs, where it is missing: made again, once for all clients, from the runs' own records.

Whoever deletes `index/` takes it for a cache; the runs' records say as well whose a run is and when it ended.
"""

from __future__ import annotations

import logging

from pipelines import paths, wire
from pipelines.errors import Missing
from worker.dedupe import answered
from worker.dedupe.ended import ended_since
from worker.store import Store

log = logging.getLogger("spillway.dedupe")


def find_again(store: Store, since_ms: int, now_ms: int) -> None:
    """Lists the runs that ended after `since_ms` and are not listed. The mark is written last: who is killed begins anew."""
    if store.exists(paths.index_whole()):
        return
    listed: dict[str, set[str]] = {}
    found = unsound = 0
    for record in store.names("runs"):
        run_id = record.rsplit("/", 1)[1].removesuffix(".json")
        try:
            said = _ended(store, run_id, now_ms)
        except (ValueError, Missing):
            unsound += 1
            continue
        if said is None or said[1] <= since_ms:
            continue
        client, finished_ms = said
        if client not in listed:
            listed[client] = _listed(store, client)
        if run_id in listed[client]:
            continue
        if store.exists(paths.results(run_id)):
            store.write_bytes(paths.ended_run(client, finished_ms, run_id), b"")
            found += 1
        else:
            unsound += 1
    if found or unsound:
        log.warning(
            "the list of ended runs (index/) was not whole: by their records %d ended runs are found again; %d records cannot be used, "
            "what their runs answered is asked again",
            found,
            unsound,
        )
    store.write_bytes(paths.index_whole(), b"")


def _ended(store: Store, run_id: str, now_ms: int) -> tuple[str, int] | None:
    """Whose a run is and when it ended; None for an open one. ValueError for a record that does not say it."""
    said = wire.load_object(store.read_bytes(paths.run_record(run_id)))
    client, finished_ms = said.get("client") or "default", said.get("finished_ms")
    if said.get("run_id") != run_id or not isinstance(client, str):
        raise ValueError("no record of this run")
    if finished_ms is None:
        return None
    if type(finished_ms) is not int or not 0 < finished_ms <= now_ms:
        raise ValueError("nobody knows how old its answers are")
    return client, finished_ms


def _listed(store: Store, client: str) -> set[str]:
    """A client's runs that have a name of their own, or are in a file with others."""
    by_name = {run for _, run in ended_since(store, client, 0)}
    files = answered.merged_since(store, client, 0)
    return by_name.union(*(answered.runs_of(store, name) for name in files))
