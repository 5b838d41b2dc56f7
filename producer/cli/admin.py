"""`spillway worker`, `plan`, `targets` and `budget`: thin doors to the drain and to the limits in Redis."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.budgets import CUTOFF, UNLIMITED
from pipelines.errors import SpillwayError, UsageError
from producer.cli import say, session
from producer.cli.options import Common, Intake, Output, nusd, taking
from producer.cli.run import order, until_interrupted

if TYPE_CHECKING:
    from pipelines.budgets import Scope
    from pipelines.settings import Settings

_NANO = Decimal(10) ** -9


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker(Common):
    """Which part of the work this process takes."""

    roles: Annotated[
        str | None, typer.Option(metavar="A,B", help="prepare, schedule, local, cloud, settle [default: all]")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets(Output):
    """All targets, or a real call to one."""

    action: Annotated[str | None, typer.Argument(metavar="[check NAME]", help="`check` makes one real call.")] = None
    name: Annotated[str | None, typer.Argument(metavar="", hidden=True)] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetBudget(Common):
    """A scope and its new limit."""

    scope: Annotated[
        str,
        typer.Argument(
            metavar="SCOPE", help="day:2026-03-01, month:2026-03, client:NAME:day:…, run:RUN, cutoff:2026-03-01"
        ),
    ]
    usd: Annotated[str, typer.Argument(metavar="USD", help="The new limit, or `unlimited`.")]


@taking(Worker)
def worker(ask: Worker) -> int:
    """Drains until stopped; SIGTERM finishes calls in flight and hands the rest back."""
    from worker.main import log_to_stderr, run
    from worker.tasks import ROLES

    settings = session.with_targets(session.settings_of(ask), ask)
    roles = tuple(part.strip() for part in (ask.roles or ",".join(ROLES)).split(",") if part.strip())
    if wrong := [role for role in roles if role not in ROLES]:
        raise UsageError(f"--roles: {wrong[0][:40]!r} is not one of {', '.join(ROLES)}")
    log_to_stderr()
    if settings.spillway.redis_url != session.EMBEDDED:
        run(settings, settings.spillway.redis_url, roles)
        return 0
    if ask.roles:
        raise UsageError("--roles splits the work of one Redis between hosts; set redis_url (--redis) first")
    until_interrupted(_private(settings))
    return 0


async def _private(settings: Settings) -> int:
    """A private Redis with workers, until stopped."""
    async with session.draining(settings) as now:
        say.note(f"working for {Path(settings.spillway.data).resolve()}; Ctrl-C stops")
        while now.engine is None or (broken := now.engine.failed()) is None:
            await asyncio.sleep(1.0)
        raise SpillwayError(broken)


@taking(Intake)
def plan(ask: Intake) -> int:
    """Dry run: rows, duplicates, routes, tokens, cost and time per lane; calls nobody."""
    return until_interrupted(_plan(ask))


async def _plan(ask: Intake) -> int:
    from producer.cli import rehearse

    if ask.simulate is not None:
        async with rehearse.scenario(ask) as settings:
            return await _planned(ask, settings)
    return await _planned(ask, session.with_targets(session.settings_of(ask), ask))


async def _planned(ask: Intake, settings: Settings) -> int:
    from worker.dryrun import plan_run

    wanted = order(ask, settings)
    deadline_s = wanted.options.deadline_s
    said = await asyncio.to_thread(plan_run, settings, wanted.sources, wanted.options, wanted.client, deadline_s)
    if ask.json:
        say.as_json(said)
        return 0
    plain = {name: value for name, value in said.items() if not isinstance(value, list) and name != "assumption"}
    say.upright(_readable(plain), list(_readable(plain)))
    for name in ("lanes", "routes"):
        _print([_readable(row) for row in said.get(name, [])], as_json=False)
    if said.get("assumption"):
        say.note(said["assumption"])
    return 0


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """`cost_usd_p50` -> `p50_cost_usd`, `seconds_p50` -> `p50_s`: the unit where the table looks for it."""
    named: dict[str, Any] = {}
    for name, value in row.items():
        head, _, quantile = name.rpartition("_")
        new = {"cost_usd": f"{quantile}_cost_usd", "seconds": f"{quantile}_s"}.get(head, name)
        named[new] = Decimal(value) if new.endswith("_usd") and value is not None else value
    return named


@taking(Targets)
def targets(ask: Targets) -> int:
    """Every target: lane, kind, health, model, parallelism, context, price. `check NAME` makes one real call."""
    return asyncio.run(_targets(ask))


async def _targets(ask: Targets) -> int:
    from worker.schedule.health import check, survey

    settings = session.with_targets(session.settings_of(ask), ask)
    if ask.action is None:
        rows = [{**row, "price": _price(settings, row["name"])} for row in await survey(settings)]
        return _print(rows, True) if ask.json else _print([_shown(row) for row in rows], False)
    if ask.action != "check" or ask.name is None:
        raise UsageError("write `spillway targets`, or `spillway targets check NAME`")
    if ask.name not in settings.targets:
        raise UsageError(f"no target {ask.name[:64]!r}; there are {', '.join(settings.targets)}")
    return _print([await check(settings, ask.name)], ask.json)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """What fits on a screen of a target's record."""
    return {
        "target": row["name"],
        "lane": row["lane"],
        "kind": row["kind"],
        "health": "up" if row["up"] else f"down: {row['reason']}",
        "model": row["loaded_model"] or row["model"],
        "parallel": row["parallel"] or row["max_concurrency"],
        "context": row["context_tokens"],
        "rpm": row["rpm"],
        "tpm": row["tpm"],
        "price": row["price"],
    }


def _price(settings: Settings, name: str) -> str:
    """Dollars per million tokens in and out, or what is missing."""
    from pipelines.money import Unknown, cost_pusd, price_of
    from pipelines.types import Usage

    price = price_of(settings.targets[name], settings.prices, datetime.now(UTC), name=name)
    if isinstance(price, Unknown):
        return "unknown: refused"
    rates = (cost_pusd(price, Usage(**{field: 1_000_000})) for field in ("input_tokens", "output_tokens"))
    shown = "/".join(f"{Decimal(rate) / 10**12:f}".rstrip("0").rstrip(".") or "0" for rate in rates)
    return f"${shown} per Mtok ({price.price_id})"


def _print(rows: list[dict[str, Any]], as_json: bool) -> int:
    if as_json:
        say.as_json(rows)
    elif rows:
        say.table(rows, list(dict.fromkeys(name for row in rows for name in row)))
    return 0


@taking(Output)
def budget_show(ask: Output) -> int:
    """Every scope: limit, spent, reserved for calls in flight, and what is left."""
    return asyncio.run(_budget_show(ask))


async def _budget_show(ask: Output) -> int:
    from producer import limits

    async with session.looking(session.settings_of(ask)) as found:
        now = session.shared_redis(found, "budget show")
        rows = [_scope(scope) for scope in await limits.scopes(now.redis, now.keys)]
    if not rows and not ask.json:
        say.note("no scope has been used yet; limits come from [budget] in spillway.toml")
    return _print(rows, ask.json)


def _scope(scope: Scope) -> dict[str, Any]:
    spent, reserved = scope.spent_nusd * _NANO, scope.reserved_nusd * _NANO
    amount = None if scope.limit_nusd is None else scope.limit_nusd * _NANO
    return {
        "scope": scope.name,
        "limit_usd": amount,
        "spent_usd": spent,
        "reserved_usd": reserved,
        "left_usd": None if amount is None else max(Decimal(0), amount - spent - reserved),
        "percent": None if scope.share is None else float(round(scope.share * 100, 1)),
    }


@taking(SetBudget)
def budget_set(ask: SetBudget) -> int:
    """Gives a scope a new limit, at once and while workers run; spillway.toml gives the limit of the next day."""
    return asyncio.run(_budget_set(ask))


async def _budget_set(ask: SetBudget) -> int:
    kind = ask.scope.partition(":")[0]
    if kind not in ("day", "month", "client", "run", CUTOFF) or ":" not in ask.scope:
        raise UsageError(f"no scope {ask.scope[:64]!r}; `spillway budget show` names them, such as day:2026-03-01")
    limit = UNLIMITED if ask.usd == UNLIMITED else str(nusd(ask.usd, "the limit"))
    async with session.looking(session.settings_of(ask)) as found:
        now = session.shared_redis(found, "budget set")
        await now.redis.hset(now.keys.budget(ask.scope), "limit", limit)  # type: ignore[misc]
        run = now.keys.run(ask.scope.partition(":")[2])
        if kind == "run" and await now.redis.exists(run):
            await now.redis.hset(run, "budget_nusd", "" if limit == UNLIMITED else limit)  # type: ignore[misc]
        await now.redis.lpush(now.keys.wake, "x")  # type: ignore[misc]
        await now.redis.ltrim(now.keys.wake, 0, 15)  # type: ignore[misc]
    print(f"{ask.scope}: {ask.usd}")
    return 0
