"""Which runs of a client have ended and when: one empty file each, so that old runs cost a name and not a look inside."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines import paths
from worker.store import Store


def mark_ended(store: Store, client: str, finished_ms: int, run_id: str) -> None:
    """Says that a run's answers may be reused; a run that ends again (resume, retry) is there once."""
    store.write_bytes(paths.ended_run(client, finished_ms, run_id), b"")
    for name, (when_ms, run) in _marks(store, client):
        if run == run_id and when_ms != finished_ms:
            store.delete(name)


def unmark(store: Store, client: str, runs: Sequence[tuple[int, str]]) -> None:
    """Forgets the names of these runs, (when, run)."""
    for when_ms, run_id in runs:
        store.delete(paths.ended_run(client, when_ms, run_id))


def ended_since(store: Store, client: str, since_ms: int) -> list[tuple[int, str]]:
    """(when, run) of the client's runs that ended after that moment, newest first; earlier ones are forgotten."""
    found = []
    for name, (when_ms, run) in _marks(store, client):
        if when_ms > since_ms:
            found.append((when_ms, run))
        else:
            store.delete(name)
    return sorted(found, reverse=True)


def _marks(store: Store, client: str) -> list[tuple[str, tuple[int, str]]]:
    names = store.names(paths.ended_dir(client))
    return [(name, mark) for name in names if (mark := paths.of_ended_run(name))]
