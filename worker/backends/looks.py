"""What a server tells about itself when asked; each provider's file looks in its own places with these.

A look changes nothing and costs nothing, and every trouble is one line that says what to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.config.sections import Target
from pipelines.types import Failure
from worker.backends import failures
from worker.backends.exchange import Response, origin
from worker.backends.lenient import decode

if TYPE_CHECKING:
    from worker.backends.http import Web

MOST_MODELS = 500


class Seen(msgspec.Struct, frozen=True):
    """One look at a target's server. `context_tokens` is the most that a prompt may have; `window_tokens` what is loaded
    now, where that is less and grows on demand; `vram_bytes` the loaded model's GPU memory; `waiting` the calls that wait there
    for want of room."""

    up: bool
    reason: str = ""
    loaded_model: str | None = None
    models: tuple[str, ...] = ()
    parallel: int | None = None
    context_tokens: int | None = None
    window_tokens: int | None = None
    vram_bytes: int | None = None
    waiting: int | None = None


Look = Callable[["Web", Target], Awaitable[Seen]]


def root_of(base_url: str) -> str:
    """Where a local server keeps its own paths: beside /v1, not under it."""
    return base_url.removesuffix("/").removesuffix("/v1").removesuffix("/")


def bearer(target: Target) -> dict[str, str]:
    return {"authorization": f"Bearer {target.key}"} if target.key else {}


def whole(value: Any) -> int | None:
    """A count as servers write it, or nothing."""
    return value if type(value) is int and 0 < value < 1 << 40 else None


def table(value: Any, name: str) -> list[dict[str, Any]]:
    """The objects in a list under a name."""
    rows = value.get(name) if type(value) is dict else None
    return [row for row in rows if type(row) is dict] if type(rows) is list else []


def names(rows: list[dict[str, Any]], *keys: str) -> tuple[str, ...]:
    """The first of `keys` that each row has."""
    found = (next((row[key] for key in keys if type(row.get(key)) is str), None) for row in rows[:MOST_MODELS])
    return tuple(name for name in found if name)


async def ask(web: Web, url: str, headers: Mapping[str, str] | None = None) -> tuple[Any, Seen | None, int]:
    """The decoded answer of a 200, or what is wrong; and the HTTP status (0: none)."""
    response = await web.get(url, headers)
    if isinstance(response, Failure):
        return None, Seen(False, f"{response.message}; is the server running?"), 0
    data = decode(response.body)
    if response.status == 200 and data is not None:
        return data, None, 200
    return None, Seen(False, _wrong(url, response, data)), response.status


def _wrong(url: str, response: Response, data: Any) -> str:
    where, status = origin(url), response.status
    error = failures.told(data)
    words = f": {failures.one_line(error.message, 120)}" if error and error.message else ""
    if status in (401, 403):
        return f"{where} refuses the key (HTTP {status}){words}; check api_key"
    if status == 200 or (data is None and response.body.lstrip()[:1] == b"<"):
        kind = str(response.headers.get("content-type", "")).partition(";")[0] or "something"
        return f"{where} answers {kind} instead of JSON (HTTP {status}); check base_url"
    if 300 <= status < 400:
        return f"{where} redirects to {response.headers.get('location', 'elsewhere')}; check base_url"
    return f"{where} answers HTTP {status}{words}"


async def metric(web: Web, target: Target, name: str, label: str = "") -> int | None:
    """A whole number from a server's Prometheus page, added up over its engines; None where it has no such line."""
    page = await web.get(f"{root_of(target.base_url or '')}/metrics", bearer(target))
    if isinstance(page, Failure) or page.status != 200:
        return None
    lines = (line.rpartition(" ") for line in page.body.decode(errors="replace").splitlines())
    found = [value for series, _, value in lines if series.partition("{")[0] == name and label in series]
    try:
        return int(sum(map(float, found))) if found else None
    except (ValueError, OverflowError):
        return None


async def models(web: Web, target: Target) -> Seen:
    """The list of models, which every OpenAI-compatible server should have; one without it is believed to be up."""
    data, trouble, status = await ask(web, f"{target.base_url}/models", bearer(target))
    if trouble is not None:
        return Seen(True) if status in (404, 405, 501) else await _unlisted(web, target, trouble, status)
    rows = table(data, "data")
    listed = names(rows, "id")
    mine = next((row for row in rows if row.get("id") == target.model), {})
    context = whole(mine.get("max_model_len")) or whole(mine.get("context_length"))
    reason = "" if mine or not listed else lacking(target, listed)
    return Seen(True, reason, target.model if mine else None, listed, None, context)


async def _unlisted(web: Web, target: Target, trouble: Seen, status: int) -> Seen:
    """A server that fails at its list may still work (`transformers serve` without a cache folder): many have /health."""
    if status >= 500 and status != 503 and target.lane == "local":
        healthy = await web.get(f"{root_of(target.base_url or '')}/health")
        if isinstance(healthy, Response) and healthy.status == 200:
            return Seen(True, f"{trouble.reason} to the question for its models")
    return keyed(target, trouble)


def keyed(target: Target, trouble: Seen) -> Seen:
    missing = target.key_variable
    if missing and "refuses the key" in trouble.reason:
        return Seen(False, f"the environment variable {missing} is not set; set it, or api_key")
    return trouble


def lacking(target: Target, listed: tuple[str, ...]) -> str:
    few = ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
    return f"does not list the model {target.model}; it has {few}" if listed else f"has no model {target.model}"
