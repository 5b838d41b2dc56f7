"""What Redis says of money: every budget scope, today's alerts, each run's unknown exposure; and a scope's new limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines import budgets, days, wire
from pipelines.errors import UsageError
from producer.queue import Redis, now_ms


async def scopes(redis: Redis, keys: wire.Keys) -> list[budgets.Scope]:
    """Every scope there is, by name; a cut-off shows what its day has spent."""
    prefix = keys.budget("")
    names = sorted([name async for name in redis.scan_iter(match=f"{_literal(prefix)}*", count=500)])
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.hgetall(name)
    found = {}
    for name, fields in zip(names, await pipe.execute(raise_on_error=False) if names else [], strict=True):
        scope = name.removeprefix(prefix)  # another kind of value than ours allows nothing
        found[scope] = budgets.of_fields(scope, fields if isinstance(fields, dict) else {"limit": "0"})
    return [_with_the_days_spend(scope, found) for scope in found.values()]


async def some(redis: Redis, keys: wire.Keys, wanted: Mapping[str, int | None]) -> list[budgets.Scope]:
    """These scopes; one that nothing has counted in yet has the limit that the configuration gives it (nano-dollars)."""
    pipe = redis.pipeline(transaction=False)
    for name in wanted:
        pipe.hgetall(keys.budget(name))
    replies = await pipe.execute(raise_on_error=False) if wanted else []
    return [
        budgets.Scope(name, limit)
        if fields == {}
        else budgets.of_fields(name, fields if isinstance(fields, dict) else {"limit": "0"})
        for (name, limit), fields in zip(wanted.items(), replies, strict=True)
    ]


def _with_the_days_spend(scope: budgets.Scope, found: dict[str, budgets.Scope]) -> budgets.Scope:
    kind, _, day = scope.name.partition(":")
    whole = found.get(f"day:{day}") if kind == budgets.CUTOFF else None
    return (
        scope if whole is None else budgets.Scope(scope.name, scope.limit_nusd, whole.spent_nusd, whole.reserved_nusd)
    )


async def give(redis: Redis, keys: wire.Keys, scope: str, limit: str) -> None:
    """Gives a scope a limit (nano-dollars, or `unlimited`) at once; UsageError for a run that is not there."""
    run_id = budgets.Scope(scope, None).run_id
    if run_id and not await redis.exists(keys.run(run_id)):
        raise UsageError(f"no run {run_id!r} here; `spillway status` lists the runs")
    pipe = redis.pipeline(transaction=True)
    if await redis.type(keys.budget(scope)) not in ("hash", "none"):
        pipe.delete(keys.budget(scope))  # what nobody can read
    pipe.hset(keys.budget(scope), "limit", limit)
    pipe.expire(keys.budget(scope), budgets.KEEP_S)
    if run_id:
        pipe.hset(keys.run(run_id), "budget_nusd", "" if limit == budgets.UNLIMITED else limit)
    pipe.lpush(keys.wake, "x")
    pipe.ltrim(keys.wake, 0, 15)
    await pipe.execute()


async def alerts(redis: Redis, keys: wire.Keys, timezone: str) -> list[dict[str, Any]]:
    """What was told today (budgets near their limit, the emergency cut-off), the oldest first."""
    day = days.day(await now_ms(redis), timezone)
    told = [wire.load_object(raw) for raw in (await redis.hvals(keys.alerts(day)))]
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


def _literal(text: str) -> str:
    return "".join(f"\\{char}" if char in "*?[]\\" else char for char in text)
