"""What Redis says of money: every budget scope, today's alerts, and each run's unknown exposure. Nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pipelines import budgets, days, wire
from producer.queue import Redis, now_ms


async def scopes(redis: Redis, keys: wire.Keys) -> list[budgets.Scope]:
    """Every scope there is, by name; a cut-off shows what its day has spent."""
    prefix = keys.budget("")
    names = sorted([name async for name in redis.scan_iter(match=f"{_literal(prefix)}*", count=500)])
    found = {
        name.removeprefix(prefix): budgets.of_fields(name.removeprefix(prefix), await redis.hgetall(name))  # type: ignore[misc]
        for name in names
    }
    return [_with_the_days_spend(scope, found) for scope in found.values()]


def _with_the_days_spend(scope: budgets.Scope, found: dict[str, budgets.Scope]) -> budgets.Scope:
    kind, _, day = scope.name.partition(":")
    whole = found.get(f"day:{day}") if kind == budgets.CUTOFF else None
    return (
        scope if whole is None else budgets.Scope(scope.name, scope.limit_nusd, whole.spent_nusd, whole.reserved_nusd)
    )


async def alerts(redis: Redis, keys: wire.Keys, timezone: str) -> list[dict[str, Any]]:
    """What was told today (budgets near their limit, the emergency cut-off), the oldest first."""
    day = days.day(await now_ms(redis), timezone)
    told = [_object(raw) for raw in (await redis.hvals(keys.alerts(day)))]  # type: ignore[misc]
    return sorted((each for each in told if each), key=lambda each: (each.get("at_ms") or 0, str(each.get("scope"))))


async def exposures_nusd(redis: Redis, keys: wire.Keys, run_ids: Sequence[str]) -> dict[str, int]:
    """Per run: what calls that were sent may still cost, at their upper bound."""
    pipe = redis.pipeline(transaction=False)
    for run_id in run_ids:
        pipe.hget(keys.budget(f"run:{run_id}"), "reserved")
    replies = await pipe.execute() if run_ids else []
    return {
        run_id: budgets.read(run_id, None, None, raw).reserved_nusd
        for run_id, raw in zip(run_ids, replies, strict=True)
    }


def _object(raw: str) -> dict[str, Any]:
    try:
        value = wire.load(raw)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return {}
    return value if isinstance(value, dict) else {}


def _literal(text: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in text)
