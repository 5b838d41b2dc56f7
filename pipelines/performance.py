"""What `spillway bench` measured of local models, as `model_performance.json` keeps it, and what it means for targets and
routes: how many calls at once are of use, and who is good enough for a kind of task. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from pipelines.config.sections import Route, Target
from pipelines.errors import ConfigError
from pipelines.settings import Settings

VERSION = 1
NEARLY = 0.9
"""Of the best throughput: the fewest calls at once that reach it are what the server can really do."""


class Speed(msgspec.Struct, frozen=True):
    """So many calls at once, all of them together."""

    concurrency: int
    tokens_per_s: float
    calls_per_s: float
    call_p50_s: float


class Score(msgspec.Struct, frozen=True):
    """One task: `score` is 0 to 1; `problem` is one line on what is missing."""

    id: str
    kind: str
    score: float
    seconds: float
    problem: str = ""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one server. Times in seconds; `vram_from` is `server` (the model's own) or `nvidia-smi` (all of it)."""

    target: str
    server: str
    base_url: str
    model: str
    measured_at: str
    load_s: float | None = None
    first_token_p50_s: float | None = None
    first_token_p90_s: float | None = None
    throughput: tuple[Speed, ...] = ()
    parallel: int | None = None
    parallel_told: int | None = None
    context_tokens: int | None = None
    quality: float | None = None
    quality_by_kind: dict[str, float] = {}
    tasks: tuple[Score, ...] = ()
    vram_bytes: int | None = None
    vram_from: str = ""
    problem: str = ""


class Performance(msgspec.Struct, frozen=True):
    """The whole file."""

    version: int = VERSION
    models: tuple[Measured, ...] = ()


def read(raw: bytes | None) -> Performance:
    """What a file holds; nothing where there is none. ConfigError for what is not ours."""
    if raw is None:
        return Performance()
    try:
        return msgspec.json.decode(raw, type=Performance)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        remedy = "move it away, or run `spillway bench` again"
        raise ConfigError(f"model_performance.json: not as `spillway bench` writes it ({error}); {remedy}") from error


def merged(old: Performance, new: Iterable[Measured]) -> Performance:
    """The newest figures of each model on each server; other models keep theirs."""
    found = {(each.base_url, each.model): each for each in (*old.models, *new)}
    return Performance(VERSION, tuple(found.values()))


def useful_parallel(throughput: Sequence[Speed], told: int | None = None) -> int | None:
    """The fewest calls at once that reach nearly the best throughput; what the server says it can do where even the most
    that were tried were not enough to see an end."""
    best = max((speed.tokens_per_s for speed in throughput), default=0.0)
    if not best:
        return None
    knee = min(speed.concurrency for speed in throughput if speed.tokens_per_s >= NEARLY * best)
    return max(knee, told or 0) if knee == throughput[-1].concurrency else knee


def of_target(performance: Performance, target: Target) -> Measured | None:
    """What was measured of a target's model at its address."""
    found = (
        m for m in performance.models if (m.base_url, m.model) == (target.base_url, target.model) and not m.problem
    )
    return next(found, None)


def fit(settings: Settings, performance: Performance) -> Settings:
    """Settings as the figures make them: `max_concurrency = "auto"` begins with what was measured, and a route's
    `min_quality` leaves out the targets that were measured below it. What was not measured stays. ConfigError for a
    route that nobody is good enough for."""
    known = {name: found for name, target in settings.targets.items() if (found := of_target(performance, target))}
    for name, found in known.items():
        target = settings.targets[name]
        if found.parallel and target.max_concurrency == "auto" and target.lane == "local":
            settings.targets[name] = target.beginning_at(found.parallel)
    for name, route in settings.routes.items():
        if route.min_quality:
            settings.routes[name] = _able(name, route, known)
    return settings


def _able(name: str, route: Route, known: dict[str, Measured]) -> Route:
    short = {target: found for target in route.targets if (found := _below(route, known.get(target)))}
    if len(short) == len(route.targets):
        told = "; ".join(f"{target}: {found}" for target, found in short.items())
        raise ConfigError(
            f"routes.{name}: no target reaches min_quality ({told}); lower it, or add a target that was not measured"
        )
    return route.model_copy(update={"targets": tuple(t for t in route.targets if t not in short)})


def _below(route: Route, found: Measured | None) -> str:
    scores = found.quality_by_kind if found else {}
    below = (f"{kind} {scores[kind]:.2f} of {least:g}" for kind, least in route.min_quality.items() if kind in scores and scores[kind] < least)  # fmt: skip
    return ", ".join(below)
