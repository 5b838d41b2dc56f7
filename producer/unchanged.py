"""Whether the sources of a run that begins again are what they were, by their size, time and digest; no row is read."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import SourceError
from pipelines.files import changed, shown_url
from pipelines.types import Source
from producer.runs import RunView
from producer.sources import inspect


def difference(old: tuple[Source, ...], now: tuple[Source, ...]) -> str | None:
    """The first source that is not what it was, in words; both name the same files."""
    for before, after in zip(old, now, strict=True):
        if said := changed(before, after):
            return f"{shown_url(after.url)} changed ({said})"
    return None


def refusal(differs: str, run_id: str) -> SourceError:
    remedy = "put it back to resume, or start anew with --fresh"
    return SourceError(f"{differs} since run {run_id} began, which is not finished; {remedy}")


def check(run: RunView) -> None:
    """Raises SourceError when a source that can be seen from here is not what it was; workers look for themselves."""
    here = tuple(source for source in run.sources if "://" in source.url or Path(source.url).exists())
    if differs := difference(here, tuple(inspect(source.url) for source in here)):
        raise SourceError(f"{differs} since run {run.run_id} began; put it back to retry")
