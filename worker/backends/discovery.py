"""What kind of server is behind an address, and one look at a target; asks only, changes and decides nothing.

What each kind of server can tell is known in its own file beside this one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib import import_module
from urllib.parse import urlsplit

import msgspec

from pipelines.config.sections import BASE_URLS, LOCAL_KINDS, Target
from pipelines.types import Failure
from worker.backends import looks
from worker.backends.exchange import Response
from worker.backends.http import Web
from worker.backends.lenient import decode

PROBE_S = 2.0
LOOK_S = 5.0
"""Longer than a probe: a server that is busy with our own calls may be slow to say so."""
KNOWN_S = 300.0
_Tells = Callable[[bytes], bool]


class TargetStatus(msgspec.Struct, frozen=True):
    """A target as one look found it. `reason` is empty when there is nothing to say; `server` is the kind that answers,
    where a target of kind `openai` only names the shape; the rest is as in `looks.Seen`."""

    name: str
    lane: str
    kind: str
    up: bool
    reason: str
    loaded_model: str | None
    models: tuple[str, ...]
    parallel: int | None
    context_tokens: int | None
    latency_ms: int
    checked_ms: int
    server: str = ""
    window_tokens: int | None = None
    vram_bytes: int | None = None
    waiting: int | None = None


async def identify(base_url: str, api_key: str | None = None) -> str:
    """The kind of server behind an address, `openai` when nothing tells; "" when nobody answers."""
    host = urlsplit(base_url).hostname
    for kind, address in BASE_URLS.items():
        if kind not in LOCAL_KINDS and urlsplit(address).hostname == host:
            return kind
    root = looks.root_of(base_url)
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    paths = list(dict.fromkeys(path for _, path, _ in _SIGNS))
    async with Web(PROBE_S) as web:
        answers = await asyncio.gather(*(web.get(root + path, headers) for path in paths))
    if all(isinstance(answer, Failure) for answer in answers):
        return ""
    told = {path: a.body for path, a in zip(paths, answers, strict=True) if isinstance(a, Response) and a.status == 200}
    return next((kind for kind, path, tells in _SIGNS if path in told and tells(told[path])), "openai")


def _holds(name: str) -> _Tells:
    """Whether a JSON object has a name at its top, or in the rows of its first list."""

    def tells(body: bytes) -> bool:
        data = decode(body)
        if type(data) is not dict or "error" in data:
            return False
        rows = [row for value in data.values() if type(value) is list for row in value if type(row) is dict]
        return name in data or any(name in row for row in rows)

    return tells


def _owner(name: str) -> _Tells:
    """Whether the models of OpenAI's list belong to this maker."""

    def tells(body: bytes) -> bool:
        owners = [str(row.get("owned_by")).lower() for row in looks.table(decode(body), "data")]
        return name in owners

    return tells


_SIGNS: tuple[tuple[str, str, _Tells], ...] = (
    ("lmstudio", "/api/v1/models", _holds("loaded_instances")),
    ("lmstudio", "/api/v0/models", _holds("state")),
    ("ollama", "/api/ps", _holds("models")),
    ("llamacpp", "/props", _holds("total_slots")),
    ("vllm", "/metrics", lambda body: b"vllm:" in body),
    ("vllm", "/v1/models", _owner("vllm")),
    ("llamacpp", "/v1/models", _owner("llamacpp")),
    ("ollama", "/api/tags", _holds("models")),  # last: llama.cpp has it too
)

_kinds: dict[str, tuple[str, float]] = {}


async def _server_of(target: Target) -> str:
    """The kind that answers: as configured, but a local target of kind `openai` may be any of them."""
    if target.lane != "local" or target.kind != "openai":
        return target.kind
    url = target.base_url or ""
    kind, until_s = _kinds.get(url, ("", 0.0))
    if not kind or time.monotonic() > until_s:
        kind = await identify(url, target.key)
        if kind:
            _kinds[url] = kind, time.monotonic() + KNOWN_S
    return kind or target.kind


async def inspect(name: str, target: Target) -> TargetStatus:
    """One look at a target; never raises for what it finds, and takes a few seconds at most."""
    began = time.monotonic()
    server = await _server_of(target)
    look: looks.Look = getattr(import_module(f"worker.backends.{server}"), "look", looks.models)
    asked_s = time.monotonic()
    async with Web(LOOK_S) as web:
        seen = await look(web, target)
    latency_s = time.monotonic() - (asked_s if seen.up else began)
    reason = seen.reason
    if seen.up and server == "ollama" != target.kind:
        reason = (
            f'is Ollama: set kind = "ollama", else it drops what exceeds its window{"; " + reason if reason else ""}'
        )
    return TargetStatus(
        name, target.lane, target.kind, seen.up, reason, seen.loaded_model, seen.models, seen.parallel,
        seen.context_tokens or target.context_tokens, round(latency_s * 1000), time.time_ns() // 1_000_000, server,
        seen.window_tokens or (None if server == "ollama" else seen.context_tokens), seen.vram_bytes, seen.waiting,
    )  # fmt: skip
