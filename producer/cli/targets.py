"""`spillway targets`: what is up, what it runs and what it costs; `check NAME` makes one real call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.errors import QueueError, UsageError
from producer.cli import say, session
from producer.cli.options import Output, taking

if TYPE_CHECKING:
    from pipelines.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets(Output):
    """All targets, or a real call to one."""

    action: Annotated[str | None, typer.Argument(metavar="[check NAME]", help="`check` makes one real call.")] = None
    name: Annotated[str | None, typer.Argument(metavar="", hidden=True)] = None


@taking(Targets)
def targets(ask: Targets) -> int:
    """Every target: lane, kind, health, model, parallelism, context, price. `check NAME` makes one real call."""
    return asyncio.run(_targets(ask))


async def _targets(ask: Targets) -> int:
    from worker.schedule.health import check, survey

    settings = session.with_targets(session.settings_of(ask), ask)
    if ask.action is None:
        told = await _told(settings)
        rows = [
            {**row, "price": _price(settings, row["name"]), "workers_say": told.get(row["name"], "")}
            for row in await survey(settings)
        ]
        return say.rows(rows if ask.json else [_shown(row) for row in rows], as_json=ask.json)
    if ask.action != "check" or ask.name is None:
        raise UsageError("write `spillway targets`, or `spillway targets check NAME`")
    if ask.name not in settings.targets:
        raise UsageError(f"no target {ask.name[:64]!r}; there are {', '.join(settings.targets)}")
    return say.rows([await check(settings, ask.name)], as_json=ask.json)


async def _told(settings: Settings) -> dict[str, str]:
    """What the workers say of targets that they do not use now, as far as their Redis can be asked."""
    from producer import runs

    try:
        async with session.looking(settings) as found:
            states = await runs.target_states(found.redis, found.keys) if found else []
    except QueueError:
        return {}
    return {state.name: f"{'closed' if state.closed else 'down'}: {state.reason}" for state in states if not state.up}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """What fits on a screen of a target's record."""
    return {
        "target": row["name"],
        "lane": row["lane"],
        "kind": row["kind"],
        "health": row["workers_say"] or ("up" if row["up"] else f"down: {row['reason']}"),
        "model": row["loaded_model"] or row["model"],
        "parallel": row["parallel"] or row["max_concurrency"],
        "context": row["context_tokens"],
        "rpm": row["rpm"],
        "tpm": row["tpm"],
        "price": row["price"],
    }


def _price(settings: Settings, name: str) -> str:
    """Dollars per million tokens in and out, or what is missing."""
    from pipelines.money import Unknown, cost_pusd
    from pipelines.prices import price_of
    from pipelines.types import Usage

    price = price_of(settings.targets[name], settings.prices, datetime.now(UTC), name=name)
    if isinstance(price, Unknown):
        return "unknown: refused"
    rates = (cost_pusd(price, Usage(**{field: 1_000_000})) for field in ("input_tokens", "output_tokens"))
    shown = "/".join(f"{Decimal(rate) / 10**12:f}".rstrip("0").rstrip(".") or "0" for rate in rates)
    return f"${shown} per Mtok ({price.price_id})"
