"""What every request works with: settings, Redis with its names, and the data root. Opened once by `app.py`."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from fastapi import Depends, Request

from pipelines import wire
from pipelines.settings import Settings
from producer.queue import Redis
from producer.records import Records


class State(NamedTuple):
    """One server's things; the same for all its requests."""

    settings: Settings
    redis: Redis
    keys: wire.Keys
    records: Records


def _state(request: Request) -> State:
    state: State = request.app.state.spillway
    return state


Here = Annotated[State, Depends(_state)]
