"""One firing of a schedule as a value: what it takes, the run it makes, and the name under which that run is known."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b

import msgspec

from pipelines.types import Options, Source

BY_CLOCK, BY_HAND = "clock", "hand"


class Firing(msgspec.Struct, frozen=True):
    """Decided once and written down before anything comes of it, so that whoever carries it out does the same."""

    schedule: str
    due_ms: int
    at_ms: int
    cause: str  # clock | hand
    run_id: str = ""  # empty: nothing to run
    client: str = "default"
    sources: tuple[Source, ...] = ()
    options: Options = Options()
    estimate: tuple[int, int] = (0, 0)  # rows, bytes
    message: str = ""  # why there is no run, or which files were left for the next time

    @property
    def origin(self) -> str:
        """What the run says of where it comes from; names of schedules have no @."""
        return f"{self.schedule}@{self.due_ms}"


class Past(msgspec.Struct, frozen=True):
    """A firing that was carried out, as the history keeps it."""

    due_ms: int
    at_ms: int
    cause: str
    run_id: str
    files: int
    message: str


def past(of: Firing) -> Past:
    return Past(of.due_ms, of.at_ms, of.cause, of.run_id, len(of.sources), of.message)


def run_id(schedule: str, due_ms: int, at_ms: int) -> str:
    """The same for the same firing, unlike for any other."""
    digest = blake2b(f"{schedule}@{due_ms}".encode(), digest_size=6).hexdigest()
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y%m%d-%H%M%S}-{digest}"


def of_origin(origin: object) -> tuple[str, int]:
    """Schedule and due time (unix ms) of a run's origin; an empty name for runs that somebody else started."""
    name, _, due = str(origin or "").rpartition("@")
    return (name, int(due)) if name and due.isdecimal() else ("", 0)
