"""`spillway plan`: what a run would be, without calling anybody: rows, duplicates, routes, tokens, cost and time.

The rows go through the same reader, duplicate stage, routing and prices as a real run; nothing is written or enqueued.
Lengths and times of answers are those of earlier runs under the data root (measured.py); without them, lengths are
guessed (pipelines/lengths.py), and P90 takes three times as many tokens and as much time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipelines import lengths
from pipelines.batch import SERIAL_TOKENS_PER_S
from pipelines.capacity import GUESSED_TOKENS_PER_S
from pipelines.lengths import Known
from pipelines.money import pusd_to_usd_str
from pipelines.settings import Settings
from pipelines.types import BatchHead, Options, Source
from worker.clock import Clock
from worker.dedupe.encode import Encoder
from worker.measured import read
from worker.money.ledger import Ledger
from worker.prepare.ids import Ids
from worker.prepare.sift import Asker, Indexes, Sifter
from worker.sources.source import Cursor, Reader, template_of
from worker.store import Store
from worker.targets import Targets

CHUNK_ROWS, CHUNK_BYTES = 4096, 8 << 20
LONG = 3.0
CLOUD_LATENCY_S = 2.0


def plan_run(
    settings: Settings, sources: tuple[Source, ...], options: Options, client: str, deadline_s: float | None
) -> dict[str, Any]:
    """The figures of a dry run, money as decimal strings, times in seconds."""
    targets = Targets(settings, Clock())
    ledger = Ledger(settings, targets)
    sifter = Sifter(settings, ledger, Encoder(), targets.window)
    asker = Asker("plan", client, options)
    known, sources_of = read(Store(settings.spillway.data), options), dict[str, Counter[str]]()

    def expect(route: str, max_tokens: int, asked: Options) -> int:
        tokens, source = lengths.expect(_measured(known, targets, route), max_tokens, asked)
        sources_of.setdefault(route, Counter())[source] += 1
        return tokens

    sifter.expect = expect
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
    return _figures(targets, ledger, known, sources_of, counts, heads, deadline_s)


def _measured(known: Known, targets: Targets, route: str) -> lengths.Measured | None:
    names = [name for lane in ("local", "cloud") for name in targets.route_targets(route, lane)]
    return lengths.of_route(known, route, names)


def _figures(
    targets: Targets,
    ledger: Ledger,
    known: Known,
    sources_of: dict[str, Counter[str]],
    counts: Counter[str],
    heads: list[BatchHead],
    deadline_s: float | None,
) -> dict[str, Any]:
    local, cloud = _split(targets, known, heads, deadline_s)
    lanes = [_lane("local", targets, ledger, known, local), _lane("cloud", targets, ledger, known, cloud)]
    routes = sorted({h.route for h in heads})
    everything = sum(ledger.cloud_estimate_pusd(h.route, h.input_tokens, h.output_tokens) for h in heads)
    return {
        "rows": counts["rows"], "asked": counts["asked"], "duplicate": counts["duplicate"], "invalid": counts["invalid"],
        "routes": [_route(name, [h for h in heads if h.route == name], sources_of[name]) for name in routes],
        "lanes": lanes, "deadline_s": deadline_s,
        "cost_usd_p50": pusd_to_usd_str(sum(lane.pop("_p50") for lane in lanes)),
        "cost_usd_p90": pusd_to_usd_str(sum(lane.pop("_p90") for lane in lanes)),
        "seconds_p50": max(lane["seconds_p50"] for lane in lanes),
        "seconds_p90": max(lane["seconds_p90"] for lane in lanes),
        "all_cloud_usd": pusd_to_usd_str(everything),
        "assumption": _assumption(known, targets, routes),
    }  # fmt: skip


def _split(
    targets: Targets, known: Known, heads: list[BatchHead], deadline_s: float | None
) -> tuple[list[BatchHead], list[BatchHead]]:
    """Local keeps what saves most per local second, as far as the deadline allows; the rest is the cloud's."""
    at_home = [head for head in heads if targets.route_targets(head.route, "local")]
    names = {name for head in at_home for name in targets.route_targets(head.route, "local")[:1]}
    room_s = float("inf") if deadline_s is None else deadline_s * sum(targets.cap(name) for name in names)
    local, cloud = [], [head for head in heads if not targets.route_targets(head.route, "local")]
    for head in sorted(at_home, key=lambda h: h.cloud_pusd / max(h.work, 1e-9), reverse=True):
        span_s, _ = _slot_s("local", targets, known, head)
        if span_s <= room_s or not targets.route_targets(head.route, "cloud"):
            room_s -= span_s
            local.append(head)
        else:
            cloud.append(head)
    return local, cloud


def _assumption(known: Known, targets: Targets, routes: list[str]) -> str:
    """Where lengths and times come from, in words."""
    measured = {name: found for name in routes if (found := _measured(known, targets, name)) is not None}
    said = [f"route {name}: lengths of {found.calls:,} earlier answers" for name, found in measured.items()]
    if guessed := [name for name in routes if name not in measured]:
        said.append(
            f"route {', '.join(guessed)}: no such answers measured here yet, P90 assumes {LONG:g} times the tokens and time"
        )
    return "; ".join(said)


def _lane(lane: str, targets: Targets, ledger: Ledger, known: Known, heads: list[BatchHead]) -> dict[str, Any]:
    tokens_in, tokens_out = sum(h.input_tokens for h in heads), sum(h.output_tokens for h in heads)
    names = {name for head in heads for name in targets.route_targets(head.route, lane)[:1]}
    slots = max(1, sum(targets.cap(name) for name in names))
    spans = [_slot_s(lane, targets, known, head) for head in heads]
    usual, high = 0, 0
    for h in heads:
        usual += ledger.estimate_pusd(h.route, lane, h.input_tokens, h.output_tokens)
        longest = round(h.output_tokens * _longer(known, targets, h.route))
        high += ledger.estimate_pusd(h.route, lane, h.input_tokens, longest)
    return {
        "lane": lane, "rows": sum(h.rows for h in heads), "batches": len(heads), "input_tokens": tokens_in,
        "output_tokens": tokens_out, "slots": slots if names else 0,
        "seconds_p50": round(sum(span for span, _ in spans) / slots, 1),
        "seconds_p90": round(sum(slow for _, slow in spans) / slots, 1),
        "cost_usd_p50": pusd_to_usd_str(usual), "cost_usd_p90": pusd_to_usd_str(high), "_p50": usual, "_p90": high,
    }  # fmt: skip


def _longer(known: Known, targets: Targets, route: str) -> float:
    """How much longer than expected answers may well be: as the longest tenth was."""
    found = _measured(known, targets, route)
    return LONG if found is None else max(1.0, found.high_tokens / found.output_tokens)


def _slot_s(lane: str, targets: Targets, known: Known, head: BatchHead) -> tuple[float, float]:
    """Seconds that a batch holds slots of a lane, as usual and as the slowest tenth of calls was."""
    first = next(iter(targets.route_targets(head.route, lane)), "")
    found = known.get((head.route, first)) or known.get(("", first))
    if found is not None:
        return head.rows * found.call_s, head.rows * found.slow_s
    if lane == "local":
        usual = head.work / GUESSED_TOKENS_PER_S
    else:
        usual = head.rows * CLOUD_LATENCY_S + head.output_tokens / SERIAL_TOKENS_PER_S
    return usual, usual * LONG


def _route(name: str, heads: list[BatchHead], sources: Counter[str]) -> dict[str, Any]:
    return {
        "route": name, "rows": sum(h.rows for h in heads), "input_tokens": sum(h.input_tokens for h in heads),
        "output_tokens": sum(h.output_tokens for h in heads), "output_from": ", ".join(sorted(sources)),
    }  # fmt: skip
