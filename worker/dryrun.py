"""`spillway plan`: what a run would be, without calling anybody: rows, duplicates, routes, tokens, cost and time.

The rows go through the same reader, duplicate stage, routing and prices as a real run; nothing is written or enqueued.
Lengths of answers are those of the client's earlier runs under the data root, by group, times those of all (measured.py);
without them, lengths are guessed (pipelines/lengths.py), as those of a new group are by its route's, and P90 takes three times
as many tokens and as much time. The spread of the whole is pipelines/planning/foresee.py's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from pipelines import lengths
from pipelines.batch import SERIAL_TOKENS_PER_S, work
from pipelines.latency import latency
from pipelines.lengths import Known
from pipelines.money import PUSD_PER_NUSD, pusd_to_usd_str
from pipelines.planning.capacity import GUESSED_LATENCY_S, GUESSED_TOKENS_PER_S
from pipelines.planning.foresee import (
    Basis,
    Lack,
    Numbers,
    Office,
    Part,
    Range,
    Work,
    done_in,
    foresee,
    in_words,
    lacking,
)
from pipelines.planning.snapshot import BatchTarget
from pipelines.settings import Settings
from pipelines.types import BatchHead, Options, Source
from worker.clock import Clock
from worker.dedupe.encode import Encoder
from worker.measured import Earlier, assumption, read
from worker.money.ledger import Ledger
from worker.paused import on_disk
from worker.prepare.ids import Ids
from worker.prepare.sift import Asker, Indexes, Sifter
from worker.sources.source import Cursor, Reader, template_of
from worker.store import Store
from worker.targets import Targets

CHUNK_ROWS, CHUNK_BYTES = 4096, 8 << 20


def plan_run(
    settings: Settings, sources: tuple[Source, ...], options: Options, client: str, deadline_s: float | None
) -> dict[str, Any]:
    """The figures of a dry run, money as decimal strings, times in seconds."""
    targets = Targets(settings, Clock())
    ledger = Ledger(settings, targets)
    sifter = Sifter(settings, ledger, Encoder(), targets.window)
    asker = Asker("plan", client, options)
    earlier, sources_of = read(Store(settings.spillway.data), options, client), dict[str, Counter[str]]()
    for (route, name), found in earlier.times.items():
        if name and not route and found.at_once:  # of those that find their number of calls at once by themselves
            targets.states[name] = {"cap": max(1, round(found.at_once))}

    def expect(route: str, max_tokens: int, asked: Options) -> int:
        tokens, source = lengths.expect(_measured(earlier.lengths, targets, route, "local"), max_tokens, asked)
        sources_of.setdefault(route, Counter())[source] += 1
        return tokens

    sifter.expect, sifter.groups = expect, frozenset(name for name, _ in earlier.lengths)
    sifter.paused = frozenset(held := on_disk(Store(settings.spillway.data), settings.routes, datetime.now(UTC)))
    template = template_of(options)
    reader, mode = Reader(sources, template), sifter.mode(asker)
    indexes = Indexes(sifter.index(mode) if mode != "off" else None, Ids())
    counts: Counter[str] = Counter()
    heads: list[BatchHead] = []
    cursor: Cursor | None = Cursor(0, 0, 0)
    while cursor is not None:
        rows, cursor = reader.read(cursor, CHUNK_ROWS, CHUNK_BYTES)
        chunk = sifter.sift(asker, indexes, rows, 0, ask=True)
        if indexes.questions is not None and chunk.screened is not None:
            indexes.questions.commit(chunk.screened, asker.id)
        if chunk.ids is not None:
            indexes.ids.learn(chunk.ids)
        counts.update(chunk.counts)
        heads.extend(head for head, _ in chunk.batches)
    offices = {
        route: _office(settings, targets, ledger, earlier.latencies, route) for route in {head.route for head in heads}
    }
    said = _figures(targets, ledger, earlier, sources_of, counts, heads, options, deadline_s, offices)
    felt = [held[name].message for name in sorted(held) if mode == "semantic" and name.split()[0] in offices]
    return said | {"assumption": "; ".join([said["assumption"], *felt])}


def _measured(known: Known, targets: Targets, route: str, lane: str, group: str = "") -> lengths.Measured | None:
    other = "cloud" if lane == "local" else "local"
    return lengths.of_route(
        known, route, targets.route_targets(route, lane), targets.route_targets(route, other), group
    )


def _answered(known: Known, targets: Targets, head: BatchHead, options: Options, lane: str) -> BatchHead:
    """A batch with answers as long as those of its group are on a lane."""
    found = _measured(known, targets, head.route, lane, head.group)
    if found is None:
        return head
    each, _ = lengths.expect(found, head.max_tokens // head.rows, options)
    tokens = each * head.rows
    return msgspec.structs.replace(head, output_tokens=tokens, work=work(head.input_tokens, tokens))


def _kind(known: Known, head: BatchHead) -> str:
    """Rows whose lengths are wrong together, if they are: those of a group that was measured, else of a route."""
    return head.group if (head.group, "") in known else head.route


def _figures(
    targets: Targets,
    ledger: Ledger,
    earlier: Earlier,
    sources_of: dict[str, Counter[str]],
    counts: Counter[str],
    heads: list[BatchHead],
    options: Options,
    deadline_s: float | None,
    offices: Mapping[str, Office | None],
) -> dict[str, Any]:
    bought = [_answered(earlier.lengths, targets, head, options, "cloud") for head in heads]
    heads = [_answered(earlier.lengths, targets, head, options, "local") for head in heads]
    parts = _parts(targets, ledger, earlier.times, heads, bought)
    kinds = [_kind(earlier.lengths, head) for head in heads]
    told = zip(parts, kinds, heads, strict=True)
    job = Work([part._replace(kind=kind, office=offices[head.route]) for part, kind, head in told])
    alike = {kind: [head for head, own in zip(heads, kinds, strict=True) if own == kind] for kind in job.kinds}
    seen = foresee(job, {kind: _known(targets, earlier, mine) for kind, mine in alike.items()}, deadline_s)
    lack = lacking(job, deadline_s, None if options.budget_nusd is None else options.budget_nusd * PUSD_PER_NUSD)
    kept = job.kept(math.inf if deadline_s is None else deadline_s)
    lanes = [
        _lane("local", targets, [heads[number] for number in job.order], kept, seen.home_pusd, seen.home_s),
        _lane("cloud", targets, [bought[number] for number in job.order], 1 - kept, seen.away_pusd, seen.away_s),
    ]
    routes = sorted({head.route for head in heads})
    everything = sum(ledger.cloud_estimate_pusd(h.route, h.input_tokens, h.output_tokens, h.rows) for h in bought)
    return {
        "rows": counts["rows"], "asked": counts["asked"], "duplicate": counts["duplicate"], "invalid": counts["invalid"],
        "routes": [_route(name, [h for h in heads if h.route == name], sources_of[name]) for name in routes],
        "lanes": lanes, "deadline_s": deadline_s, **_money(seen.pusd),
        **_times(done_in(seen.seconds, lack, deadline_s)), "all_cloud_usd": pusd_to_usd_str(everything), "lacks": _lacks(lack),
        "assumption": assumption(earlier.lengths, targets, heads),
    }  # fmt: skip


def _office(
    settings: Settings, targets: Targets, ledger: Ledger, latencies: Mapping[str, Sequence[float]], route: str
) -> Office | None:
    """The batch API of a route's first cloud target, if it is allowed to use it and cheaper by it, with what its orders took, else
    what such usually take."""
    name = _first("cloud", targets, route)
    if not name or not settings.targets[name].provider_batch or (price := ledger.batch_share(name)) >= 1:
        return None
    usual = BatchTarget(name, True, 0)
    return Office(price, *latency(latencies.get(name, ()), usual.latency_p50_s, usual.latency_p90_s))


def _lacks(found: Lack | None) -> dict[str, Any] | None:
    """None when the estimates fit into deadline and budget; else what would do: so much more money, or so much later."""
    if found is None:
        return None
    usd = None if found.pusd is None else pusd_to_usd_str(math.ceil(found.pusd))
    return {"usd": usd, "seconds": None if found.seconds is None else round(found.seconds, 1), "text": in_words(*found)}


def _parts(
    targets: Targets, ledger: Ledger, known: Known, heads: list[BatchHead], bought: list[BatchHead]
) -> list[Part]:
    """`bought`: the same as the cloud would answer them."""
    at_home, at_cloud = _usual(heads), _usual(bought)
    return [
        Part(
            head.route,
            _lane_s("local", targets, known, head, _slots("local", targets, [head]), at_home),
            _lane_s("cloud", targets, known, away, _slots("cloud", targets, [head]), at_cloud),
            _price(ledger, "local", head),
            _price(ledger, "cloud", away),
            home=_first("local", targets, head.route),
            away=_first("cloud", targets, head.route),
        )
        for head, away in zip(heads, bought, strict=True)
    ]


def _price(ledger: Ledger, lane: str, head: BatchHead) -> tuple[float, float]:
    tokens, rows = head.input_tokens, head.rows
    input_pusd = ledger.estimate_pusd(head.route, lane, tokens, 0, rows)
    return input_pusd, ledger.estimate_pusd(head.route, lane, tokens, head.output_tokens, rows) - input_pusd


def _slots(lane: str, targets: Targets, heads: list[BatchHead]) -> int:
    return sum(targets.cap(name) for name in {_first(lane, targets, head.route) for head in heads} - {""})


def _first(lane: str, targets: Targets, route: str) -> str:
    return next(iter(targets.route_targets(route, lane)), "")


def _usual(heads: list[BatchHead]) -> dict[str, float]:
    """Work of a row, by group and by route."""
    sums: dict[str, tuple[int, float]] = {}
    for head in heads:
        for name in {head.group, head.route}:
            rows, tokens = sums.get(name, (0, 0.0))
            sums[name] = rows + head.rows, tokens + head.work
    return {name: max(1e-9, tokens / rows) for name, (rows, tokens) in sums.items()}


def _lane_s(
    lane: str, targets: Targets, known: Known, head: BatchHead, slots: int, usual: Mapping[str, float]
) -> float:
    """Seconds that all slots of a target take for a batch, no faster than its limits admit; infinite where it has no such lane.
    A measured call's time is that of a row of the `usual` work of its group or route."""
    name = _first(lane, targets, head.route)
    if not name:
        return math.inf
    whose, found = _times_of(known, head, name)
    if found is not None:
        span_s = head.work / usual[whose] * found.call_s
    elif lane == "local":
        span_s = head.work / GUESSED_TOKENS_PER_S
    else:
        span_s = head.rows * GUESSED_LATENCY_S + head.output_tokens / SERIAL_TOKENS_PER_S
    return max(span_s / max(1, slots), targets.limits_s(name, head))


def _times_of(known: Known, head: BatchHead, name: str) -> tuple[str, lengths.Measured | None]:
    """What is known of the time of a target's calls for such prompts, and whether that is of the group or of the route."""
    for whose, key in ((head.group, head.group), (head.route, head.route), (head.route, "")):
        if (whose or key) and (found := known.get((key, name))) is not None and found.call_s:
            return whose, found
    return head.route, None


def _known(targets: Targets, earlier: Earlier, heads: list[BatchHead]) -> Basis:
    """How sure the lengths and times of rows of one kind are; of new ones only the route's are known, which is a guess."""
    rows, (route, group) = sum(head.rows for head in heads), (heads[0].route, heads[0].group)
    if lengths.is_new(earlier.lengths, group):
        return Basis(rows)
    lanes = [lane for lane in ("local", "cloud") if targets.route_targets(route, lane)]
    found = [each for lane in lanes if (each := _measured(earlier.lengths, targets, route, lane, group)) is not None]
    name = _first("local", targets, route) or _first("cloud", targets, route)
    _, times = _times_of(earlier.times, heads[0], name)
    return Basis(
        rows,
        min((each.calls for each in (*found, times) if each is not None), default=0),
        max((each.spread_tokens / max(each.output_tokens, 1e-9) for each in found), default=None),
        None if times is None else times.spread_s / max(times.call_s, 1e-9),
    )


def _lane(
    lane: str, targets: Targets, heads: list[BatchHead], shares: Numbers, pusd: Range, seconds: Range
) -> dict[str, Any]:
    def total(name: str) -> int:
        return round(sum(int(getattr(head, name)) * float(share) for head, share in zip(heads, shares, strict=True)))

    used = [head for head, share in zip(heads, shares, strict=True) if share > 0]
    return {
        "lane": lane, "rows": total("rows"), "batches": len(used), "input_tokens": total("input_tokens"),
        "output_tokens": total("output_tokens"), "slots": _slots(lane, targets, used), **_times(seconds), **_money(pusd),
    }  # fmt: skip


def _money(pusd: Range) -> dict[str, str]:
    return {f"cost_usd_{name}": pusd_to_usd_str(round(value)) for name, value in pusd._asdict().items()}


def _times(seconds: Range) -> dict[str, float]:
    return {f"seconds_{name}": round(value, 1) for name, value in seconds._asdict().items()}


def _route(name: str, heads: list[BatchHead], sources: Counter[str]) -> dict[str, Any]:
    return {
        "route": name, "rows": sum(h.rows for h in heads), "input_tokens": sum(h.input_tokens for h in heads),
        "output_tokens": sum(h.output_tokens for h in heads), "output_from": ", ".join(sorted(sources)),
    }  # fmt: skip
