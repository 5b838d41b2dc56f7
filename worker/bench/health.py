"""Looks at all targets, tries one with a real call, and finds what runs on this machine; decides nothing about batches."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec

from pipelines.config.sections import BASE_URLS, KEY_VARIABLES, LOCAL_KINDS, Target
from pipelines.money import pusd_to_usd
from pipelines.performance import useful_parallel
from pipelines.settings import Settings, load_settings
from pipelines.types import Failure
from worker.backends.discovery import TargetStatus, inspect
from worker.bench.bench import UNNAMED, target_at
from worker.bench.measure import Answered, Caller, curve
from worker.queue import connect

CALL_S = 60.0
CLIMB_LEVELS, CLIMB_TOKENS, CLIMB_S = (1, 2, 4, 8, 16), 24, 10.0
"""A look at parallelism that nobody waits long for; `spillway bench` takes its time."""
CLOUD_MODELS = {
    "openai": "gpt-4o-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash-lite",
    "openrouter": "openai/gpt-4o-mini",
    "cerebras": "gpt-oss-120b",
}
"""What is asked of a provider of which only the key is known: cheap, and of a known price."""
HELLO_TOKENS = 48
HELLO = (
    b'{"messages":[{"role":"user","content":"Count from one to ten in words."}],"max_tokens":%d,"temperature":0}'
    % HELLO_TOKENS
)


async def survey(settings: Settings) -> list[dict[str, Any]]:
    """Every target of the configuration, looked at together: one plain record each, in the order written."""
    found = await asyncio.gather(*(inspect(name, target) for name, target in settings.targets.items()))
    return [_record(settings.targets[each.name], each) for each in found]


def _record(target: Target, status: TargetStatus) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.to_builtins(status)
    said["models"] = list(status.models[:20])
    limits = {"rpm": target.rpm, "tpm": target.tpm, "max_concurrency": _at_once(target, status.parallel)}
    return {**said, "model": target.model, "base_url": target.base_url, **limits}


def _at_once(target: Target, told: int | None, measured: int | None = None) -> int | str:
    """Calls that are made at once: as configured; else as measured, now or earlier, but no more than the server tells."""
    known = target.concurrency if measured is None else measured
    if target.max_concurrency != "auto" or not isinstance(known, int):
        return target.concurrency
    return min(known, told or known)


async def check(settings: Settings, name: str, *, climb: bool = False) -> dict[str, Any]:
    """A look and one real call of a few tokens; at a paid target it costs what it costs, as far as the budgets allow it, and
    the ledger has it. With `climb` a local target that has no price is also asked several things at once, to see how many
    are of use. QueueError where Redis, which has the budgets, cannot be had."""
    from worker.embedded import Embedded
    from worker.money.probe import SENT, Probe

    target = settings.targets[name]
    record = _record(target, await inspect(name, target))
    caller = Caller(target)
    if isinstance(refused := caller.ready(HELLO), Failure):
        return {**record, "ok": False, "error": refused.message}
    async with (
        caller,
        Embedded(settings, settings.spillway.redis_url, workers=False) as there,
        aclosing(await connect(there.redis_url)) as redis,
    ):
        probe = Probe(settings, name, redis)
        if why := await probe.admit(HELLO, HELLO_TOKENS):
            return {**record, "ok": False, "error": why}
        request = caller.ready(HELLO, probe.price)
        assert not isinstance(request, Failure)  # a price forbids nothing that this call says
        await asyncio.to_thread(probe.book, SENT, 0.0)
        answered = await caller.send(request, min(target.timeout_s, CALL_S))
        cost_pusd = await asyncio.to_thread(probe.book, answered.outcome, answered.seconds)
        await probe.settle(cost_pusd)
    found = {**record, **_said(answered), "cost_usd": pusd_to_usd(cost_pusd)}
    if climb and found["ok"] and target.is_free:
        found |= await _climbed(target, record["parallel"])
    return found


async def _climbed(target: Target, told: int | None) -> dict[str, Any]:
    """How many calls at once are of use, in some seconds."""
    async with Caller(target) as caller:
        await caller.tell(1)  # the first call opens the connection, and is slower for it
        speeds = await curve(caller, CLIMB_LEVELS, CLIMB_TOKENS, most_s=CLIMB_S)
    throughput = [msgspec.to_builtins(speed) for speed in speeds]
    measured = useful_parallel(speeds, told)
    used = _at_once(target, told, measured)
    return {"parallel_measured": measured, "max_concurrency": used, "throughput": throughput}


def _said(answered: Answered) -> dict[str, Any]:
    outcome, seconds = answered.outcome, answered.seconds
    call = {"call_s": round(seconds, 3)}
    if isinstance(outcome, Failure):
        return {**call, "ok": False, "error": outcome.message}
    tokens = outcome.usage.output_tokens
    rate = round(tokens / seconds, 1) if tokens and seconds else None
    return {
        **call, "ok": True, "error": "", "answer": outcome.text[:200], "served_model": outcome.model,
        "input_tokens": outcome.usage.input_tokens, "output_tokens": tokens, "tokens_per_s": rate,
    }  # fmt: skip


def find_local() -> dict[str, Any]:
    """Settings for a machine without a configuration: `{"targets": …, "routes": …}` of the servers that run on their
    usual ports here and of the providers whose key is in the environment; empty when there is neither.

    May be called with or without a running loop.
    """
    with ThreadPoolExecutor(1) as thread:
        targets = {**thread.submit(asyncio.run, _local_targets()).result(), **_cloud_targets()}
    return {"targets": targets, "routes": {"default": {"targets": list(targets)}}} if targets else {}


async def _local_targets(addresses: Mapping[str, str] = BASE_URLS) -> dict[str, dict[str, Any]]:
    kinds = [kind for kind in addresses if kind in LOCAL_KINDS]
    found = await asyncio.gather(*(_local_target(addresses[kind]) for kind in kinds))
    return {kind: fragment for kind, fragment in zip(kinds, found, strict=True) if fragment}


async def _local_target(base_url: str) -> dict[str, Any] | None:
    """A port is only a hint: what answers there may be another kind of server, or no model server at all."""
    found = await target_at(base_url)
    if found is None or found.model == UNNAMED:
        return None
    return {"kind": found.kind, "lane": found.lane, "base_url": base_url, "model": found.model}


def _cloud_targets() -> dict[str, dict[str, Any]]:
    """Only settings read the environment: a target whose key they find is one that works."""
    wanted = {kind: {"kind": kind, "model": model} for kind, model in CLOUD_MODELS.items() if kind in KEY_VARIABLES}
    settings = load_settings(Path(os.devnull), {"targets": wanted})
    return {kind: fragment for kind, fragment in wanted.items() if settings.targets[kind].key}
