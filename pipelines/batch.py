"""Cuts a chunk's prompts into batches of one route, sized by lane time; common prefixes stay together, then like lengths:
what a batch saves for its local time is true of each of its prompts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from hashlib import blake2b
from zlib import crc32

import msgspec

from pipelines.types import BatchHead, Item, Options

MIN_ROWS, MAX_ROWS, MAX_BYTES = 16, 256, 1 << 20
LANE_TIME_S = 15.0
SOON_S, SOON_ROWS, LEAST_ROWS, SOON_SHARE, SOON_PARTS = 900.0, 4, 2, 300, 200
"""Of a run that is due so soon a batch may be that small, of few prompts even of two, `SOON_SHARE` to one: four long ones are a
tenth of what a small lane does in a minute. And it is no more than one of so many parts of the lane's time: what such a run spills,
and what it tries first, is cut as finely."""
PREFILL_WEIGHT = 0.1
"""Cost of a prefill token in decode tokens (SCHEDULING.md: alpha is typically 0.05-0.25); measured later."""
DEFAULT_OUTPUT_TOKENS = 200
SERIAL_TOKENS_PER_S = 30.0
GROUP_ROWS, GROUP_SHARE = 64, 16
"""Fewer prompts of a chunk that begin alike, or of a small one a smaller part of it, are no group of their own: batches would
get small. In a chunk of any size it is the same kinds of prompts that are many."""
BEGINNINGS = (None, 128, 64)
"""Of a prompt's body, in bytes: the longest that is shared by many names its group."""

SUMS = ("input_tokens", "output_tokens", "cloud_pusd", "max_tokens")
"""Of a batch's head, over all its rows."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A prompt that has to be answered, with what packing needs to know; `form`: free text, labels or a schema."""

    item: Item
    route: str
    prefix: bytes
    output_tokens: int
    form: str = ""


def output_estimate(max_tokens: int, labels: tuple[str, ...] | None) -> int:
    """Output tokens to expect before anything was measured."""
    guess = max((len(label) for label in labels), default=4) // 3 + 2 if labels else DEFAULT_OUTPUT_TOKENS
    return min(guess, max_tokens) if max_tokens else guess


def form_of(options: Options) -> str:
    """What answers are asked for: labels, a schema, or free text."""
    return "labels" if options.labels else "schema" if options.schema else "text"


def unmeasured(route: str, max_tokens: int, options: Options) -> int:
    """The same for a row of a route, whichever that is; a plan that knows more takes pipelines/lengths.py instead."""
    return output_estimate(max_tokens, options.labels)


def work(input_tokens: int, output_tokens: int) -> float:
    """Local work of one prompt in decode-token equivalents."""
    return PREFILL_WEIGHT * input_tokens + output_tokens


def rows_per_batch(rows_per_s: float, deadline_s: float | None = None, rows: int = SOON_ROWS * SOON_SHARE) -> int:
    """Batch size of so many prompts for a lane that answers `rows_per_s`; the smallest size while that is unknown."""
    least, lane_s = MIN_ROWS, LANE_TIME_S / 4
    if deadline_s is not None and deadline_s <= SOON_S:
        least, lane_s = min(SOON_ROWS, max(LEAST_ROWS, rows // SOON_SHARE)), min(lane_s, deadline_s / SOON_PARTS)
    return max(least, min(MAX_ROWS, round(rows_per_s * lane_s)))


def pack(
    asked: Iterable[Asked],
    rows_per_s: dict[str, float],
    deadline_s: float | None = None,
    known: Set[str] = frozenset(),
) -> list[tuple[str, list[Asked]]]:
    """Batches of one route and group each, with the group's name; at most `rows_per_batch` prompts or MAX_BYTES; deterministic.

    `rows_per_s` gives the measured rate of each route's first lane, `deadline_s` the run's time; groups of `known` are such
    however few prompts they have.
    """
    by_route: dict[str, list[Asked]] = {}
    for one in asked:
        by_route.setdefault(one.route, []).append(one)
    batches: list[tuple[str, list[Asked]]] = []
    for route in sorted(by_route):
        limit = rows_per_batch(rows_per_s.get(route, 0.0), deadline_s, len(by_route[route]))
        for group, grouped in sorted(groups(by_route[route], known).items()):
            batches.extend((group, batch) for batch in _cut(_ordered(grouped), limit))
    return batches


def _ordered(grouped: list[Asked]) -> list[Asked]:
    """Beginnings that are shared stay together, since servers keep them; all others by their lengths alone."""
    shared = Counter(one.prefix for one in grouped)
    return sorted(
        grouped,
        key=lambda one: (one.prefix if shared[one.prefix] > 1 else b"", one.item.input_tokens, one.item.row),
    )


def groups(asked: Sequence[Asked], known: Set[str] = frozenset()) -> dict[str, list[Asked]]:
    """Prompts that likely get answers of like lengths, by a name that later runs will give them too: one route and form,
    `max_tokens` up to the same power of two, and the longest beginning that names one of the `known` groups, else the longest that
    many have, if any."""
    many = min(GROUP_ROWS, max(MIN_ROWS, len(asked) // GROUP_SHARE))
    found: dict[str, list[Asked]] = {}
    left = list(asked)
    for size, least in [(size, math.inf) for size in BEGINNINGS if known] + [(size, many) for size in BEGINNINGS]:
        begun: dict[tuple[int, bytes], list[Asked]] = {}
        for one in left:
            begun.setdefault((one.item.max_tokens.bit_length(), one.prefix[:size]), []).append(one)
        left = []
        for (bits, beginning), members in begun.items():
            name = f"{members[0].route} {members[0].form} {bits} {crc32(beginning):08x}"
            if len(members) >= least or name in known:
                found.setdefault(name, []).extend(members)
            else:
                left += members
    for one in left:
        found.setdefault(f"{one.route} {one.form} {one.item.max_tokens.bit_length()} ", []).append(one)
    return found


def _cut(ordered: Sequence[Asked], limit: int) -> list[list[Asked]]:
    batches: list[list[Asked]] = []
    size = 0
    for one in ordered:
        length = len(one.item.body)
        if not batches or len(batches[-1]) >= limit or size + length > MAX_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(one)
        size += length
    return batches


def cut_of(items: list[Item]) -> str:
    """Names the rows of a batch, so that a chunk which is cut in another way names other batches."""
    return blake2b(b",".join(b"%d" % item.row for item in items), digest_size=4).hexdigest()


def rest(head: BatchHead, left: int) -> BatchHead:
    """What is known of a batch that came back with so many rows unanswered (0: it never did), as if it had been cut so."""
    if not 0 < left < head.rows:
        return head
    share = left / head.rows
    scaled = {name: round(share * getattr(head, name)) for name in SUMS}
    return msgspec.structs.replace(head, rows=left, work=share * head.work, **scaled)
