"""What every request works with: settings, Redis with its names, and the data root. Opened once by `app.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Annotated, NamedTuple

from fastapi import Depends, Request

from pipelines import wire
from pipelines.settings import Settings
from producer.answers import Answers
from producer.api.likely import Likely
from producer.clients import Found
from producer.inbox import Inboxes
from producer.queue import Redis
from producer.records import Records
from producer.store import Store
from producer.together import Together


class State(NamedTuple):
    """One server's things; the same for all its requests."""

    settings: Settings
    redis: Redis
    keys: wire.Keys
    records: Records
    bell: asyncio.Queue[str]
    inboxes: Inboxes
    answers: Answers
    finder: Together[str, Found | None]
    """Whose key it is."""
    likely: Likely
    models: Callable[[str], Collection[str] | None]
    """What a client's rows may name; None where any may, because this process knows no targets."""

    @property
    def store(self) -> Store:
        """The data root's files."""
        return self.records.store

    def wake(self, batch_id: str) -> None:
        """There is something to do for this batch; what is not told is found soon all the same."""
        self.bell.put_nowait(batch_id)


async def state_of(request: Request) -> State:
    state: State = request.app.state.spillway
    return state


Here = Annotated[State, Depends(state_of)]
