"""Budget scopes: their names, and their limits in Redis. Reserving and settling happen in scripts/append.lua."""

from __future__ import annotations

from decimal import Decimal

from pipelines import wire
from pipelines.money import usd_to_nusd
from pipelines.settings import Settings
from worker.queue import Redis

KEEP_S = 40 * 86_400


def scopes(settings: Settings, client: str, run_id: str, run_limit_nusd: int | None, day: str) -> dict[str, int | None]:
    """Scope name -> limit in nano-dollars (None: counted, not limited) for one run on one day."""
    month = day[:7]
    wanted: dict[str, int | None] = {f"day:{day}": _nusd(settings.budget.daily_usd)}
    if settings.budget.monthly_usd is not None:
        wanted[f"month:{month}"] = _nusd(settings.budget.monthly_usd)
    own = settings.clients[client].budget if client in settings.clients else None
    if own is not None and own.daily_usd is not None:
        wanted[f"client:{client}:day:{day}"] = _nusd(own.daily_usd)
    if own is not None and own.monthly_usd is not None:
        wanted[f"client:{client}:month:{month}"] = _nusd(own.monthly_usd)
    if run_limit_nusd is not None:
        wanted[f"run:{run_id}"] = run_limit_nusd
    return wanted


def _nusd(usd: Decimal | None) -> int | None:
    return None if usd is None else usd_to_nusd(usd)


async def ensure(redis: Redis, keys: wire.Keys, wanted: dict[str, int | None]) -> None:
    """Gives every scope its limit. A limit that `spillway budget set` wrote stays; a run's own follows its command."""
    pipe = redis.pipeline(transaction=False)
    for name, limit in wanted.items():
        text = "unlimited" if limit is None else str(limit)
        if name.startswith("run:"):
            pipe.hset(keys.budget(name), "limit", text)
        else:
            pipe.hsetnx(keys.budget(name), "limit", text)
        pipe.expire(keys.budget(name), KEEP_S)
    await pipe.execute()


async def room_nusd(redis: Redis, keys: wire.Keys, names: list[str]) -> dict[str, int | None]:
    """What is left in each scope; None where nothing limits it."""
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.hmget(keys.budget(name), "limit", "spent", "reserved")
    left: dict[str, int | None] = {}
    for name, (limit, spent, reserved) in zip(names, await pipe.execute(), strict=True):
        unlimited = limit in (b"unlimited", "unlimited")
        left[name] = None if unlimited else int(limit or 0) - int(spent or 0) - int(reserved or 0)
    return left
