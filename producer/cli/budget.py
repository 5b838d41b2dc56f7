"""`spillway budget`: the limits in Redis, shown and set; spillway.toml says those of the next day."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines import budgets
from pipelines.budgets import UNLIMITED
from pipelines.errors import UsageError
from producer.cli import say, session
from producer.cli.options import Common, Output, nusd, taking

if TYPE_CHECKING:
    from pipelines.budgets import Scope

_NANO = Decimal(10) ** -9


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


@taking(Output)
def show(ask: Output) -> int:
    """Every scope: limit, spent, reserved for calls in flight, and what is left."""
    return asyncio.run(_show(ask))


async def _show(ask: Output) -> int:
    from producer import limits

    async with session.looking(session.settings_of(ask)) as found:
        now = session.shared_redis(found, "budget show")
        rows = [_scope(scope) for scope in await limits.scopes(now.redis, now.keys)]
    if not rows and not ask.json:
        say.note("no scope has been used yet; limits come from [budget] in spillway.toml")
    return say.rows(rows, as_json=ask.json)


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
def set_(ask: SetBudget) -> int:
    """Gives a scope a new limit, at once and while workers run; spillway.toml gives the limit of the next day."""
    return asyncio.run(_set(ask))


async def _set(ask: SetBudget) -> int:
    from producer import limits

    settings = session.settings_of(ask)
    if problem := budgets.problem_of(settings, ask.scope):
        raise UsageError(problem)
    limit = UNLIMITED if ask.usd == UNLIMITED else str(nusd(ask.usd, "the limit"))
    async with session.looking(settings) as found:
        now = session.shared_redis(found, "budget set")
        await limits.give(now.redis, now.keys, ask.scope, limit)
    print(f"{ask.scope}: {ask.usd}")
    return 0
