"""A provider's asynchronous batch API as values: what is asked, where it stands, what came back; each provider's own file
(`*_batches.py`) speaks its shape.

Nothing here decides when to ask or what an answer costs (worker/provider_batches does). Trouble is a Failure, never an
exception; a `create` whose Failure is of kind `unknown` or `transient` may have made the batch all the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast
from urllib.parse import quote

import msgspec

from pipelines.config.sections import BATCH_APIS, Target
from pipelines.types import Failure
from worker.backends import failures
from worker.backends.exchange import Response
from worker.backends.lenient import decode

if TYPE_CHECKING:
    from worker.backends.http import Web

PAGE, MOST_PAGES = 100, 20
"""Of a provider's list of batches."""
SHORT_S, LONG_S = 30.0, 600.0
"""For a request; for one that carries all lines of a batch, or their results."""
SKEW_S = 60
"""By so much a provider's clock may differ from ours."""


class Line(NamedTuple):
    """One request: our name for it ([A-Za-z0-9_-], at most 64 characters), its address and body as for one call."""

    custom_id: str
    url: str
    body: bytes


class Sought(NamedTuple):
    """What is known of a batch that may exist: the tag it was given, how many lines it has, from when on (unix seconds),
    and ids of batches that are certainly others. `ruled_out`: those that proved to be, which whoever finds out adds."""

    tag: str
    lines: int
    since_s: float
    others: frozenset[str]
    ruled_out: set[str]


class Remote(msgspec.Struct, frozen=True):
    """A batch as the provider tells of it. `handles`: the provider's own names for what is to be fetched; `answered`: of how many
    lines it says that they were, 0 where it says nothing."""

    id: str
    state: Literal["open", "ended", "failed"]
    """`failed`: nothing of it was run, and nothing will be."""
    code: str = ""
    """Why it ended early: expired, cancelled, or the provider's code of a failure."""
    message: str = ""
    handles: tuple[str, ...] = ()
    answered: int = 0


class NotRun(NamedTuple):
    """A line that was never executed, and is not paid."""

    code: str


class Result(NamedTuple):
    """What became of one line: an answer or an error as a call would have had it, or that it never ran."""

    custom_id: str
    outcome: Response | NotRun


class Results(NamedTuple):
    """All that came back; `unreadable` lines may have been anybody's."""

    lines: list[Result]
    unreadable: int = 0


class BatchApi(Protocol):
    """What a provider's file offers as `API`."""

    most_lines: int
    most_bytes: int
    create_s: float
    """So long a `create` is listened to at most."""

    async def stage(self, web: Web, target: Target, tag: str, lines: Sequence[Line]) -> bytes | Failure:
        """Gets everything ready but the batch itself, at no cost; the body with which `create` makes it."""
        ...

    async def create(self, web: Web, target: Target, staged: bytes) -> Remote | Failure: ...

    async def find(self, web: Web, target: Target, sought: Sought) -> Remote | Failure | None:
        """The batch with a tag, if there is one; None when there certainly is none by now."""
        ...

    async def look(self, web: Web, target: Target, identity: str) -> Remote | Failure: ...

    async def cancel(self, web: Web, target: Target, identity: str) -> Failure | None:
        """Asks a batch to stop; one that has ended already is fine."""
        ...

    async def results(self, web: Web, target: Target, remote: Remote) -> Results | Failure: ...


@cache
def load(kind: str) -> BatchApi | None:
    """The batch API of a target's kind, or None."""
    name = BATCH_APIS.get(kind)
    return cast(BatchApi, import_module(f"worker.backends.{name}").API) if name else None


class Listing(NamedTuple):
    """How a provider lists its batches: in unix seconds when each was made (0: it does not say), where they are, what the size
    of a page and where it begins are called, and whether an empty list is left out."""

    made_s: Callable[[dict[str, Any]], float]
    rows: str = "data"
    size: str = "limit"
    after: str = "after"
    lacks_empty: bool = False


async def pages(
    web: Web, url: str, headers: Mapping[str, str], sought: Sought, listing: Listing
) -> AsyncIterator[list[dict[str, Any]] | Failure]:
    """The list as far back as the batch that is sought may be. A Failure when it was not read so far: what is not among its rows
    may be there all the same."""
    after = ""
    for _ in range(MOST_PAGES):
        page = answer(await web.get(f"{url}?{listing.size}={PAGE}{after}", headers))
        if isinstance(page, Failure):
            yield page
            return
        rows = page.get(listing.rows, [] if listing.lacks_empty else None)
        if type(rows) is not list or not all(type(row) is dict for row in rows):
            yield garbled("a list of batches that is none")
            return
        yield rows
        last = rows[-1].get("id") if rows else None
        more = last if page.get("has_more") else page.get("nextPageToken")
        if not (page.get("has_more") or more) or _reaches(rows, listing, sought.since_s - SKEW_S):
            return
        if type(more) is not str or not more:
            yield garbled("a list of batches that goes on, and does not say where")
            return
        after = f"&{listing.after}={quote(more, safe='')}"
    yield Failure("unknown", "list_too_long", f"a list of more than {MOST_PAGES} pages of batches")


def _reaches(rows: list[dict[str, Any]], listing: Listing, since_s: float) -> bool:
    """Whether a page, the newest first, ends before that time."""
    made = [listing.made_s(row) for row in rows]
    return bool(made) and made == sorted(made, reverse=True) and 0 < made[-1] < since_s


async def likely(
    listed: AsyncIterator[list[dict[str, Any]] | Failure], sought: Sought, listing: Listing,
    fits: Callable[[dict[str, Any]], bool], remote_of: Callable[[Any], Remote | Failure],
) -> list[Remote] | Failure:  # fmt: skip
    """Batches of a list that may be the one that is sought: new enough, `fits`, and no other of ours. A Failure when one of
    them, or the list, cannot be read."""
    found: list[Remote] = []
    async for rows in listed:
        if isinstance(rows, Failure):
            return rows
        for row in rows:
            if listing.made_s(row) < sought.since_s - SKEW_S or not fits(row):
                continue
            if isinstance(remote := remote_of(row), Failure):
                return remote
            if remote.id not in sought.others | sought.ruled_out:
                found.append(remote)
    return found


async def proven(
    api: BatchApi, web: Web, target: Target, sought: Sought, candidates: Sequence[Remote]
) -> Remote | Failure | None:
    """Which of some batches is the one that is sought, where no tag says it: the one whose results have our names. A Failure:
    one that is still at work may be it, and somebody else's must be neither cancelled nor booked."""
    for remote in candidates:
        results = await api.results(web, target, remote) if remote.state == "ended" else Results([])
        if isinstance(results, Failure):
            return results
        if any(line.custom_id.startswith(sought.tag) for line in results.lines):
            return remote
        if results.lines and not results.unreadable:
            sought.ruled_out.add(remote.id)  # its results need not be read at every look
    if any(remote.state == "open" for remote in candidates):
        return Failure("unknown", "ambiguous", "a batch that is not done yet may be it; its results will say so")
    return None


def answer(response: Response | Failure, *, ok: tuple[int, ...] = (200,)) -> Any | Failure:
    """The decoded JSON object of a good reply; a Failure for anything else."""
    if isinstance(response, Failure):
        return response
    data = decode(response.body)
    if response.status not in ok:
        return failures.failure(response, failures.told(data))
    return data if type(data) is dict else failures.not_json(response)


def content(response: Response | Failure) -> bytes | Failure:
    """The body of a good reply, whatever it holds; a Failure for anything else."""
    if isinstance(response, Failure):
        return response
    return response.body if response.status == 200 else failures.failure(response, failures.told(decode(response.body)))


def stopped(said: Any | Failure) -> Failure | None:
    """What a cancel means: a batch that has ended already cannot be cancelled, and need not be."""
    return said if isinstance(said, Failure) and said.http_status not in (400, 409) else None


def results_of(found: Iterable[Result | None]) -> Results:
    """None: a line that could not be read."""
    read = list(found)
    lines = [result for result in read if result is not None]
    return Results(lines, len(read) - len(lines))


def each_line(data: bytes, result: Callable[[bytes], Result]) -> Iterator[Result | None]:
    """What `result` makes of each line of a file; None for one that it cannot read."""
    for raw in data.splitlines():
        if not raw.strip():
            continue
        try:
            yield result(raw)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            yield None


def garbled(what: str) -> Failure:
    """A reply that is JSON, but not what was asked for."""
    return Failure("unknown", "not_understood", f"HTTP 200: {what}", 200)


def number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def moment_s(value: Any) -> float:
    """Unix seconds of a time that is written out; 0 when it is none."""
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError):
        return 0.0


def text(value: Any) -> str:
    return value if type(value) is str else ""


def counted(row: Mapping[str, Any], name: str) -> int:
    """One of the figures of `request_counts`; 0 where there is none."""
    counts = row.get("request_counts")
    found = counts.get(name) if type(counts) is dict else 0
    return found if type(found) is int else 0


def is_id(value: Any) -> bool:
    """Whether it may stand in an address as one step of a path."""
    return type(value) is str and 0 < len(value) <= 200 and all(c.isalnum() or c in "-_." for c in value)
