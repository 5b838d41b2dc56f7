"""`spillway plan`: what a run would be, without calling anybody: rows, duplicates, routes, tokens, cost and time.

The rows go through the same reader, duplicate stage, routing and prices as a real run; nothing is written or enqueued.
Until lengths were measured, output tokens are an assumption: P50 takes the estimate of pipelines/batch.py, P90 three
times as many (never beyond max_tokens), and half the speed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipelines.batch import SERIAL_TOKENS_PER_S
from pipelines.money import pusd_to_usd_str
from pipelines.plan import GUESSED_TOKENS_PER_S
from pipelines.rendering import compile_template
from pipelines.settings import Settings
from pipelines.types import BatchHead, Options, Source
from worker.clock import Clock
from worker.dedupe.encode import Encoder
from worker.money.ledger import Ledger
from worker.prepare.ids import Ids
from worker.prepare.sift import Asker, Indexes, Sifter
from worker.sources.source import Cursor, Reader
from worker.targets import Targets

CHUNK_ROWS, CHUNK_BYTES = 4096, 8 << 20
LONG = 3.0
SLOW = 0.5
CLOUD_LATENCY_S = 2.0


def plan_run(
    settings: Settings, sources: tuple[Source, ...], options: Options, client: str, deadline_s: float | None
) -> dict[str, Any]:
    """The figures of a dry run, money as decimal strings, times in seconds."""
    targets = Targets(settings, Clock())
    ledger = Ledger(settings, targets)
    sifter = Sifter(settings, ledger, Encoder(), targets.window)
    asker = Asker("plan", client, options)
    template = compile_template(options.template) if options.template else None
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
    return _figures(settings, targets, ledger, counts, heads, deadline_s)


def _figures(
    settings: Settings,
    targets: Targets,
    ledger: Ledger,
    counts: Counter[str],
    heads: list[BatchHead],
    deadline_s: float | None,
) -> dict[str, Any]:
    local, cloud = _split(targets, heads, deadline_s)
    lanes = [_lane("local", targets, ledger, local), _lane("cloud", targets, ledger, cloud)]
    everything = sum(ledger.cloud_estimate_pusd(h.route, h.input_tokens, h.output_tokens) for h in heads)
    return {
        "rows": counts["rows"], "asked": counts["asked"], "duplicate": counts["duplicate"], "invalid": counts["invalid"],
        "routes": [_route(name, [h for h in heads if h.route == name]) for name in sorted({h.route for h in heads})],
        "lanes": lanes, "deadline_s": deadline_s,
        "cost_usd_p50": pusd_to_usd_str(sum(lane.pop("_p50") for lane in lanes)),
        "cost_usd_p90": pusd_to_usd_str(sum(lane.pop("_p90") for lane in lanes)),
        "seconds_p50": max(lane["seconds_p50"] for lane in lanes),
        "seconds_p90": max(lane["seconds_p90"] for lane in lanes),
        "all_cloud_usd": pusd_to_usd_str(everything),
        "assumption": f"output lengths are not measured yet; P90 assumes {LONG:g} times the estimate and half the speed",
    }  # fmt: skip


def _split(
    targets: Targets, heads: list[BatchHead], deadline_s: float | None
) -> tuple[list[BatchHead], list[BatchHead]]:
    """Local keeps what saves most per local second, as far as the deadline allows; the rest is the cloud's."""
    at_home = [head for head in heads if targets.route_targets(head.route, "local")]
    names = {name for head in at_home for name in targets.route_targets(head.route, "local")[:1]}
    speed = sum(targets.cap(name) for name in names) * GUESSED_TOKENS_PER_S
    room = float("inf") if deadline_s is None else deadline_s * speed
    local, cloud = [], [head for head in heads if not targets.route_targets(head.route, "local")]
    for head in sorted(at_home, key=lambda h: h.cloud_pusd / max(h.work, 1e-9), reverse=True):
        if head.work <= room or not targets.route_targets(head.route, "cloud"):
            room -= head.work
            local.append(head)
        else:
            cloud.append(head)
    return local, cloud


def _lane(lane: str, targets: Targets, ledger: Ledger, heads: list[BatchHead]) -> dict[str, Any]:
    tokens_in, tokens_out = sum(h.input_tokens for h in heads), sum(h.output_tokens for h in heads)
    names = {name for head in heads for name in targets.route_targets(head.route, lane)[:1]}
    slots = sum(targets.cap(name) for name in names)
    rows = sum(h.rows for h in heads)
    if lane == "local":
        seconds = sum(h.work for h in heads) / max(1.0, slots * GUESSED_TOKENS_PER_S)
    else:
        each = CLOUD_LATENCY_S + (tokens_out / rows / SERIAL_TOKENS_PER_S if rows else 0.0)
        seconds = rows * each / max(1, slots)
    cost = [
        sum(ledger.estimate_pusd(h.route, lane, h.input_tokens, round(h.output_tokens * factor)) for h in heads)
        for factor in (1.0, LONG)
    ]
    return {
        "lane": lane, "rows": rows, "batches": len(heads), "input_tokens": tokens_in, "output_tokens": tokens_out,
        "slots": slots, "seconds_p50": round(seconds, 1), "seconds_p90": round(seconds * LONG / SLOW / 2, 1),
        "cost_usd_p50": pusd_to_usd_str(cost[0]), "cost_usd_p90": pusd_to_usd_str(cost[1]), "_p50": cost[0], "_p90": cost[1],
    }  # fmt: skip


def _route(name: str, heads: list[BatchHead]) -> dict[str, Any]:
    return {
        "route": name, "rows": sum(h.rows for h in heads), "input_tokens": sum(h.input_tokens for h in heads),
        "output_tokens": sum(h.output_tokens for h in heads),
    }  # fmt: skip
