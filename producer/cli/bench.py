"""`spillway bench`: measures the models of local servers, keeps the figures in model_performance.json and shows them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from pipelines.errors import UsageError
from producer.cli import say, session
from producer.cli.options import Output, taking

if TYPE_CHECKING:
    from pipelines.config.sections import Target
    from pipelines.performance import Measured
    from pipelines.settings import Settings

MOST_AT_ONCE = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench(Output):
    """What to measure, and by what."""

    names: Annotated[
        list[str], typer.Argument(metavar="TARGET...", help="Local targets, or addresses of servers: http://…")
    ]
    tasks: Annotated[Path | None, typer.Option(metavar="FILE", help="Tasks of your own [default: those shipped]")] = (
        None
    )
    concurrency: Annotated[str, typer.Option(metavar="N,N,…", help="Calls at once, from few to many.")] = "1,2,4,8,16"
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this model; repeatable [default: all of the server]")
    ] = None


@taking(Bench)
def bench(ask: Bench) -> int:
    """Measures local models: tokens/s by concurrency, first token, quality by tasks, GPU memory."""
    return asyncio.run(_bench(ask))


async def _bench(ask: Bench) -> int:
    from pipelines.performance import merged
    from producer.records import Records
    from worker.bench import bench as measuring
    from worker.bench.tasks import SHIPPED, read

    settings = session.settings_of(ask)
    tasks, levels = read(ask.tasks or SHIPPED), _levels(ask.concurrency)
    found: list[Measured] = []
    with _progress() as said:
        for name in ask.names:
            label, target = await _target(settings, name)
            for model in ask.model or await _models(label, target):
                one = target.model_copy(update={"model": model})
                found.append(await measuring.measure(label, one, tasks, levels, said))
    records = Records(settings.spillway.data)
    records.write_performance(merged(records.performance(), [each for each in found if not each.problem]))
    if ask.json:
        import msgspec

        say.as_json(msgspec.to_builtins(found))
    else:
        _show(found)
        say.note(f"kept in {records.path('model_performance.json')}")
    return 3 if any(each.problem for each in found) else 0


def _levels(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and 0 < int(part) <= MOST_AT_ONCE for part in parts):
        raise UsageError(f"--concurrency {text[:64]!r} is not a list of numbers such as 1,2,4,8")
    return tuple(sorted({int(part) for part in parts}))


async def _target(settings: Settings, name: str) -> tuple[str, Target]:
    """A target by its name, or whatever answers at an address; UsageError for one that costs money."""
    if session.is_address(name):
        target = await session.target_at(settings, name)
        at = urlsplit(target.base_url or "").netloc
        label = next((n for n, t in settings.targets.items() if t.base_url == target.base_url), at)
    elif name in settings.targets:
        label, target = name, settings.targets[name]
    else:
        known = ", ".join(settings.targets) or "none configured"
        raise UsageError(f"no target {name[:64]!r}; there are {known}; an address (http://…) will do too")
    if not target.is_free:
        raise UsageError(f"target {label}: its calls cost money; bench measures local targets without a price")
    return label, target


async def _models(label: str, target: Target) -> list[str]:
    """Every model of the server that can answer, the target's own first."""
    from worker.backends.discovery import inspect
    from worker.bench.bench import answering

    status = await inspect(label, target)
    if not status.up:
        raise UsageError(f"target {label} is down: {status.reason}")
    others = [name for name in answering(status) if name not in (target.model, status.loaded_model)]
    return [target.model, *others] if len(status.models) > 1 else [target.model]


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Shows what is being measured, where somebody looks on."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with say.console(sys.stderr).status("measuring") as status:
        yield lambda words: status.update(words)


def _show(found: list[Measured]) -> None:
    rows = [_row(each) for each in found]
    say.table(rows, list(dict.fromkeys(name for row in rows for name in row)))
    speeds = [
        {"model": each.model, **{f"at {speed.concurrency}": speed.tokens_per_s for speed in each.throughput}}
        for each in found
        if each.throughput
    ]
    if speeds:
        print("tokens/s by calls at once")
        say.table(speeds, list(dict.fromkeys(name for row in speeds for name in row)))


def _row(each: Measured) -> dict[str, Any]:
    best = max((speed.tokens_per_s for speed in each.throughput), default=None)
    row: dict[str, Any] = {
        "target": each.target, "model": each.model, "load_s": each.load_s, "first_token_s": each.first_token_p50_s,
        "tokens_per_s": best, "parallel": each.parallel, "quality_share": each.quality,
        **{f"{kind}_share": score for kind, score in each.quality_by_kind.items()},
        "gpu GiB": round(each.vram_bytes / 2**30, 1) if each.vram_bytes else None,
    }  # fmt: skip
    return {**row, "problem": each.problem} if each.problem else row
