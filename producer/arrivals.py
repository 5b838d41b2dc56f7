"""Which files of a schedule's source are new, or changed, since its last firings took them. Nothing is moved or deleted.

A file is known by its URL, size, time and digest; one that was only touched is not new. A file that cannot be used (empty,
damaged, in the middle of being copied) is left for the next time and does not hold up the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from pipelines import firing, wire
from pipelines.errors import NothingMatches, SourceError
from pipelines.files import shown_url
from pipelines.types import Source
from producer.records import Records
from producer.sources import estimate, expand, inspect, written

MOST_FILES = 10_000
"""Files of one firing; the rest is taken by the next one."""
REMEMBERED_RUNS = 500


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """How a file was when it was taken."""

    size_bytes: int
    mtime_ns: int
    digest: str


class Arrivals(NamedTuple):
    """Files to take in order of their names, with their rows and bytes; what could not be used, with the reason; known
    files that were touched."""

    sources: tuple[Source, ...]
    estimate: tuple[int, int]
    unusable: dict[str, str]
    touched: dict[str, Mark]


def mark(source: Source) -> Mark:
    return Mark(source.size_bytes, source.mtime_ns, source.digest)


def look(patterns: tuple[str, ...], taken: Mapping[str, Mark]) -> Arrivals:
    """What is there now and was not taken yet. A pattern that matches nothing is no error; a named file that is not
    there is one (SourceError)."""
    sources: list[Source] = []
    sizes: list[tuple[int, int]] = []
    unusable: dict[str, str] = {}
    touched: dict[str, Mark] = {}
    for url in _there(patterns):
        if len(sources) == MOST_FILES:
            unusable[url] = f"more than {MOST_FILES} files at once"
            break
        known = taken.get(url)
        try:
            if known is not None and written(url) == (known.size_bytes, known.mtime_ns):
                continue
            source = inspect(url)
            size = estimate(source)
        except (SourceError, OSError) as error:
            unusable[url] = str(error)
            continue
        if known is not None and (known.size_bytes, known.digest) == (source.size_bytes, source.digest):
            touched[url] = mark(source)
        else:
            sources.append(source)
            sizes.append(size)
    return Arrivals(tuple(sources), (sum(rows for rows, _ in sizes), sum(each for _, each in sizes)), unusable, touched)


def _there(patterns: tuple[str, ...]) -> list[str]:
    found: dict[str, None] = {}
    for pattern in patterns:
        try:
            found.update(dict.fromkeys(expand(pattern)))
        except NothingMatches:
            continue
        except OSError as error:
            raise SourceError(f"{shown_url(pattern)[:200]}: cannot be looked at ({error.strerror or error})") from None
    return list(found)


def remembered(records: Records, schedule: str) -> tuple[int, dict[str, Mark]]:
    """What the records of ended runs say that a schedule has done, for a Redis that has lost it: the last time that it
    was due (unix ms, 0: never) and the files that it took."""
    last_ms, taken = 0, dict[str, Mark]()
    for run_id in records.ids()[:REMEMBERED_RUNS]:
        record = records.read(run_id) or {}
        name, due_ms = firing.of_origin(record.get("origin"))
        if name != schedule or record.get("status") not in wire.RUN_ENDED:
            continue
        last_ms = max(last_ms, due_ms)
        for source in wire.unpack_sources(wire.dump(record.get("sources", []))):
            taken.setdefault(source.url, mark(source))  # newest first
    return last_ms, taken
