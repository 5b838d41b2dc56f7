"""Budget scopes: their names, and their limits in Redis. Reserving and settling happen in scripts/append.lua."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from pipelines import budgets, wire
from pipelines.money import usd_to_nusd
from pipelines.settings import Settings
from worker.queue import Redis

KEEP_S = 40 * 86_400
_LIMIT = (Path(__file__).parent.parent / "scripts" / "limit.lua").read_text()


def scopes(settings: Settings, client: str, run_id: str, run_limit_nusd: int | None, day: str) -> dict[str, int | None]:
    """Scope name -> limit in nano-dollars (None: counted, not limited) for one run on one day.

    The run's own is always there: what is reserved in it is the run's unknown exposure.
    """
    return {**shared(settings, client, day), f"run:{run_id}": run_limit_nusd}


def shared(settings: Settings, client: str, day: str) -> dict[str, int | None]:
    """The scopes that runs of one client share."""
    month = day[:7]
    wanted: dict[str, int | None] = {f"day:{day}": _nusd(settings.budget.daily_usd)}
    if settings.budget.monthly_usd is not None:
        wanted[f"month:{month}"] = _nusd(settings.budget.monthly_usd)
    own = settings.clients[client].budget if client in settings.clients else None
    if own is None:
        return wanted
    daily = [usd for usd in (own.daily_usd, own.emergency_cutoff_usd) if usd is not None]
    if daily:
        wanted[f"client:{client}:day:{day}"] = _nusd(min(daily))
    if own.monthly_usd is not None:
        wanted[f"client:{client}:month:{month}"] = _nusd(own.monthly_usd)
    return wanted


def _nusd(usd: Decimal | None) -> int | None:
    return None if usd is None else usd_to_nusd(usd)


async def ensure(redis: Redis, keys: wire.Keys, wanted: dict[str, int | None]) -> None:
    """Gives every scope its limit. One that `spillway budget set` wrote stays until the configuration changes."""
    if not wanted:
        return
    names = [keys.budget(name) for name in wanted]
    limits = [budgets.UNLIMITED if limit is None else str(limit) for limit in wanted.values()]
    await redis.eval(_LIMIT, len(names), *names, KEEP_S, *limits)


async def look(redis: Redis, keys: wire.Keys, names: Iterable[str]) -> list[budgets.Scope]:
    """The scopes that exist, as they are now."""
    names = list(names)
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.hmget(keys.budget(name), "limit", "spent", "reserved")
    found = []
    for name, fields in zip(names, await pipe.execute() if names else [], strict=True):
        limit, spent, reserved = (each.decode(errors="replace") if each is not None else None for each in fields)
        if limit is not None:
            found.append(budgets.read(name, limit, spent, reserved))
    return found


async def room_nusd(redis: Redis, keys: wire.Keys, names: list[str]) -> dict[str, int | None]:
    """What is left in each scope; None where nothing limits it."""
    left: dict[str, int | None] = dict.fromkeys(names, 0)  # a scope that nobody set admits nothing
    for scope in await look(redis, keys, names):
        limit = scope.limit_nusd
        left[scope.name] = None if limit is None else limit - scope.spent_nusd - scope.reserved_nusd
    return left
