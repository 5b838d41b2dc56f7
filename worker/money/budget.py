"""Budget scopes in Redis: their limits and what is left. Reserving and settling happen in scripts/append.lua."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipelines import budgets, wire
from worker.queue import Redis

_LIMIT = (Path(__file__).parent.parent / "scripts" / "limit.lua").read_text()


async def ensure(redis: Redis, keys: wire.Keys, wanted: dict[str, int | None]) -> None:
    """Gives every scope its limit. One that `spillway budget set` wrote stays until the configuration changes."""
    if not wanted:
        return
    names = [keys.budget(name) for name in wanted]
    limits = [budgets.UNLIMITED if limit is None else str(limit) for limit in wanted.values()]
    await redis.eval(_LIMIT, len(names), *names, budgets.KEEP_S, *limits)


async def look(redis: Redis, keys: wire.Keys, names: Iterable[str]) -> list[budgets.Scope]:
    """The scopes that exist, as they are now."""
    names = list(names)
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.hmget(keys.budget(name), "limit", "spent", "reserved")
    found = []
    for name, fields in zip(names, await pipe.execute(raise_on_error=False) if names else [], strict=True):
        if isinstance(fields, Exception):  # not the kind of value that we write: it admits nothing
            fields = (b"0", None, None)
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
