"""The options that commands share, as dataclasses; `taking` turns one into a command's parameters."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, TypeVar, get_type_hints

import typer

from pipelines.errors import UsageError
from pipelines.types import Options
from producer import asked

Ask = TypeVar("Ask")

_WHERE = "Where it works"


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """Where a command finds its configuration, its files and its Redis."""

    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Configuration [default: spillway.toml]", rich_help_panel=_WHERE)
    ] = None
    data: Annotated[
        str | None, typer.Option(metavar="URL", help="Data root: a folder or an object-store URL [default: data]")
    ] = None
    redis: Annotated[
        str | None, typer.Option(metavar="URL", help="Redis to use instead of a private one on this machine")
    ] = None
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Common):
    """Commands that can speak to programs."""

    json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OfRun(Output):
    """Commands about one run."""

    run: Annotated[str, typer.Argument(metavar="RUN", help="Run id, as `spillway status` shows it.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake(Output):
    """What `run`, `submit` and `plan` are asked."""

    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="JSONL, Parquet or CSV (.gz, .zst): paths, globs, s3://…")
    ]
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy results, costs and summary here.")] = None
    client: Annotated[str | None, typer.Option(metavar="NAME", help="On whose behalf [default: default]")] = None
    route: Annotated[str | None, typer.Option(metavar="NAME", help="Send every row this way.")] = None
    template: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Jinja2 template of the prompt; its fields are the row's columns."),
    ] = None
    schema: Annotated[Path | None, typer.Option(metavar="FILE", help="JSON Schema that every answer must meet.")] = None
    labels: Annotated[str | None, typer.Option(metavar="A,B,C", help="Every answer must be one of these.")] = None
    deadline: Annotated[str | None, typer.Option(metavar="2h", help="Finish in this time: 45s, 30m, 2h, 1d.")] = None
    budget: Annotated[str | None, typer.Option(metavar="USD", help="Most that this run may spend.")] = None
    dedupe: Annotated[
        str | None, typer.Option(metavar="HOW", help="off, exact or semantic [default: the route's own]")
    ] = None
    simulate: Annotated[
        str | None,
        typer.Option(metavar="[=FILE]", help="Rehearse against stand-in servers: no cost, nothing real touched."),
    ] = None
    fresh: Annotated[bool, typer.Option("--fresh", help="A new run, whatever ran before.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")] = False


def taking(kind: type[Ask]) -> Callable[[Callable[[Ask], int]], Callable[..., int]]:
    """Gives a command the fields of `kind` as its parameters, and calls it with one value of `kind`."""

    def wrap(command: Callable[[Ask], int]) -> Callable[..., int]:
        hints = get_type_hints(kind, include_extras=True)

        @functools.wraps(command)
        def parsed(**given: object) -> int:
            return command(kind(**given))

        named = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=hints[field.name],
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
            )
            for field in fields(kind)  # type: ignore[arg-type]
        ]
        parsed.__signature__ = inspect.Signature(named, return_annotation=int)  # type: ignore[attr-defined]
        parsed.__annotations__ = {**{one.name: one.annotation for one in named}, "return": int}
        del parsed.__wrapped__
        return parsed

    return wrap


def run_options(ask: Intake, keep_response: bool) -> Options:
    """A run's options as they are stored; ConfigError or UsageError, before anything starts, for nonsense."""
    labels = _labels(ask.labels)
    schema, template = asked.schema(ask.schema, "--schema"), asked.template(ask.template, "--template")
    if labels and schema:
        raise UsageError("--labels and --schema exclude each other: keep one")
    if ask.dedupe not in (None, "off", "exact", "semantic"):
        raise UsageError(f"--dedupe {ask.dedupe!r} is not one of off, exact, semantic")
    return Options(
        route=ask.route,
        template=template,
        schema=schema,
        labels=labels,
        deadline_s=_deadline_s(ask.deadline),
        budget_nusd=None if ask.budget is None else nusd(ask.budget, "--budget"),
        dedupe=ask.dedupe,
        keep_response=keep_response,
    )


def nusd(text: str, name: str) -> int:
    """US dollars as integer nano-dollars, rounded down: a limit is never exceeded by rounding."""
    try:
        amount = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or amount < 0 or amount > 10**9:
        raise UsageError(f"{name} {text!r} is not an amount in US dollars such as 5.00")
    return int(amount * 10**9)


def _deadline_s(text: str | None) -> float | None:
    from pipelines.config.sections import duration_s

    if text is None:
        return None
    try:
        seconds = duration_s(text)
    except ValueError as error:
        raise UsageError(f"--deadline {text!r} {error}") from None
    if seconds <= 0:
        raise UsageError(f"--deadline {text!r} is over before it begins")
    return seconds


def _labels(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    labels = tuple(dict.fromkeys(label.strip() for label in text.split(",") if label.strip()))
    if len(labels) < 2:
        raise UsageError(f"--labels {text!r} names fewer than two labels; write them with commas: A,B,C")
    return labels
