"""Measures the models of one local server: speed by concurrency, time to the first token, quality by tasks, GPU memory.

Every model is loaded by a first call, which is not measured. It writes nothing; `spillway bench` keeps what it returns.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec

from pipelines.config.sections import Target
from pipelines.performance import Measured, Score, useful_parallel
from pipelines.types import Completion, Failure
from worker.backends.discovery import TargetStatus, identify, inspect
from worker.backends.exchange import is_loopback
from worker.backends.looks import root_of
from worker.bench.measure import LEVELS, LOAD_S, Caller, curve, first_token
from worker.bench.tasks import Task, judge

Said = Callable[[str], None]
NVIDIA_S = 5.0
UNNAMED = "?"
"""The model of a server that names none."""


async def target_at(url: str) -> Target | None:
    """A target for whatever answers at an address, under /v1 or where the address says; None when nobody does."""
    kind = await identify(url)
    if not kind:
        return None
    under, given = f"{root_of(url)}/v1", url.rstrip("/")
    found = await _named(kind, under)
    return found if found.model != UNNAMED or not urlsplit(given).path else await _named(kind, given)


async def _named(kind: str, base_url: str) -> Target:
    """With the model that is loaded there, or the first that can answer."""
    found = Target(kind=kind, lane="local", model=UNNAMED, base_url=base_url)  # type: ignore[arg-type]
    status = await inspect("it", found)
    return found.model_copy(update={"model": status.loaded_model or next(iter(answering(status)), UNNAMED)})


def paid_at(url: str, targets: Mapping[str, Target]) -> str | None:
    """The target at an address whose calls cost money: what is asked there by its address would pass its budgets by."""
    place = _place(url)
    at_it = (name for name, target in targets.items() if _place(target.base_url or "") == place and not target.is_free)
    return next(at_it, None)


def _place(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    host = "localhost" if is_loopback(url) else parts.hostname or ""
    try:
        return host, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:  # no port; nobody answers there
        return host, None


def answering(status: TargetStatus) -> list[str]:
    """The server's models that can answer a prompt."""
    return [name for name in status.models if "embed" not in name.lower()]


async def measure(
    name: str, target: Target, tasks: Sequence[Task], levels: Sequence[int] = LEVELS, said: Said = lambda _: None
) -> Measured:
    """One model of one server; what cannot be measured is left out, and `problem` says why nothing was."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = Measured(
        target=name, server=target.kind, base_url=target.base_url or "", model=target.model, measured_at=now
    )
    async with Caller(target) as caller:
        said(f"{target.model}: loading")
        first = await caller.tell(1, LOAD_S)
        if isinstance(first.outcome, Failure):
            return msgspec.structs.replace(found, problem=first.outcome.message)
        status = await inspect(name, target)
        said(f"{target.model}: first token")
        early = await first_token(caller)
        speeds = await curve(caller, levels, said=lambda words: said(f"{target.model}: {words}"))
        scores = [await _score(caller, target, task, said) for task in tasks]
    vram_bytes, source = (status.vram_bytes, "server") if status.vram_bytes else await _gpu_memory(target)
    by_kind = {
        kind: _mean([s.score for s in scores if s.kind == kind]) for kind in dict.fromkeys(s.kind for s in scores)
    }
    return msgspec.structs.replace(
        found,
        server=status.server or target.kind,
        load_s=round(first.seconds, 3),
        first_token_p50_s=round(early[0], 4) if early else None,
        first_token_p90_s=round(early[1], 4) if early else None,
        throughput=tuple(speeds),
        parallel=useful_parallel(speeds, status.parallel),
        parallel_told=status.parallel,
        context_tokens=status.context_tokens,
        quality=_mean(list(by_kind.values())) if by_kind else None,
        quality_by_kind=by_kind,
        tasks=tuple(scores),
        vram_bytes=vram_bytes,
        vram_from=source if vram_bytes else "",
    )


async def _score(caller: Caller, target: Target, task: Task, said: Said) -> Score:
    said(f"{target.model}: {task.id}")
    shape = {"type": "json_schema", "json_schema": {"name": "answer", "schema": task.schema}}
    wants_shape = task.schema is not None and target.structured_output
    found = await caller.ask({**task.body, "response_format": shape} if wants_shape else task.body)
    if wants_shape and isinstance(found.outcome, Failure) and found.outcome.kind == "invalid":
        found = await caller.ask(task.body)  # it cannot keep to a schema; the prompt asks for the same in words
    if not isinstance(found.outcome, Completion):
        return Score(task.id, task.kind, 0.0, round(found.seconds, 3), found.outcome.message[:200])
    score, problem = await asyncio.to_thread(judge, task, found.outcome.text)
    return Score(task.id, task.kind, round(score, 4), round(found.seconds, 3), problem)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


async def _gpu_memory(target: Target) -> tuple[int | None, str]:
    """What is in use on this machine's NVIDIA GPUs, all programs together; nothing for a server elsewhere."""
    program = shutil.which("nvidia-smi")
    if program is None or not is_loopback(target.base_url or ""):
        return None, ""
    command = (program, "--query-gpu=memory.used", "--format=csv,noheader,nounits")
    try:
        out = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=NVIDIA_S)
    except (OSError, subprocess.TimeoutExpired):
        return None, ""
    used = [int(line) for line in out.stdout.decode(errors="replace").split() if line.isdigit()]
    return (sum(used) << 20, "nvidia-smi") if used else (None, "")
