"""`spillway targets`: what is up, what it runs and what it costs; `check NAME` makes one real call."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.errors import QueueError, UsageError
from pipelines.printable import printable
from producer.cli import say, session
from producer.cli.options import Output, taking

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from producer.runs import TargetState

HISTORY = 10
FAILED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets(Output):
    """All targets, or a real call to one."""

    action: Annotated[
        str | None, typer.Argument(metavar="[check NAME]", help="`check` makes one real call; NAME may be an address.")
    ] = None
    name: Annotated[str | None, typer.Argument(metavar="", hidden=True)] = None


@taking(Targets)
def targets(ask: Targets) -> int:
    """Every target: lane, kind, health, model, parallelism, context, price. `check NAME` makes one real call; exit 3 when it fails."""
    return asyncio.run(_targets(ask))


async def _targets(ask: Targets) -> int:
    if ask.action == "check" and ask.name is not None:
        settings = await _with_address(session.settings_of(ask), ask.name, ask)
        if ask.name not in settings.targets:
            raise UsageError(f"no target {ask.name[:64]!r}; there are {', '.join(settings.targets)}")
        return await _check(settings, ask.name, ask)
    if ask.action is not None:
        raise UsageError("write `spillway targets`, or `spillway targets check NAME`")
    from worker.bench.health import survey

    settings = session.with_targets(session.settings_of(ask), ask)
    told, idle = await _told(settings), _idle(settings)
    rows = [
        {
            **row, "price": _price(settings, row["name"]), "workers_say": told.get(row["name"], ""),
            "idle": "; ".join(words for words, names in idle.items() if row["name"] in names),
        }
        for row in await survey(settings)
    ]  # fmt: skip
    code = say.rows(rows if ask.json else [_shown(row) for row in rows], as_json=ask.json)
    for words in () if ask.json else idle:
        say.note(words)
    return code


def _idle(settings: Settings) -> dict[str, list[str]]:
    """Local servers that are only a fallback of the routes that somebody wrote, and so do nothing, by the words for it."""
    from pipelines.planning.capacity import idle

    found: dict[str, list[str]] = {}
    for name, route in settings.routes.items():
        servers = [each for each in route.targets if settings.targets[each].lane == "local"]
        if not route.implied and (words := idle(name, servers)):
            found[words] = servers[1:]
    return found


async def _with_address(settings: Settings, name: str, ask: Targets) -> Settings:
    """The settings; with an address in place of a name, and a target of that name for whatever answers there."""
    if not session.is_address(name):
        return session.with_targets(settings, ask)
    session.refuse_rehearsal(settings)
    found = await session.target_at(settings, name)
    return settings.model_copy(update={"targets": {**settings.targets, name: found}})


async def _check(settings: Settings, name: str, ask: Targets) -> int:
    """A look, a real call, how many at once are of use (kept for `auto`), and what befell it lately."""
    from producer.cli import frames
    from worker.bench.health import check

    record = await check(settings, name, climb=True)
    if record.get("parallel_measured") and not session.is_address(name):
        _keep(settings, name, record)
    history = frames.target_events(settings.spillway.data, name, HISTORY)
    if ask.json:
        say.rows([{**record, "history": history}], as_json=True)
        return 0 if record["ok"] else FAILED
    listed = ", ".join(record["models"][:5]) + (", …" if len(record["models"]) > 5 else "")
    shown = _shown({**record, "price": _price(settings, name), "workers_say": ""})
    shown = {**shown, "models": listed or None, **_call(record)}
    say.upright(shown, list(shown))
    for event in history:
        print(printable(f"{event['at']:%Y-%m-%d %H:%M:%S} {event['message']}"))
    if session.is_address(name):
        target = settings.targets[name]
        lines = {"kind": target.kind, "lane": target.lane, "base_url": target.base_url, "model": target.model}
        print("\n".join(["[targets.NAME]", *(f"{key} = {json.dumps(value)}" for key, value in lines.items())]))
    return 0 if record["ok"] else FAILED


def _call(record: dict[str, Any]) -> dict[str, Any]:
    """What the call said, or why there was none."""
    if not record["ok"]:
        return {"call": f"failed: {record['error']}"}
    speeds = {f"tokens/s at {s['concurrency']}": s["tokens_per_s"] for s in record.get("throughput", [])}
    return {
        "call": f"answered as {record['served_model'] or record['model']}", "call_s": record["call_s"],
        "tokens_per_s": record["tokens_per_s"], **speeds, "cost_usd": record["cost_usd"],
    }  # fmt: skip


def _keep(settings: Settings, name: str, record: dict[str, Any]) -> None:
    """What was measured, beside what `spillway bench` found of the same model."""
    import msgspec

    from pipelines.performance import Measured, Speed, merged, of_target
    from producer.records import Records

    target, records = settings.targets[name], Records(settings.spillway.data)
    old = records.performance()
    known = of_target(old, target) or Measured(
        target=name, server=record["server"], base_url=target.base_url or "", model=target.model, measured_at=""
    )
    found = {
        "parallel": record["parallel_measured"], "parallel_told": record["parallel"],
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "throughput": tuple(msgspec.convert(record["throughput"], list[Speed])),
    }  # fmt: skip
    records.write_performance(merged(old, [msgspec.structs.replace(known, **found)]))


async def _told(settings: Settings) -> dict[str, str]:
    """What the workers say of targets that they do not use now, as far as their Redis can be asked."""
    from producer import runs

    try:
        async with session.looking(settings) as found:
            states = await runs.target_states(found.redis, found.keys) if found else []
    except QueueError:
        return {}
    return {state.name: f"{_word(state)}: {state.reason}" for state in states if not state.up}


def _word(state: TargetState) -> str:
    word = "closed" if state.closed else "down"
    since = datetime.fromtimestamp(state.changed_ms / 1000, UTC) if state.changed_ms else None
    return f"{word} since {since:%H:%M:%S} UTC" if since and not state.closed else word


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """What fits on a screen of a target's record."""
    other = row["server"] not in ("", row["kind"])
    return {
        "target": row["name"],
        "lane": row["lane"],
        "kind": f"{row['kind']} ({row['server']})" if other else row["kind"],
        "health": row["workers_say"] or _health(row),
        "model": row["loaded_model"] or row["model"],
        "parallel": _parallel(row),
        "context": _context(row),
        "latency_ms": row["latency_ms"] if row["up"] else None,
        "rpm": row["rpm"],
        "tpm": row["tpm"],
        "price": row["price"],
    }


def _health(row: dict[str, Any]) -> str:
    note = f"; {row['reason']}" if row["up"] and row["reason"] else ""
    return f"up{note}" if row["up"] else f"down: {row['reason']}"


def _parallel(row: dict[str, Any]) -> str:
    """What is used, and what the server says where that is something else."""
    told, used = row["parallel"], row["max_concurrency"]
    if used == "auto":
        return str(told) if told else "auto"
    return f"{used} (says {told})" if told and told != used else str(used)


def _context(row: dict[str, Any]) -> str | None:
    loaded, most = row["window_tokens"], row["context_tokens"]
    if loaded and most and loaded != most:
        return f"{loaded} of {most}"
    return str(loaded or most) if loaded or most else None


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
